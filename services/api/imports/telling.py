"""The SQL that tells of an import: events, audit entries and marks of what it made and changed, set-based."""

from __future__ import annotations

from functools import lru_cache

from services.api.imports.kinds import CUSTOMER_KIND, KINDS, Kind
from services.api.imports.records import empty_document
from services.api.imports.staging import stage_table, staged_columns
from shared.db import Query, sql
from shared.effects import BULK

_OUTBOX = (
    "INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version,"
    " owner_id, actor_id, request_id, occurred_at, data)"
)
_AUDIT = (
    "INSERT INTO sales.audit_entries (workspace_id, id, recorded_at, actor_id, request_id, action, subject_type,"
    " subject_id, version, changes)"
)
_WHO = "CAST(:actor_id AS uuid), CAST(:request_id AS text)"
_WORKSPACE, _NOW = "CAST(:workspace_id AS uuid)", "CAST(:now AS timestamptz)"


@lru_cache(maxsize=32)
def tell_new(kind: Kind) -> Query:
    """One event and one audit entry of each staged row that is new; both documents were made with the row."""
    owner = "s.owner_id" if "owner_id" in staged_columns(kind) else "NULL::uuid"
    happened, table = f"'{kind.subject}.created'", stage_table(kind)
    return sql(
        f"""
WITH told AS (
  {_OUTBOX}
  SELECT {_WORKSPACE}, s.event_id, {_NOW}, {happened}, '{kind.subject}', s.id, 1, {owner}, {_WHO}, {_NOW},
    s.data::jsonb
  FROM {table} s WHERE s.is_new
)
{_AUDIT}
SELECT {_WORKSPACE}, s.audit_id, {_NOW}, {_WHO}, {happened}, '{kind.subject}', s.id, 1, s.changes::jsonb
FROM {table} s WHERE s.is_new
"""
    )


def _money_text(column: str) -> str:
    return (
        f"CASE WHEN t.{column} = round(t.{column}, 2) THEN round(t.{column}, 2)::text"
        f" ELSE trim_scale(t.{column})::text END"
    )


_CONTACT_IDS = (
    "coalesce((SELECT jsonb_agg(p.contact_id ORDER BY p.contact_id) FROM sales.interaction_contacts p"
    " WHERE p.workspace_id = t.workspace_id AND p.interaction_id = t.id), '[]')"
)


def document(kind: Kind) -> str:
    """A row as events tell it: as the api shows it, without personal values."""
    shown = empty_document(kind, guarded=False).keys()
    dropped = [str(column.name) for column in kind.table.c if column.name not in shown or column.name in kind.money]

    def without(names: frozenset[str]) -> str:
        listed = ", ".join(f"'{name}'" for name in sorted({*dropped, *names}))
        return f"(to_jsonb(t) - CAST(ARRAY[{listed}] AS text[]))"

    base = without(kind.hidden(guarded=False))
    if kind.guarded:
        column, value = kind.guarded
        # What was personal before stays so: a household may become an organisation.
        before = f" OR s.changes::jsonb -> '{column}' ->> 0 = '{value}'" if column in kind.columns else ""
        base = f"CASE WHEN t.{column} = '{value}'{before} THEN {without(kind.hidden(guarded=True))} ELSE {base} END"
    if kind.name == "interactions":
        base = f"{base} || jsonb_build_object('contact_ids', {_CONTACT_IDS})"
    if not kind.money:
        return base
    wire = {column: name for name, column in kind.columns.items()}
    amounts = ", ".join(
        f"'{wire[column]}', CASE WHEN t.{column} IS NOT NULL AND t.currency IS NOT NULL THEN"
        f" jsonb_build_object('amount', {_money_text(column)}, 'currency', t.currency) END"
        for column in kind.money
    )
    return f"{base} || jsonb_build_object({amounts})"


def _staged_and_stored(kind: Kind) -> str:
    """The staged rows that were there before and are touched, each with its row: found one by one, by its key."""
    return (
        f"{stage_table(kind)} s JOIN LATERAL (SELECT * FROM sales.{kind.name} o"
        f" WHERE o.workspace_id = {_WORKSPACE} AND o.id = s.id OFFSET 0) t ON true"
        " WHERE NOT s.is_new AND (s.changed OR s.moved)"
    )


@lru_cache(maxsize=32)
def tell_changed(kind: Kind) -> Query:
    """One event and one audit entry of each staged row that was there before and says something else now."""
    owner = "t.owner_id" if "owner_id" in kind.table.c else "NULL::uuid"
    happened = f"'{kind.subject}.updated'"
    return sql(
        f"""
WITH touched AS MATERIALIZED (
  SELECT s.id, s.event_id, s.audit_id, s.changes::jsonb AS changes, t.version, {owner} AS event_owner,
    {document(kind)} AS data
  FROM {_staged_and_stored(kind)} AND s.changed
), told AS (
  {_OUTBOX}
  SELECT {_WORKSPACE}, event_id, {_NOW}, {happened}, '{kind.subject}', id, version, event_owner, {_WHO}, {_NOW},
    data || jsonb_build_object('changed', (SELECT jsonb_agg(k ORDER BY k) FROM jsonb_object_keys(changes) k))
  FROM touched
)
{_AUDIT}
SELECT {_WORKSPACE}, audit_id, {_NOW}, {_WHO}, {happened}, '{kind.subject}', id, version,
  coalesce(changes, '{{}}') || jsonb_build_object('import_id', CAST(:import_id AS text))
FROM touched
"""
    )


def _touched(kind: Kind, rows: str, row: str, condition: str, happened: str) -> str:
    """What staged rows have judged again, as a select of (subject_type, subject_id) and its cause.

    `rows` is where they are found, `row` the alias that holds what they refer to.
    """

    def of(subject: str, column: str, more: str = "") -> str:
        return (
            f"SELECT '{subject}' AS subject_type, {row}.{column} AS subject_id, s.event_id, '{happened}' AS happened,"
            f" '{kind.subject}' AS of_type, s.id FROM {rows} {condition}{more}"
        )

    if kind.name == "opportunities":
        still_open = f" AND {row}.status = 'open'" if happened.endswith("created") else ""
        return f"{of('opportunity', 'id', still_open)} UNION ALL {of('customer', 'customer_id')}"
    if kind.name == "interactions":
        told = f" AND {row}.opportunity_id IS NOT NULL"
        return f"{of('opportunity', 'opportunity_id', told)} UNION ALL {of('customer', 'customer_id')}"
    return of("customer", "id" if kind.name == "customers" else "customer_id")


@lru_cache(maxsize=64)
def mark(kind: Kind, *, any_old: bool, any_made: bool) -> Query | None:
    """Marks all that the staged rows touch, in the order of the marks' key; None where nothing of the kind is judged.

    `any_made` says that customers were made for rows that name them.
    """
    if kind.name == "products":
        return None
    parts = [_touched(kind, f"{stage_table(kind)} s", "s", "WHERE s.is_new", f"{kind.subject}.created")]
    if any_old:
        parts.append(_touched(kind, _staged_and_stored(kind), "t", "", f"{kind.subject}.updated"))
    if any_made and kind is not CUSTOMER_KIND:
        made = f"{stage_table(CUSTOMER_KIND)} s"
        parts.append(_touched(CUSTOMER_KIND, made, "s", "WHERE s.is_new", "customer.created"))
    return sql(
        f"""
INSERT INTO scoring.dirty_marks AS d (workspace_id, subject_type, subject_id, lane, cause, marked_at)
SELECT {_WORKSPACE}, m.subject_type, m.subject_id, {BULK},
  jsonb_build_object('event_id', m.event_id, 'type', m.happened, 'subject_type', m.of_type, 'subject_id', m.id,
    'request_id', CAST(:request_id AS text)), now()
FROM (SELECT DISTINCT ON (subject_type, subject_id) * FROM ({" UNION ALL ".join(parts)}) u
  ORDER BY subject_type, subject_id) m
ON CONFLICT (workspace_id, subject_type, subject_id) DO UPDATE
SET version = excluded.version, lane = least(d.lane, excluded.lane), cause = excluded.cause
"""
    )


_STEP_EVENTS = """CASE x.action WHEN 'pass' THEN 'milestone_passed' WHEN 'back' THEN 'milestone_withdrawn'
  WHEN 'void' THEN 'milestone_voided' WHEN 'lose' THEN 'lost' WHEN 'abandon' THEN 'abandoned'
  WHEN 'reopen' THEN 'reopened' WHEN 'cancel' THEN 'cancelled' END"""
# Words that a person wrote are kept in the history alone.
_STEP_REASON = "CASE WHEN x.action IN ('lose', 'abandon') THEN x.reason END"
# A new opportunity is told of once, as it stands; what happens to one that was known is told of step by step.
TELL_STEPS = sql(
    f"""
WITH moved AS MATERIALIZED (
  SELECT x.*, t.version, t.owner_id, s.key, s.irreversible, coalesce(s.wins, false) AS wins,
    {document(KINDS["opportunities"])} AS data
  FROM import_steps x
  JOIN sales.opportunities t ON t.workspace_id = CAST(:workspace_id AS uuid) AND t.id = x.opportunity_id
  LEFT JOIN sales.stages s ON s.workspace_id = CAST(:workspace_id AS uuid) AND s.id = x.stage_id
  WHERE NOT x.is_new
), audited AS (
  INSERT INTO sales.audit_entries (workspace_id, id, recorded_at, actor_id, request_id, action, subject_type,
    subject_id, version, changes)
  SELECT CAST(:workspace_id AS uuid), x.id, CAST(:now AS timestamptz), CAST(:actor_id AS uuid),
    CAST(:request_id AS text), 'opportunity.' || x.action, 'opportunity', x.opportunity_id, x.version,
    jsonb_build_object('stage_id', x.stage_id, 'reason', {_STEP_REASON}, 'import_id', CAST(:import_id AS text))
  FROM moved x
), told AS (
  SELECT x.id, x.opportunity_id, x.version, x.owner_id, x.occurred_at, {_STEP_EVENTS} AS happened,
    x.data || jsonb_build_object('reason', {_STEP_REASON}, 'previous_stage_id', x.previous_stage_id)
    || CASE WHEN x.stage_id IS NULL THEN '{{}}' ELSE jsonb_build_object('milestone', jsonb_build_object('key', x.key,
      'irreversible', x.irreversible, 'wins', x.wins, 'stage_id', x.stage_id)) END AS data
  FROM moved x
  UNION ALL
  SELECT x.event_id, x.opportunity_id, x.version, x.owner_id, x.occurred_at, 'won', x.data FROM moved x
  WHERE x.action = 'pass' AND x.wins
)
INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version, owner_id,
  actor_id, request_id, occurred_at, data)
SELECT CAST(:workspace_id AS uuid), e.id, CAST(:now AS timestamptz), 'opportunity.' || e.happened, 'opportunity',
  e.opportunity_id, e.version, e.owner_id, CAST(:actor_id AS uuid), CAST(:request_id AS text), e.occurred_at, e.data
FROM told e
"""
)
