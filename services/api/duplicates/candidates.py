"""Finding the few records worth comparing: one look by indexed keys, one for the records, whatever there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Table,
    bindparam,
    cast,
    func,
    literal,
    null,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects import postgresql

from services.api.duplicates.compare import Traits, numbers, region_of, registrable
from services.api.fields import sort_key
from shared.db import Row, Tx, sql, statement
from shared.models import contacts, customers, members
from shared.models.base import SALES
from shared.tenancy import WORKSPACE, Principal, Reach, scoped, visible

_UUID = postgresql.UUID(as_uuid=True)
TABLES: dict[str, Table] = {"customer": customers, "contact": contacts}
# Keys that say much by themselves, and those by which names that are merely alike are found (migration 0009).
STRONG = {"customer": ["n", "p", "e", "d"], "contact": ["c", "p", "e"]}
ALL_KEYS = ["n", "h", "y", "c", "p", "e", "d"]
_LAST = UUID(int=(1 << 128) - 1)
# A key that more records share than this says nothing: a switchboard, a placeholder.
MOST_SHARING = 50

# Names that begin alike are many; of the other keys, a few records share one.
FIND = sql(
    """
WITH given AS (
  SELECT * FROM jsonb_to_recordset(CAST(:probes AS jsonb)) AS g(place int, name text, sort_key text, customer_id uuid,
    phone text, email text, website text)
)
SELECT g.place, sales.match_names(g.name) AS names, sales.match_reading(g.sort_key) AS reading,
  sales.match_domains(g.website) || sales.match_domains(split_part(g.email, '@', 2)) AS domains,
  w.currency, w.time_zone, ARRAY(
    SELECT DISTINCT f.subject_id
    FROM unnest(sales.duplicate_keys_of(:kind, g.name, g.sort_key, g.customer_id, g.phone, g.email, g.website)) k(key)
    CROSS JOIN LATERAL (
      SELECT d.subject_id FROM sales.duplicate_keys d
      WHERE d.workspace_id = :workspace_id AND d.subject_type = :kind AND d.key = k.key
      ORDER BY d.subject_id LIMIT CASE WHEN left(k.key, 1) = 'h' THEN 100 ELSE 30 END
    ) f
    WHERE left(k.key, 1) = ANY (CAST(:prefixes AS text[]))
  ) AS found
FROM given g JOIN sales.workspaces w ON w.id = :workspace_id
ORDER BY g.place
"""
)
WORKSPACE_REGION = sql("SELECT currency, time_zone FROM sales.workspaces WHERE id = :workspace_id")
# So many records a page looks at: it costs the same however many there are.
WINDOW = 1_000
# What the window's records share with others that came after them. A key's records are counted no further than it takes
# to see that it says nothing.
_PAIRS = text(
    f"""
SELECT found.first_id, found.second_id FROM (
  WITH keyed AS MATERIALIZED (
    SELECT seen.id, k.key FROM seen CROSS JOIN LATERAL unnest(sales.duplicate_keys_of(:kind, seen.name, seen.sort_key,
      seen.customer_id, seen.phone, seen.email, seen.website)) AS k(key)
    WHERE left(k.key, 1) = ANY (CAST(:prefixes AS text[]))
  ), shared AS MATERIALIZED (
    SELECT g.key, f.ids FROM (SELECT DISTINCT key FROM keyed) g CROSS JOIN LATERAL (
      SELECT array_agg(d.subject_id) AS ids FROM (
        SELECT subject_id FROM sales.duplicate_keys
        WHERE workspace_id = :workspace_id AND subject_type = :kind AND key = g.key LIMIT {MOST_SHARING + 1}
      ) d
    ) f WHERE cardinality(f.ids) BETWEEN 2 AND {MOST_SHARING}
  )
  SELECT DISTINCT keyed.id AS first_id, other.id AS second_id
  FROM keyed JOIN shared ON shared.key = keyed.key CROSS JOIN LATERAL unnest(shared.ids) AS other(id)
  WHERE other.id > keyed.id AND (keyed.id, other.id) > (CAST(:after_first AS uuid), CAST(:after_second AS uuid))
) found
"""
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A record to find duplicates of: one that is there, or one about to be. `exclude` are ids that it is itself."""

    name: str
    phone: str | None = None
    email: str | None = None
    website: str | None = None
    customer_id: UUID | None = None
    exclude: frozenset[UUID] = field(default_factory=frozenset)

    def given(self, place: int) -> dict[str, Any]:
        return {
            "place": place,
            "name": self.name,
            "sort_key": sort_key(self.name),
            "customer_id": self.customer_id,
            "phone": self.phone,
            "email": self.email,
            "website": self.website,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A probe's traits and the ids of the records that share a key with it."""

    traits: Traits
    region: str | None
    ids: frozenset[UUID]


async def find(tx: Tx, kind: str, probes: Sequence[Probe], prefixes: Sequence[str]) -> list[Found]:
    """What shares a key with each probe, in one statement."""
    given = [probe.given(place) for place, probe in enumerate(probes)]
    rows = await tx.rows(FIND, probes=given, kind=kind, prefixes=list(prefixes))
    found = []
    for row, probe in zip(rows, probes, strict=True):
        region = region_of(row["currency"], row["time_zone"])
        traits = _traits(kind, region, row, probe.phone, probe.email, probe.customer_id)
        found.append(Found(traits, region, frozenset(row["found"]) - probe.exclude))
    return found


def _traits(
    kind: str, region: str | None, row: Row, phone: str | None, email: str | None, customer_id: UUID | None
) -> Traits:
    return Traits(
        names=tuple(row["names"]),
        reading=row["reading"] if kind == "customer" and not row["names"][1].isascii() else None,
        phones=numbers(phone, region),
        email=email.strip().lower() if email else None,
        domains=registrable(row["domains"]) if kind == "customer" else frozenset(),
        customer_id=customer_id,
    )


def traits_of(kind: str, region: str | None, row: Row) -> Traits:
    """The traits of a record read by `read`."""
    return _traits(kind, region, row, row["phone"], row["email"], row.get("customer_id"))


@statement
def _select_records(kind: str, reach: Reach) -> Executable:
    """Records by id, whether or not they are within reach, with the name of who owns them (or their customer)."""
    table = TABLES[kind]
    functions = getattr(func, SALES)
    website: ColumnElement[Any] = table.c.website if kind == "customer" else cast(null(), postgresql.TEXT)
    seen = visible(table, reach)
    # An array joined to none is itself.
    domains = functions.match_domains(website).op("||")(functions.match_domains(func.split_part(table.c.email, "@", 2)))
    # A name of its own, lest the condition of reach take it for the customer it looks for.
    holder = customers if kind == "customer" else customers.alias("holder")
    columns = [table.c.id, table.c.name, table.c.phone, table.c.email, website.label("website"), table.c.version]
    if kind == "contact":
        columns.append(table.c.customer_id)
    query = select(
        *columns,
        holder.c.owner_id.label("owner_id"),
        members.c.name.label("owner_name"),
        functions.match_names(table.c.name).label("names"),
        functions.match_reading(table.c.sort_key).label("reading"),
        domains.label("domains"),
        (true() if seen is None else seen).label("within_reach"),
    ).where(table.c.workspace_id == WORKSPACE, table.c.id == bindparam("ids", type_=postgresql.ARRAY(_UUID)).any_())
    own = (holder.c.workspace_id == contacts.c.workspace_id) & (holder.c.id == contacts.c.customer_id)
    owned = customers if kind == "customer" else contacts.join(holder, own)
    manned = (members.c.workspace_id == holder.c.workspace_id) & (members.c.id == holder.c.owner_id)
    return query.select_from(owned.outerjoin(members, manned)).where(table.c.deleted_at.is_(None))


async def read(tx: Tx, principal: Principal, kind: str, ids: set[UUID]) -> dict[UUID, Row]:
    """The records themselves, in one statement."""
    rows = await tx.rows(_select_records(kind, principal.reach), ids=sorted(ids), **principal.binds)
    return {row["id"]: row for row in rows}


async def region(tx: Tx) -> str | None:
    """The country whose numbers need no country code here."""
    row = await tx.row(WORKSPACE_REGION)
    return region_of(row["currency"], row["time_zone"]) if row else None


@statement
def _select_pairs(kind: str, reach: Reach) -> Executable:
    """Pairs that share a strong key, both within reach, in the order of their ids, of a window of records.

    With each row comes where the window ends (`last_id`) and how many records it holds; it is there without a pair too.
    """
    table = TABLES[kind]
    first = bindparam("after_first", type_=_UUID)
    website, customer_id = (table.c.website, null()) if kind == "customer" else (null(), table.c.customer_id)
    seen = (
        scoped(table, reach, table.c.id, table.c.name, table.c.sort_key, table.c.phone, table.c.email)
        .add_columns(cast(website, postgresql.TEXT).label("website"), cast(customer_id, _UUID).label("customer_id"))
        .where(table.c.deleted_at.is_(None), table.c.id >= first)
        # What ended the last window has been looked at.
        .where(tuple_(table.c.id, literal(_LAST, _UUID)) > tuple_(first, bindparam("after_second", type_=_UUID)))
        .order_by(table.c.id)
        .limit(bindparam("window"))
        .cte("seen")
    )
    found = _PAIRS.columns(first_id=_UUID, second_id=_UUID).add_cte(seen).subquery("found")
    pairs = select(found.c.first_id, found.c.second_id)
    if visible(table, reach) is not None:
        pairs = pairs.where(found.c.second_id.in_(scoped(table, reach, table.c.id)))
    page = pairs.order_by(found.c.first_id, found.c.second_id).limit(bindparam("page_limit")).subquery("page")
    ends = select(func.count().label("size"), func.array_agg(seen.c.id).label("ids")).select_from(seen).subquery("ends")
    return (
        select(ends.c.size, ends.c.ids[ends.c.size].label("last_id"), page.c.first_id, page.c.second_id)
        .select_from(ends.outerjoin(page, true()))
        .order_by(page.c.first_id, page.c.second_id)
    )


@dataclass(frozen=True, slots=True)
class Pairs:
    """A page of pairs of ids, and the place after which the next begins; None where there is nothing more."""

    ids: list[tuple[UUID, UUID]]
    after: tuple[UUID, UUID] | None


async def pairs(tx: Tx, principal: Principal, kind: str, after: tuple[UUID, UUID], limit: int) -> Pairs:
    """Up to `limit` pairs after a place: fewer, even none, where the records of the window have no more."""
    rows: Sequence[Mapping[str, Any]] = await tx.rows(
        _select_pairs(kind, principal.reach),
        kind=kind,
        prefixes=STRONG[kind],
        after_first=after[0],
        after_second=after[1],
        page_limit=limit + 1,
        window=WINDOW,
        **principal.binds,
    )
    found = [(row["first_id"], row["second_id"]) for row in rows if row["first_id"] is not None]
    if len(found) > limit:
        return Pairs(found[:limit], found[limit - 1])
    return Pairs(found, (rows[0]["last_id"], _LAST) if rows[0]["size"] == WINDOW else None)
