"""The SQL of an import: rows are copied into temporary tables, and a few set-based statements carry them over.

The temporary tables are of this session alone and empty again after each transaction. A statement is made once for
each kind and set of columns.
"""

from __future__ import annotations

from functools import lru_cache

from services.api.imports.kinds import KINDS, STAGED, Kind
from shared.db import Query, sql
from shared.effects import BULK

# Every kind's staging table begins with these.
HEAD = {
    "id": "uuid",
    "event_id": "uuid",
    "audit_id": "uuid",
    "external_source": "text",
    "external_id": "text",
    "is_new": "boolean",
    "moved": "boolean",
    "changed": "boolean",
    "changes": "text",
    "attributes": "text",
    "sort_key": "text",
    "process_id": "uuid",
    "stage_id": "uuid",
    "stage_entered_at": "timestamptz",
}
STEPS = {
    "id": "uuid",
    "event_id": "uuid",
    "opportunity_id": "uuid",
    "is_new": "boolean",
    "action": "text",
    "stage_id": "uuid",
    "passage_id": "uuid",
    "reason": "text",
    "occurred_at": "timestamptz",
}
# Of these a row without a value leaves alone what is there.
_KEPT_WHERE_EMPTY = ("occurred_at", "currency")
_BOOKKEEPING = ("workspace_id", "sort_key", "historical")


def stage_table(kind: Kind) -> str:
    return f"import_{kind.name}"


def staged_columns(kind: Kind) -> dict[str, str]:
    """Columns of the kind's staging table with their types."""
    fields = {each.column or name: STAGED.get(each.type, "text") for name, each in kind.fields.items()}
    return {**HEAD, **fields, **dict.fromkeys(kind.references, "uuid")}


def _create(table: str, columns: dict[str, str]) -> str:
    listed = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} ({listed}) ON COMMIT DELETE ROWS"


# That they are there already is the rule, and no news. Fresh tables have no statistics: a plan that reads a whole
# table for each of a few thousand rows must not look cheap.
PREPARE = "; ".join(
    (
        "SET LOCAL client_min_messages = warning",
        "SET LOCAL enable_seqscan = off",
        *(_create(stage_table(kind), staged_columns(kind)) for kind in KINDS.values()),
        _create("import_steps", STEPS),
    )
)


@lru_cache(maxsize=512)
def insert_new(kind: Kind, columns: tuple[str, ...]) -> Query:
    """Inserts the staged rows that are new."""
    names = [name for name in columns if name != "occurred_at"]
    values = [f"s.{name}" for name in names]
    if kind.has_sort_key:
        names.append("sort_key")
        values.append("s.sort_key")
    if kind.has_attributes:
        names.append("attributes")
        values.append("jsonb_strip_nulls(coalesce(s.attributes, '{}')::jsonb)")
    if kind.name == "opportunities":
        names += ["process_id", "stage_id", "stage_entered_at"]
        values += ["s.process_id", "s.stage_id", "s.stage_entered_at"]
    occurred = "s.occurred_at" if "occurred_at" in staged_columns(kind) else "NULL"
    return sql(
        f"INSERT INTO sales.{kind.name} (workspace_id, id, {', '.join(names)}, external_source, external_id,"
        " historical, occurred_at, recorded_at, updated_at)"
        f" SELECT CAST(:workspace_id AS uuid), s.id, {', '.join(values)}, s.external_source, s.external_id,"
        f" CAST(:historical AS boolean), coalesce({occurred}, CAST(:now AS timestamptz)), CAST(:now AS timestamptz),"
        f" CAST(:now AS timestamptz) FROM {stage_table(kind)} s WHERE s.is_new"
    )


@lru_cache(maxsize=512)
def update_changed(kind: Kind, columns: tuple[str, ...], hidden: tuple[str, ...]) -> Query:
    """Updates the staged rows that exist and say something else, and notes in the staging table what changed."""
    sets = {
        name: f"coalesce(s.{name}, t.{name})" if name in _KEPT_WHERE_EMPTY else f"s.{name}"
        for name in columns
        if name not in (*kind.fixed, "owner_id")
    }
    if kind.has_sort_key and "name" in sets:
        sets["sort_key"] = "s.sort_key"
    if kind.has_attributes:
        sets["attributes"] = "jsonb_strip_nulls(t.attributes || coalesce(s.attributes, '{}')::jsonb)"
    assigned = ", ".join(f"{name} = {value}" for name, value in sets.items())
    before = ", ".join(f"t.{name}" for name in sets)
    after = ", ".join(sets.values())
    audited = [name for name in (*sets, "deleted_at") if name not in _BOOKKEEPING]
    shown = ", ".join(f"'{name}'" for name in audited)
    secret = ", ".join(f"'{name}'" for name in hidden if name in audited)
    table = f"sales.{kind.name}"
    own = "t.workspace_id = CAST(:workspace_id AS uuid) AND t.id = s.id"
    return sql(
        f"""
WITH before AS MATERIALIZED (
  SELECT t.id, to_jsonb(t) AS was FROM {stage_table(kind)} s JOIN {table} t ON {own} WHERE NOT s.is_new
), updated AS (
  UPDATE {table} t SET {assigned}, deleted_at = NULL, version = t.version + 1, updated_at = :now
  FROM {stage_table(kind)} s
  WHERE {own} AND NOT s.is_new
    AND (ROW({before}) IS DISTINCT FROM ROW({after}) OR t.deleted_at IS NOT NULL)
  RETURNING t.id, to_jsonb(t) AS is_now
)
UPDATE {stage_table(kind)} s SET changed = true, changes = (
  SELECT jsonb_object_agg(k.name, CASE WHEN k.name = ANY (CAST(ARRAY[{secret}] AS text[])) THEN 'null'::jsonb
      ELSE jsonb_build_array(b.was -> k.name, u.is_now -> k.name) END)
  FROM unnest(CAST(ARRAY[{shown}] AS text[])) AS k(name)
  WHERE b.was -> k.name IS DISTINCT FROM u.is_now -> k.name)::text
FROM updated u JOIN before b ON b.id = u.id WHERE s.id = u.id
"""
    )


def _money_text(column: str) -> str:
    return (
        f"CASE WHEN t.{column} = round(t.{column}, 2) THEN round(t.{column}, 2)::text"
        f" ELSE trim_scale(t.{column})::text END"
    )


def _document(kind: Kind) -> str:
    """A row as events tell it: as the api shows it, without personal values."""
    dropped = [*_BOOKKEEPING, *kind.money, *(("currency",) if kind.money else ())]

    def without(names: frozenset[str]) -> str:
        listed = ", ".join(f"'{name}'" for name in sorted({*dropped, *names}))
        return f"(to_jsonb(t) - CAST(ARRAY[{listed}] AS text[]))"

    base = without(kind.hidden(guarded=False))
    if kind.guarded:
        column, value = kind.guarded
        # What was personal before stays so: a household may become an organisation.
        before = f" OR s.changes::jsonb -> '{column}' ->> 0 = '{value}'" if column in kind.columns else ""
        base = f"CASE WHEN t.{column} = '{value}'{before} THEN {without(kind.hidden(guarded=True))} ELSE {base} END"
    if not kind.money:
        return base
    wire = {column: name for name, column in kind.columns.items()}
    amounts = ", ".join(
        f"'{wire[column]}', CASE WHEN t.{column} IS NOT NULL AND t.currency IS NOT NULL THEN"
        f" jsonb_build_object('amount', {_money_text(column)}, 'currency', t.currency) END"
        for column in kind.money
    )
    return f"{base} || jsonb_build_object({amounts})"


def _owner(kind: Kind) -> str:
    return "t.owner_id" if "owner_id" in kind.table.c else "NULL::uuid"


def _marks(kind: Kind) -> str:
    """What is to be judged again, as a select of (subject_type, subject_id, cause columns) from `touched`."""
    own = "SELECT '{0}' AS subject_type, {1} AS subject_id, happened, event_id, id FROM touched"
    customer = own.format("customer", "customer_id")
    if kind.name == "opportunities":
        return f"{own.format('opportunity', 'id')} WHERE status = 'open' OR NOT is_new UNION ALL {customer}"
    if kind.name == "interactions":
        return f"{own.format('opportunity', 'opportunity_id')} WHERE opportunity_id IS NOT NULL UNION ALL {customer}"
    return own.format("customer", "id") if kind.name == "customers" else customer


@lru_cache(maxsize=32)
def write_effects(kind: Kind) -> Query:
    """Events and audit entries of new and changed rows, and the marks of all that was touched, in one statement."""
    extra = {"opportunities": ", t.status, t.customer_id", "interactions": ", t.customer_id, t.opportunity_id"}
    also = extra.get(kind.name, ", t.customer_id" if kind.name == "contacts" else "")
    marks = "" if kind.name == "products" else _marks(kind)
    written = f"""
WITH touched AS MATERIALIZED (
  SELECT s.id, s.is_new, coalesce(s.changed, false) AS changed, s.event_id, s.audit_id, s.changes::jsonb AS changes,
    t.version, {_owner(kind)} AS event_owner, {_document(kind)} AS data,
    '{kind.subject}.' || CASE WHEN s.is_new THEN 'created' ELSE 'updated' END AS happened{also}
  FROM {stage_table(kind)} s
  JOIN sales.{kind.name} t ON t.workspace_id = CAST(:workspace_id AS uuid) AND t.id = s.id
  WHERE s.is_new OR s.changed OR s.moved
), told AS (
  INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version,
    owner_id, actor_id, request_id, occurred_at, data)
  SELECT CAST(:workspace_id AS uuid), event_id, CAST(:now AS timestamptz), happened, '{kind.subject}', id, version,
    event_owner, CAST(:actor_id AS uuid), CAST(:request_id AS text), CAST(:now AS timestamptz),
    CASE WHEN is_new THEN data ELSE data || jsonb_build_object('changed',
      (SELECT jsonb_agg(k ORDER BY k) FROM jsonb_object_keys(changes) k)) END
  FROM touched WHERE is_new OR changed
), audited AS (
  INSERT INTO sales.audit_entries (workspace_id, id, recorded_at, actor_id, request_id, action, subject_type,
    subject_id, version, changes)
  SELECT CAST(:workspace_id AS uuid), audit_id, CAST(:now AS timestamptz), CAST(:actor_id AS uuid),
    CAST(:request_id AS text), happened, '{kind.subject}', id, version,
    coalesce(changes, '{{}}') || jsonb_build_object('import_id', CAST(:import_id AS text))
  FROM touched WHERE is_new OR changed
)"""
    if not marks:
        return sql(f"{written} SELECT count(*) FROM touched")
    return sql(
        f"""{written}
INSERT INTO scoring.dirty_marks AS d (workspace_id, subject_type, subject_id, lane, cause, marked_at)
SELECT CAST(:workspace_id AS uuid), m.subject_type, m.subject_id, {BULK},
  jsonb_build_object('event_id', m.event_id, 'type', m.happened, 'subject_type', '{kind.subject}', 'subject_id', m.id,
    'request_id', CAST(:request_id AS text)), now()
FROM (SELECT DISTINCT ON (subject_type, subject_id) * FROM ({marks}) u ORDER BY subject_type, subject_id) m
ON CONFLICT (workspace_id, subject_type, subject_id) DO UPDATE
SET version = excluded.version, lane = least(d.lane, excluded.lane), cause = excluded.cause
"""
    )


# Who passed an imported milestone is not known; who imported it stands in the audit trail.
RECORD_STEPS = sql(
    "INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, passage_id, reason, criteria,"
    " imported, historical, occurred_at, recorded_at)"
    " SELECT CAST(:workspace_id AS uuid), x.id, x.opportunity_id, x.action, x.stage_id, x.passage_id, x.reason,"
    " 'unverified', true, CAST(:historical AS boolean), x.occurred_at, CAST(:now AS timestamptz)"
    " FROM import_steps x WHERE (x.action = 'reopen') = CAST(:reopenings AS boolean)"
)
_STEP_EVENTS = """CASE x.action WHEN 'pass' THEN 'milestone_passed' WHEN 'back' THEN 'milestone_withdrawn'
  WHEN 'lose' THEN 'lost' WHEN 'abandon' THEN 'abandoned' WHEN 'reopen' THEN 'reopened' END"""
# A new opportunity is told of once, as it stands; what happens to one that was known is told of step by step.
TELL_STEPS = sql(
    f"""
WITH moved AS MATERIALIZED (
  SELECT x.*, t.version, t.owner_id, s.key, s.irreversible, coalesce(s.wins, false) AS wins,
    {_document(KINDS["opportunities"])} AS data
  FROM import_steps x
  JOIN sales.opportunities t ON t.workspace_id = CAST(:workspace_id AS uuid) AND t.id = x.opportunity_id
  LEFT JOIN sales.stages s ON s.workspace_id = CAST(:workspace_id AS uuid) AND s.id = x.stage_id
  WHERE NOT x.is_new
), audited AS (
  INSERT INTO sales.audit_entries (workspace_id, id, recorded_at, actor_id, request_id, action, subject_type,
    subject_id, version, changes)
  SELECT CAST(:workspace_id AS uuid), x.id, CAST(:now AS timestamptz), CAST(:actor_id AS uuid),
    CAST(:request_id AS text), 'opportunity.' || x.action, 'opportunity', x.opportunity_id, x.version,
    jsonb_build_object('stage_id', x.stage_id, 'reason', x.reason, 'import_id', CAST(:import_id AS text))
  FROM moved x
), told AS (
  SELECT x.id, x.opportunity_id, x.version, x.owner_id, x.occurred_at, {_STEP_EVENTS} AS happened,
    x.data || jsonb_build_object('reason', x.reason)
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
