"""The temporary tables through which arrays reach the database, and the statements that carry them over.

Arrays are copied in as they are; one statement then writes them where they belong. The tables are of this session
alone and empty again after each transaction.
"""

from __future__ import annotations

from typing import Final

from services.scoring.core.codes import CRITERIA, FACTORS, PARTS
from services.scoring.wire import Column, Layout, literal
from shared.db import Query, Tx, sql

SCORES: Final = Layout(
    (
        *Layout.of(
            opportunity_id="uuid", owner_id="uuid", customer_id="uuid", facts_version="int4", probability="float8",
            probability_low="float8", probability_high="float8", priority="float8", margin="float8",
            urgency="float8", slack_days="float8", hours="float8", class_code="int2", flags="int4",
            unknowns="int8", imputed="int4", next_due_at="timestamptz", digest="int8",
        ).columns,
        Column("criteria", "float4[]", len(CRITERIA)),
        Column("parts", "float4[]", len(PARTS)),
        Column("contributions", "float4[]", len(FACTORS)),
    )
)  # fmt: skip
SEATS: Final = Layout.of(
    kind="int2", subject_id="uuid", owner_id="uuid", customer_id="uuid", band="int2", rank="int4",
    class_code="int2", priority="float8", slack_days="float8", since="timestamptz", next_due_at="timestamptz",
)  # fmt: skip
MOVES: Final = Layout.of(
    id="uuid", event_id="uuid", owner_id="uuid", kind="int2", subject_id="uuid", from_band="int2", to_band="int2",
    rank="int4", cause="int4",
)  # fmt: skip
SCORED: Final = Layout.of(
    event_id="uuid", subject_id="uuid", owner_id="uuid", version="int4", class_code="int2", class_before="int2",
    probability="float8", probability_before="float8", priority="float8", cause="int4",
)  # fmt: skip

TABLES: Final[dict[str, Layout]] = {
    "sixteen_scores": SCORES,
    "sixteen_seats": SEATS,
    "sixteen_moves": MOVES,
    "sixteen_scored": SCORED,
}

_NONE: Final = "'00000000-0000-0000-0000-000000000000'::uuid"


def _create(table: str, layout: Layout) -> str:
    columns = ", ".join(f"{column.name} {column.type} NOT NULL" for column in layout.columns)
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} ({columns}) ON COMMIT DELETE ROWS"


# That they are there already is the rule, and no news.
CREATE_TABLES: Final = "; ".join(
    (
        "SET LOCAL client_min_messages = warning",
        # The statements that are prepared take few ids; planning them anew would be most of a small drain.
        "SET LOCAL plan_cache_mode = force_generic_plan",
        *(_create(table, layout) for table, layout in TABLES.items()),
    )
)

_SCORE_VALUES: Final = [column.name for column in SCORES.columns if column.name not in ("owner_id", "next_due_at")]
_SCORE_COLUMNS: Final = [*_SCORE_VALUES, "owner_id", "next_due_at", "model_version", "scored_at"]


def _set(columns: list[str], key: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)


def _from_new(columns: list[str], key: tuple[str, ...], given: dict[str, str]) -> str:
    """Each column from the temporary table n, but those that are `given` otherwise."""
    return ", ".join(f"{name} = {given.get(name, f'n.{name}')}" for name in columns if name not in key)


# So many rows are worth a plan of their own.
MANY: Final = 1_000
_SCORE_GIVEN: Final = {
    "owner_id": f"nullif(n.owner_id, {_NONE})",
    "next_due_at": "nullif(n.next_due_at, 'infinity')",
    "model_version": "{model_version}",
    "scored_at": "{now}",
}


# A part of the rows is looked up one by one: joining in any other way reads all of a table of many wide rows.
_BY_KEY: Final = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
_BY_ANY: Final = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"


async def run_once(tx: Tx, statement: str, **values: object) -> None:
    """Runs a statement with `{names}` to fill as literals, planned anew for what the tables hold at this moment."""
    tx.statements += 1
    filled = {name: literal(str(value)) for name, value in values.items()}
    filled["workspace_id"] = f"{literal(str(tx.workspace_id))}::uuid"
    await tx.connection.execute(f"{_BY_KEY}; {statement.format(**filled)}; {_BY_ANY}")


_SCORE_SELECTED: Final = (
    f"SELECT CAST(:workspace_id AS uuid), "
    f"{', '.join(f'n.{name}' for name in _SCORE_VALUES)}, nullif(n.owner_id, {_NONE}),"
    " nullif(n.next_due_at, 'infinity'), CAST(:model_version AS text), CAST(:now AS timestamptz) FROM sixteen_scores n"
)
WRITE_SCORES: Final[Query] = sql(
    f"INSERT INTO scoring.scores (workspace_id, {', '.join(_SCORE_COLUMNS)}) {_SCORE_SELECTED}"
    f" ON CONFLICT (workspace_id, opportunity_id) DO UPDATE SET {_set(_SCORE_COLUMNS, ('opportunity_id',))}"
)
REPLACE_SCORES: Final = (
    f"UPDATE scoring.scores s SET {_from_new(_SCORE_COLUMNS, ('opportunity_id',), _SCORE_GIVEN)}"
    " FROM sixteen_scores n WHERE s.workspace_id = {workspace_id} AND s.opportunity_id = n.opportunity_id"
)
DELETE_SCORES: Final[Query] = sql(
    "DELETE FROM scoring.scores WHERE workspace_id = :workspace_id AND opportunity_id = ANY(CAST(:ids AS uuid[]))"
)

_SEAT_COLUMNS: Final = [
    "owner_id", "customer_id", "band", "rank", "class_code", "priority", "slack_days", "since", "next_due_at",
]  # fmt: skip
_BAND: Final = "(ARRAY['engage', 'track', 'monitor', 'backlog', 'muted'])[{} + 1]"
_KIND: Final = "(ARRAY['opportunity', 'customer'])[kind + 1]"
_SEAT_GIVEN: Final = {"band": _BAND.format("n.band"), "next_due_at": "nullif(n.next_due_at, 'infinity')"}
WRITE_SEATS: Final[Query] = sql(
    f"INSERT INTO scoring.seats (workspace_id, subject_type, subject_id, {', '.join(_SEAT_COLUMNS)})"
    f" SELECT CAST(:workspace_id AS uuid), {_KIND}, subject_id, owner_id, customer_id, {_BAND.format('band')}, rank,"
    " class_code, priority, slack_days, since, nullif(next_due_at, 'infinity') FROM sixteen_seats"
    f" ON CONFLICT (workspace_id, subject_type, subject_id) DO UPDATE SET {_set(_SEAT_COLUMNS, ())}"
)
REPLACE_SEATS: Final = (
    f"UPDATE scoring.seats s SET {_from_new(_SEAT_COLUMNS, (), _SEAT_GIVEN)} FROM sixteen_seats n"
    " WHERE s.workspace_id = {workspace_id} AND s.subject_type = "
    f"{_KIND.replace('kind', 'n.kind')} AND s.subject_id = n.subject_id"
)
DELETE_SEATS: Final[Query] = sql(
    "DELETE FROM scoring.seats WHERE workspace_id = :workspace_id AND subject_id = ANY(CAST(:ids AS uuid[]))"
    " AND owner_id = ANY(CAST(:owners AS uuid[]))"
)

# Moves and events of one drain in one statement. Causes are few and shared by many rows: they come once each.
WRITE_EVENTS: Final[Query] = sql(
    f"""
WITH causes AS MATERIALIZED (
  SELECT c.cause, c.request_id, c.traceparent, c.place::int - 1 AS place
  FROM unnest(CAST(:causes AS jsonb[]), CAST(:requests AS text[]), CAST(:traces AS text[]))
    WITH ORDINALITY AS c(cause, request_id, traceparent, place)
), moved AS (
  SELECT m.*, {_KIND} AS subject_type, {_BAND.format("from_band")} AS from_name, {_BAND.format("to_band")} AS to_name,
    c.cause AS because, c.request_id, c.traceparent
  FROM sixteen_moves m JOIN causes c ON c.place = m.cause
), kept AS (
  INSERT INTO scoring.moves (workspace_id, id, owner_id, subject_type, subject_id, from_band, to_band, cause,
    recorded_at)
  SELECT CAST(:workspace_id AS uuid), id, owner_id, subject_type, subject_id, from_name, to_name, because,
    CAST(:now AS timestamptz)
  FROM moved
)
INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version, owner_id,
  request_id, traceparent, occurred_at, data)
SELECT CAST(:workspace_id AS uuid), event_id, CAST(:now AS timestamptz), 'focus.moved', subject_type, subject_id, NULL,
  owner_id, request_id, traceparent, CAST(:now AS timestamptz),
  jsonb_build_object('move_id', id, 'from', from_name, 'to', to_name, 'rank', nullif(rank, 0), 'cause', because)
FROM moved
UNION ALL
SELECT CAST(:workspace_id AS uuid), event_id, CAST(:now AS timestamptz), 'opportunity.scored', 'opportunity',
  subject_id, version, nullif(owner_id, {_NONE}), c.request_id, c.traceparent, CAST(:now AS timestamptz),
  jsonb_build_object('class', substr('ABCD', class_code + 1, 1),
    'class_before', nullif(substr('ABCD', class_before + 1, (class_before >= 0)::int), ''),
    'probability', probability, 'probability_before', nullif(probability_before, 'NaN'), 'priority', priority,
    'model_version', CAST(:model_version AS text), 'cause', c.cause)
FROM sixteen_scored s JOIN causes c ON c.place = s.cause
"""
)
WRITE_LOADS: Final[Query] = sql(
    "INSERT INTO scoring.loads (workspace_id, owner_id, counts, shortages, triaged_at)"
    " SELECT CAST(:workspace_id AS uuid), l.owner_id, l.counts, l.shortages, CAST(:now AS timestamptz)"
    " FROM unnest(CAST(:owners AS uuid[]), CAST(:counts AS jsonb[]), CAST(:shortages AS jsonb[]))"
    " AS l(owner_id, counts, shortages)"
    " ON CONFLICT (workspace_id, owner_id) DO UPDATE SET counts = excluded.counts, shortages = excluded.shortages,"
    " triaged_at = excluded.triaged_at"
)
WRITE_MODEL: Final[Query] = sql(
    "INSERT INTO scoring.models (workspace_id, version, regime, codes, recorded_at)"
    " VALUES (:workspace_id, :version, 'prior', :codes, :now)"
    " ON CONFLICT (workspace_id, version) DO UPDATE SET codes = excluded.codes"
    " WHERE scoring.models.codes <> excluded.codes"
)
