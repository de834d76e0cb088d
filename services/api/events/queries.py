"""Reading the feed for one caller: what is asked for, within what the caller may see, at a bounded cost.

Who does not see the whole workspace sees an event that they caused, that befell a record while it was theirs (or
their team's), or that is about a record they may see now; events about what everybody sees (products, processes,
members …) are everybody's. Whose record it is now comes from the facts, in the statement that reads the events.

A page looks at a window of rows in order, never further: where few of them are asked for, or the caller's to see, the
page is short or empty, and says that there is more.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from shared.db import Query, Row, Tx, sql
from shared.events import COLUMNS, EVENT_TYPES, matches
from shared.feed import HORIZON, NIL, Batch, Position
from shared.tenancy import Principal, Reach

WINDOW: Final = 1_000
# Whose subjects no record of a rep's stands behind: whoever may read such things may read of them.
COMMON: Final = ("workspace", "policy", "member", "team", "attribute", "process", "product", "endpoint")

# Of each event: the customer and the opportunity it is about, and a member whose own it is besides.
_SUBJECT: Final = """
LEFT JOIN LATERAL (
  SELECT e.subject_id AS customer_id, CAST(NULL AS uuid) AS opportunity_id, CAST(NULL AS uuid) AS member_id
  WHERE e.subject_type = 'customer'
  UNION ALL SELECT NULL, e.subject_id, NULL WHERE e.subject_type = 'opportunity'
  UNION ALL SELECT NULL, NULL, CAST(e.data ->> 'member_id' AS uuid) WHERE e.subject_type = 'api_key'
  UNION ALL SELECT c.customer_id, NULL, NULL FROM sales.contacts c
    WHERE e.subject_type = 'contact' AND c.workspace_id = e.workspace_id AND c.id = e.subject_id
  UNION ALL SELECT i.customer_id, i.opportunity_id, NULL FROM sales.interactions i
    WHERE e.subject_type = 'interaction' AND i.workspace_id = e.workspace_id AND i.id = e.subject_id
  UNION ALL SELECT t.customer_id, t.opportunity_id, t.assignee_id FROM sales.tasks t
    WHERE e.subject_type = 'task' AND t.workspace_id = e.workspace_id AND t.id = e.subject_id
) s ON true"""
# Whose that is: owners (nobody is the nil UUID, for what nobody owns is every manager's), and members who take part.
_AUDIENCE: Final = f"""{_SUBJECT}
LEFT JOIN LATERAL (
  SELECT array_agg(p.owner_id) FILTER (WHERE p.owner_id IS NOT NULL) AS owners,
    array_agg(p.member_id) FILTER (WHERE p.member_id IS NOT NULL) AS members
  FROM (
    SELECT coalesce(c.owner_id, '{NIL}') AS owner_id, CAST(NULL AS uuid) AS member_id FROM sales.customers c
    WHERE c.workspace_id = e.workspace_id AND c.id = s.customer_id
    UNION ALL SELECT coalesce(o.owner_id, '{NIL}'), NULL FROM sales.opportunities o
    WHERE o.workspace_id = e.workspace_id AND o.id = s.opportunity_id
    UNION ALL SELECT NULL, m.member_id FROM sales.opportunity_members m
    WHERE m.workspace_id = e.workspace_id AND m.opportunity_id = s.opportunity_id
    UNION ALL SELECT coalesce(o.owner_id, '{NIL}'), m.member_id FROM sales.opportunities o
    LEFT JOIN sales.opportunity_members m ON m.workspace_id = o.workspace_id AND m.opportunity_id = o.id
    WHERE o.workspace_id = e.workspace_id AND o.customer_id = s.customer_id AND o.deleted_at IS NULL
    UNION ALL SELECT NULL, s.member_id
  ) p
) a ON true"""
_SEEN: Final = (
    "(e.actor_id = :me OR e.owner_id = ANY(CAST(:mine AS uuid[])) OR e.subject_type = ANY(CAST(:common AS text[]))"
    " OR a.owners && CAST(:mine AS uuid[]) OR a.members @> ARRAY[CAST(:me AS uuid)])"
)
_FILTERS: Final = {
    "types": "e.type = ANY(CAST(:types AS text[]))",
    "subject_type": "e.subject_type = :subject_type",
    "owner_id": "e.owner_id = CAST(:owner_id AS uuid)",
}
# What the index or the partitions narrow: it bounds the window itself.
_NARROWING: Final = {
    "subject_id": " AND e.subject_id = CAST(:subject_id AS uuid)",
    "since": " AND e.recorded_at >= CAST(:since AS timestamptz)",
}
_SHOWN: Final = ", ".join(f"e.{name}" for name in (*COLUMNS, "xid"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody asks for. `types` are all those that are wanted and may be told; None is every type."""

    types: frozenset[str] | None = None
    subject_type: str | None = None
    subject_id: UUID | None = None
    owner_id: UUID | None = None
    since: datetime | None = None

    def given(self) -> dict[str, Any]:
        types = None if self.types is None else sorted(self.types)
        every = {
            "types": types, "subject_type": self.subject_type, "subject_id": self.subject_id,
            "owner_id": self.owner_id, "since": self.since,
        }  # fmt: skip
        return {name: value for name, value in every.items() if value is not None}

    def takes(self, row: Row) -> bool:
        """The same in memory, for rows that are read for several readers at once."""
        return (
            (self.types is None or row["type"] in self.types)
            and self.subject_type in (None, row["subject_type"])
            and self.subject_id in (None, row["subject_id"])
            and self.owner_id in (None, row["owner_id"])
        )


def wanted_types(scopes: AbstractSet[str], patterns: list[str] | None) -> frozenset[str] | None:
    """The types among `patterns` whose subjects the scopes let read; None where that is every type there will be."""
    allowed = [name for name, each in EVENT_TYPES.items() if each.scope in scopes]
    if not patterns or "*" in patterns:
        return None if len(allowed) == len(EVENT_TYPES) else frozenset(allowed)
    return frozenset(name for name in allowed if matches(patterns, name))


@dataclass(frozen=True, slots=True)
class Sight:
    """What a caller may see of a workspace's events; `mine` are the owners whose records are the caller's to see."""

    me: UUID
    everything: bool
    mine: frozenset[UUID] = field(default_factory=frozenset)

    @classmethod
    def of(cls, principal: Principal) -> Sight:
        owners = {
            Reach.ALL: (),
            Reach.TEAM: (*principal.owner_ids, NIL),
            Reach.OWN: (principal.member_id,),
        }[principal.reach]
        return cls(principal.member_id, principal.reach is Reach.ALL, frozenset(owners))

    def sees(self, row: Row) -> bool:
        """The same as `_SEEN`, for a row that came with its audience."""
        return (
            self.everything
            or row["actor_id"] == self.me
            or row["owner_id"] in self.mine
            or row["subject_type"] in COMMON
            or not self.mine.isdisjoint(row["owners"] or ())
            or self.me in (row["members"] or ())
        )


# There is a partition for each day: planning for them anew would cost many times what reading does. And whatever the
# statistics say, the rows are read in the order of the index, never gathered and sorted.
_PLANNED: Final = sql(
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_sort', 'off', true)"
)


@lru_cache(maxsize=256)
def _page(names: tuple[str, ...], everything: bool, audience: bool) -> Query:
    narrowing = "".join(_NARROWING[name] for name in names if name in _NARROWING)
    conditions = [_FILTERS[name] for name in names if name in _FILTERS]
    if not everything:
        conditions.append(_SEEN)
    joined = _AUDIENCE if audience or not everything else ""
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return sql(
        f"""
        WITH w AS MATERIALIZED (
          SELECT {_SHOWN} FROM events.outbox e
          WHERE e.workspace_id = CAST(:workspace_id AS uuid) AND e.xid < {HORIZON}
            AND (e.xid, e.id) > (CAST(:xid AS xid8), CAST(:id AS uuid)){narrowing}
          ORDER BY e.xid, e.id LIMIT :window
        )
        SELECT {HORIZON} AS horizon, l.xid AS last_xid, l.id AS last_id, l.recorded_at AS last_at,
          (SELECT count(*) FROM w) AS looked_at, f.*,
          EXISTS (SELECT FROM events.outbox h WHERE h.workspace_id = CAST(:workspace_id AS uuid)
            AND h.xid >= {HORIZON}) AS held
        FROM (SELECT) one
        LEFT JOIN (SELECT xid, id, recorded_at FROM w ORDER BY xid DESC, id DESC LIMIT 1) l ON true
        LEFT JOIN LATERAL (
          SELECT e.*{", a.owners, a.members" if audience else ""} FROM w e{joined} {where}
          ORDER BY e.xid, e.id LIMIT :most
        ) f ON true
        """
    )


async def read_page(
    tx: Tx,
    position: Position,
    limit: int,
    *,
    wanted: Wanted | None = None,
    sight: Sight | None = None,
    audience: bool = False,
) -> Batch:
    """At most `limit` of the wanted events after `position`; with `audience`, each says whose it is.

    Two statements, however many events there are. A batch may be empty and yet say that there is more: go on from its
    position.
    """
    given = (wanted or Wanted()).given()
    everything = sight is None or sight.everything
    query = _page(tuple(sorted(given)), everything, audience)
    plain = everything and not (given.keys() & _FILTERS.keys())
    window = limit + 1 if plain else WINDOW
    await tx.run(_PLANNED)
    rows = await tx.rows(query, **given, **_seer(sight), **_place(position), most=limit + 1, window=window)
    return _batch(rows, position, limit, window)


def _place(position: Position) -> dict[str, Any]:
    return {"xid": position.xid, "id": position.id}


def _seer(sight: Sight | None) -> Mapping[str, Any]:
    if sight is None or sight.everything:
        return {}
    return {"me": sight.me, "mine": list(sight.mine), "common": list(COMMON)}


def _batch(rows: list[Row], position: Position, limit: int, window: int) -> Batch:
    found = [row for row in rows if row["id"] is not None]
    shown, first = found[:limit], rows[0]
    if len(found) > limit:
        last = Position(shown[-1]["xid"], shown[-1]["id"])
        return Batch(shown, last, True, first["held"], (last, shown[-1]["recorded_at"]))
    place = None if first["last_id"] is None else Position(first["last_xid"], first["last_id"])
    seen = None if place is None else (place, first["last_at"])
    if place is not None and first["looked_at"] == window:
        return Batch(shown, place, True, first["held"], seen)
    return Batch(shown, max(position, Position(first["horizon"], NIL)), False, first["held"], seen)


_OWN: Final = sql(
    f"SELECT {_SHOWN} FROM events.outbox e WHERE e.workspace_id = :workspace_id AND e.id = :id"
    " ORDER BY e.recorded_at LIMIT 1"
)
_OWN_SEEN: Final = sql(
    f"SELECT {_SHOWN} FROM (SELECT {_SHOWN} FROM events.outbox e WHERE e.workspace_id = :workspace_id AND e.id = :id"
    f" LIMIT 1) e{_AUDIENCE} WHERE {_SEEN} LIMIT 1"
)


async def read_one(tx: Tx, id_: UUID, sight: Sight | None = None) -> Row | None:
    """An event by its id; with `sight`, only where it may be seen."""
    if sight is None or sight.everything:
        return await tx.row(_OWN, id=id_)
    return await tx.row(_OWN_SEEN, id=id_, **_seer(sight))
