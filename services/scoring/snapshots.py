"""SQL to arrays: everything one drain needs to know, in a constant number of statements."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.deficit import Experience
from services.scoring.core.facts import NO_UUID, OpportunityFacts, unknown_facts
from services.scoring.core.policy import Policy
from services.scoring.facts_query import FACTS, MEDIAN_FIELDS, MEDIANS, MEDIANS_QUERY, facts_query
from services.scoring.wire import Layout, copy_out, fetch_out, literal, positions, uuid_list
from services.scoring.workspace import Workspace, own_policy
from shared.db import Tx, sql

Rows = NDArray[np.void]

_NONE: Final = "'00000000-0000-0000-0000-000000000000'::uuid"
_WORKSPACE: Final = "(SELECT current_setting('app.workspace_id')::uuid)"
STATUSES: Final = ("open", "won", "lost", "abandoned", "cancelled", "deleted", "unknown")

# Rows are looked up one by one (LATERAL … LIMIT 1) where the planner would be misled: tables of `scoring` grow from
# nothing to a hundred thousand rows within a few transactions, and it would read them whole.
# So few ids go as parameters of a prepared statement; more are worth a plan of their own.
_FEW: Final = 64
_NO_TEXTS: Final[dict[str, str]] = {}

GONE: Final = Layout.of(id="uuid", customer_id="uuid", status="int4", scored="int4", seat_owner="uuid")
_GONE_QUERY: Final = f"""
SELECT w.id, coalesce(o.customer_id, {_NONE}),
  CASE WHEN o.id IS NULL THEN 6 WHEN o.deleted_at IS NOT NULL OR c.deleted_at IS NOT NULL THEN 5 ELSE
    CASE o.status WHEN 'open' THEN 0 WHEN 'won' THEN 1 WHEN 'lost' THEN 2 WHEN 'abandoned' THEN 3 ELSE 4 END END,
  (s.opportunity_id IS NOT NULL)::int, coalesce(t.owner_id, {_NONE})
FROM unnest({{ids}}) AS w(id)
LEFT JOIN sales.opportunities o ON o.workspace_id = {_WORKSPACE} AND o.id = w.id
LEFT JOIN sales.customers c ON c.workspace_id = {_WORKSPACE} AND c.id = o.customer_id
LEFT JOIN LATERAL (
  SELECT opportunity_id FROM scoring.scores
  WHERE workspace_id = {_WORKSPACE} AND opportunity_id = w.id LIMIT 1) s ON true
LEFT JOIN LATERAL (
  SELECT owner_id FROM scoring.seats
  WHERE workspace_id = {_WORKSPACE} AND subject_type = 'opportunity' AND subject_id = w.id LIMIT 1) t ON true
"""

SAID: Final = Layout.of(id="uuid", class_code="int4", probability="float8", seat_owner="uuid", digest="int8")
_SAID: Final = f"SELECT opportunity_id, class_code::int, probability, coalesce(owner_id, {_NONE}) AS owner_id, digest"
_SAID_OF_OWNERS: Final = f"{_SAID} FROM scoring.scores WHERE workspace_id = {_WORKSPACE} AND owner_id = ANY ({{ids}})"
_SAID_BY_ID: Final = f"""
SELECT s.* FROM unnest({{ids}}) AS w(id) CROSS JOIN LATERAL (
  {_SAID} FROM scoring.scores WHERE workspace_id = {_WORKSPACE} AND opportunity_id = w.id LIMIT 1) s
"""

CUSTOMERS: Final = Layout.of(
    id="uuid", owner_id="uuid", deleted="int4", open="int4", won="int4", seat_owner="uuid"
)  # fmt: skip
# Of owners of whom everything is judged, the customers they own (but for the busy ones) or hold a seat for.
_OF_OWNERS: Final = f"""
  UNION SELECT id FROM sales.customers
  WHERE workspace_id = {_WORKSPACE} AND owner_id = ANY ({{owners}}) AND id <> ALL ({{busy}})
  UNION SELECT subject_id FROM scoring.seats
  WHERE workspace_id = {_WORKSPACE} AND owner_id = ANY ({{owners}}) AND subject_type = 'customer'
"""
_CUSTOMERS_QUERY: Final = f"""
WITH wanted AS (
  SELECT id FROM unnest({{ids}}) AS w(id) {{of_owners}}
)
SELECT w.id, coalesce(c.owner_id, {_NONE}), (c.id IS NULL OR c.deleted_at IS NOT NULL)::int, b.open, b.won,
  coalesce(t.owner_id, {_NONE})
FROM wanted w
LEFT JOIN sales.customers c ON c.workspace_id = {_WORKSPACE} AND c.id = w.id
CROSS JOIN LATERAL (
  SELECT (count(*) FILTER (WHERE status = 'open'))::int AS open, (count(*) FILTER (WHERE status = 'won'))::int AS won
  FROM sales.opportunities
  WHERE workspace_id = {_WORKSPACE} AND customer_id = w.id AND deleted_at IS NULL) b
LEFT JOIN LATERAL (
  SELECT owner_id FROM scoring.seats
  WHERE workspace_id = {_WORKSPACE} AND subject_type = 'customer' AND subject_id = w.id LIMIT 1) t ON true
"""
_CUSTOMERS_BY_ID: Final = _CUSTOMERS_QUERY.replace("{of_owners}", "")
_CUSTOMERS_OF_OWNERS: Final = _CUSTOMERS_QUERY.replace("{of_owners}", _OF_OWNERS)

SEATS: Final = Layout.of(
    kind="int4", id="uuid", owner_id="uuid", customer_id="uuid", band="int4", rank="int4", class_code="int4",
    priority="float8", slack_days="float8", since="float8", next_due_at="float8",
)  # fmt: skip
_SEATS_QUERY: Final = f"""
SELECT (subject_type = 'customer')::int, subject_id, owner_id, customer_id,
  CASE band WHEN 'engage' THEN 0 WHEN 'track' THEN 1 WHEN 'monitor' THEN 2 WHEN 'backlog' THEN 3 ELSE 4 END,
  rank, class_code::int, priority, slack_days, date_part('epoch', since) / 86400.0,
  coalesce(date_part('epoch', next_due_at) / 86400.0, 'NaN'::float8)
FROM scoring.seats WHERE workspace_id = {_WORKSPACE} AND owner_id = ANY ({{owners}})
"""

_PINS = sql(
    "SELECT owner_id, subject_id, kind, band, expires_at FROM sales.pins"
    " WHERE workspace_id = :workspace_id AND owner_id = ANY(CAST(:owners AS uuid[])) AND ended_at IS NULL"
)
_CAPACITIES = sql(
    "SELECT id, engage_capacity, track_capacity, monitor_capacity FROM sales.members"
    " WHERE workspace_id = :workspace_id AND id = ANY(CAST(:owners AS uuid[]))"
)
_OWNERS_AFTER = sql(
    "SELECT m.id,"
    " (SELECT count(*) FROM sales.opportunities o WHERE o.workspace_id = m.workspace_id"
    "  AND o.owner_id = m.id AND o.status = 'open') +"
    " (SELECT count(*) FROM sales.customers c WHERE c.workspace_id = m.workspace_id AND c.owner_id = m.id) AS subjects"
    " FROM sales.members m"
    " WHERE m.workspace_id = :workspace_id AND (CAST(:after AS uuid) IS NULL OR m.id > CAST(:after AS uuid))"
    " ORDER BY m.id LIMIT 128"
)
_UNTRIAGED = sql(
    "SELECT m.id FROM sales.members m"
    " WHERE m.workspace_id = :workspace_id AND m.active AND m.role IN ('rep', 'manager', 'admin') AND NOT EXISTS"
    " (SELECT FROM scoring.loads l WHERE l.workspace_id = m.workspace_id AND l.owner_id = m.id)"
    " ORDER BY m.id LIMIT :limit"
)
_OWNERLESS_AFTER = sql(
    "SELECT id FROM sales.opportunities WHERE workspace_id = :workspace_id AND owner_id IS NULL AND status = 'open'"
    " AND (CAST(:after AS uuid) IS NULL OR id > CAST(:after AS uuid)) ORDER BY id LIMIT :limit"
)


# How far each rep's closed opportunities came, by what their last stage evidences: of the newest, for a bounded cost.
_EXPERIENCE: Final = sql(
    f"SELECT coalesce(o.owner_id, {_NONE}) AS owner_id, count(*) AS closed,"
    " count(*) FILTER (WHERE o.status = 'won' OR s.evidences_class IN ('B', 'C')) AS to_b,"
    " count(*) FILTER (WHERE o.status = 'won' OR s.evidences_class = 'C') AS to_c,"
    " count(*) FILTER (WHERE o.status = 'won') AS won"
    " FROM (SELECT workspace_id, owner_id, stage_id, status FROM sales.opportunities"
    "  WHERE workspace_id = :workspace_id AND deleted_at IS NULL ORDER BY id DESC LIMIT 50000) o"
    " LEFT JOIN sales.stages s ON s.workspace_id = o.workspace_id AND s.id = o.stage_id"
    " WHERE o.status IN ('won', 'lost', 'abandoned') GROUP BY 1"
)


@dataclass(slots=True)
class Selection:
    """What a drain is about: subjects to judge, and owners of whom everything is judged (`owners`) or only seated
    again (`reseated`). Ids are 16 bytes."""

    opportunities: set[bytes] = field(default_factory=set)
    customers: set[bytes] = field(default_factory=set)
    owners: set[bytes] = field(default_factory=set)
    reseated: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Pin:
    """A rep's wish about one subject: a band to keep it in (None for a mute), until a moment in days."""

    owner_id: bytes
    band: str | None
    until: float


async def _read(
    tx: Tx,
    query: str,
    layout: Layout,
    ids: Mapping[str, Collection[bytes]],
    texts: Mapping[str, str] = _NO_TEXTS,
    *,
    many: bool = False,
) -> Rows:
    """Fills the places that `query` names with ids and texts, and reads its rows: many, or about as many as ids."""
    tx.statements += 1
    if not many and sum(len(keys) for keys in ids.values()) <= _FEW:
        values = [[UUID(bytes=key) for key in keys] for keys in ids.values()]
        return await fetch_out(
            tx.connection, _with_parameters(query, tuple(ids), tuple(texts)), [*values, *texts.values()], layout
        )
    filled = {name: uuid_list(list(keys)) for name, keys in ids.items()}
    return await copy_out(
        tx.connection, query.format(**filled, **{name: literal(text) for name, text in texts.items()}), layout
    )


@lru_cache(maxsize=128)
def _with_parameters(query: str, ids: tuple[str, ...], texts: tuple[str, ...]) -> str:
    names = [*((name, "uuid[]") for name in ids), *((name, "text") for name in texts)]
    return query.format(**{name: f"${place}::{kind}" for place, (name, kind) in enumerate(names, 1)})


async def read_said(tx: Tx, facts: Rows, owners: Collection[bytes]) -> Rows:
    """`SAID` of every opportunity of `facts`, in order: class (-1 none), probability (NaN none), whose seat it held,
    and the digest of it all (0 none).

    Scores of whole owners are read along the index of owners, where they stand together.
    """
    said = SAID.empty(len(facts))
    said["class_code"], said["probability"] = -1, np.nan
    missing = np.ones(len(facts), dtype=np.bool_)
    if owners:
        missing &= ~_fill(said, facts, await _read(tx, _SAID_OF_OWNERS, SAID, {"ids": owners}, many=True))
    rest = facts["id"][missing].tolist()
    if rest:
        _fill(said, facts, await _read(tx, _SAID_BY_ID, SAID, {"ids": rest}))
    return said


def _fill(said: Rows, facts: Rows, found: Rows) -> NDArray[np.bool_]:
    """Puts what was found in its place; which places those were."""
    place = positions(found["id"], facts["id"])
    here: NDArray[np.bool_] = place >= 0
    said[here] = found[place[here]]
    return here


async def read_gone(tx: Tx, ids: set[bytes]) -> Rows:
    """`GONE` of opportunities that are not open: what became of each, and whether it still has a score or a seat."""
    return await _read(tx, _GONE_QUERY, GONE, {"ids": ids})


async def read_customers(tx: Tx, ids: set[bytes], owners: set[bytes], busy: set[bytes]) -> Rows:
    """`CUSTOMERS` of `ids`, of all that `owners` hold a seat for, and of all they own but the `busy` ones, which are
    known to have an open opportunity."""
    if not owners:
        return await _read(tx, _CUSTOMERS_BY_ID, CUSTOMERS, {"ids": ids})
    return await _read(tx, _CUSTOMERS_OF_OWNERS, CUSTOMERS, {"ids": ids, "owners": owners, "busy": busy}, many=True)


async def read_seats(tx: Tx, owners: Iterable[bytes]) -> Rows:
    """`SEATS` that `owners` hold."""
    tx.statements += 1
    return await copy_out(tx.connection, _SEATS_QUERY.format(owners=uuid_list(list(owners))), SEATS)


async def read_facts(tx: Tx, workspace: Workspace, selection: Selection) -> Rows:
    """`FACTS` of the open opportunities that the selection reaches: the core's input, in the wire's byte order."""
    asked = {
        column: ids
        for column, ids in (
            ("id", selection.opportunities),
            ("customer_id", selection.customers),
            ("owner_id", selection.owners),
        )
        if ids
    }
    if not asked:
        return FACTS.empty(0)
    return await _read(
        tx, _facts_query(tuple(asked), workspace.inputs), FACTS, asked, workspace.query_values, many="owner_id" in asked
    )


_facts_query = lru_cache(maxsize=256)(facts_query)


async def read_median_facts(tx: Tx, workspace: Workspace) -> OpportunityFacts:
    """Facts of a bounded sample of the workspace's open opportunities, as far as medians need them."""
    found = await _read(tx, MEDIANS_QUERY, MEDIANS, {}, {"rates": workspace.query_values["rates"]}, many=True)
    rows = unknown_facts(len(found))
    for name in ("process_id", *MEDIAN_FIELDS):
        rows[name] = found[name]
    return OpportunityFacts(rows)


async def read_experience(tx: Tx) -> Experience:
    """How the workspace's closed opportunities, and each rep's, went from class to class."""
    return Experience.of(
        {
            row["owner_id"].bytes: (row["closed"], row["to_b"], row["to_c"], row["won"])
            for row in await tx.rows(_EXPERIENCE)
        }
    )


async def read_pins(tx: Tx, owners: list[UUID]) -> dict[bytes, list[Pin]]:
    """Pins and mutes that have not been ended, by subject; expired ones too, for they explain moves."""
    pins: dict[bytes, list[Pin]] = {}
    for row in await tx.rows(_PINS, owners=owners):
        until = row["expires_at"].timestamp() / 86_400
        pins.setdefault(row["subject_id"].bytes, []).append(Pin(row["owner_id"].bytes, row["band"], until))
    return pins


async def read_policies(tx: Tx, workspace: Workspace, owners: list[UUID]) -> dict[bytes, Policy]:
    """The policy of each owner, with capacities of their own where they have them."""
    rows = await tx.rows(_CAPACITIES, owners=owners)
    return {
        row["id"].bytes: own_policy(
            workspace.policy, (row["engage_capacity"], row["track_capacity"], row["monitor_capacity"])
        )
        for row in rows
    }


async def owners_after(tx: Tx, after: UUID | None, limit: int) -> list[UUID]:
    """The next owners by id, as many as own `limit` subjects together, at least one; none when all are through."""
    owners: list[UUID] = []
    subjects = 0
    for row in await tx.rows(_OWNERS_AFTER, after=after):
        subjects += row["subjects"]
        if owners and subjects > limit:
            break
        owners.append(row["id"])
    return owners


async def untriaged(tx: Tx, limit: int) -> list[UUID]:
    """Active members who may own and of whom no triage has found anything yet."""
    return [row["id"] for row in await tx.rows(_UNTRIAGED, limit=limit)]


async def ownerless_after(tx: Tx, after: UUID | None, limit: int) -> list[UUID]:
    """The next open opportunities that nobody owns, by id."""
    return [row["id"] for row in await tx.rows(_OWNERLESS_AFTER, after=after, limit=limit)]


def owned(ids: NDArray[Any]) -> set[bytes]:
    """The owners among `ids`, without the zero uuid that stands for none."""
    return set(ids.tolist()) - {NO_UUID}
