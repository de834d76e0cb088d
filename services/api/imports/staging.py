"""The SQL of an import: rows are copied into temporary tables, and a few set-based statements carry them over.

The temporary tables are of this session alone and empty again after each transaction. A statement is made once for
each kind and set of columns.
"""

from __future__ import annotations

from functools import lru_cache

from services.api.imports.kinds import KINDS, STAGED, TRANSITIONS, Kind
from shared.db import Query, sql

# Every kind's staging table begins with these.
HEAD = {
    "id": "uuid",
    "event_id": "uuid",
    "audit_id": "uuid",
    "external_id": "text",
    "is_new": "boolean",
    "moved": "boolean",
    "changed": "boolean",
    "changes": "text",
    "attributes": "text",
    "data": "text",
    "sort_key": "text",
}
# Where an opportunity stands: what follows from its transitions.
STANDING = {
    "process_id": "uuid",
    "stage_id": "uuid",
    "stage_entered_at": "timestamptz",
    "stage_position": "int4",
    "status": "text",
    "won_at": "timestamptz",
    "closed_at": "timestamptz",
    "close_reason": "text",
    "completed_at": "timestamptz",
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
    "previous_stage_id": "uuid",
    # What happens to one opportunity falls into rounds: each is judged by where the one before has led.
    "round": "int4",
    "note": "text",
}
# Of these a row without a value leaves alone what is there.
_KEPT_WHERE_EMPTY = ("occurred_at", "currency")
BOOKKEEPING = ("workspace_id", "sort_key", "historical")


def stage_table(kind: Kind) -> str:
    return f"import_{kind.name}"


def staged_columns(kind: Kind) -> dict[str, str]:
    """Columns of the kind's staging table with their types."""
    fields = {each.column or name: STAGED.get(each.type, "text") for name, each in kind.fields.items()}
    standing = STANDING if kind.name == "opportunities" else {}
    return {**HEAD, **fields, **dict.fromkeys(kind.references, "uuid"), **standing}


def _create(table: str, columns: dict[str, str]) -> str:
    listed = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} ({listed}) ON COMMIT DELETE ROWS"


_STAGED_KINDS = [kind for kind in KINDS.values() if kind is not TRANSITIONS]
# That they are there already is the rule, and no news. Fresh tables have no statistics: a plan that reads a whole
# table for each of a few thousand rows must not look cheap.
PREPARE = "; ".join(
    (
        "SET LOCAL client_min_messages = warning",
        "SET LOCAL enable_seqscan = off",
        *(_create(stage_table(kind), staged_columns(kind)) for kind in _STAGED_KINDS),
        _create("import_steps", STEPS),
        _create("import_contacts_of", {"interaction_id": "uuid", "contact_id": "uuid"}),
    )
)


# Between two parts of one transaction; otherwise its end does so.
EMPTY = "TRUNCATE " + ", ".join((*(stage_table(kind) for kind in _STAGED_KINDS), "import_steps", "import_contacts_of"))


# Who passed an imported milestone is not known; who imported it stands in the audit trail.
_RECORD = (
    "INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, passage_id, reason, note,"
    " criteria, imported, historical, occurred_at, recorded_at)"
    " SELECT CAST(:workspace_id AS uuid), x.id, x.opportunity_id, x.action, x.stage_id, x.passage_id, x.reason,"
    " x.note, 'unverified', true, CAST(:historical AS boolean), x.occurred_at, CAST(:now AS timestamptz)"
    " FROM import_steps x"
)
# What happens to opportunities that were there before.
RECORD_STEPS = sql(f"{_RECORD} WHERE NOT x.is_new AND x.round = :round")


INSERT_CONTACTS = sql(
    "INSERT INTO sales.interaction_contacts (workspace_id, interaction_id, contact_id)"
    " SELECT CAST(:workspace_id AS uuid), c.interaction_id, c.contact_id FROM import_contacts_of c"
)


@lru_cache(maxsize=512)
def insert_new(kind: Kind, columns: tuple[str, ...]) -> Query:
    """Inserts the staged rows that are new.

    An opportunity is written where its transitions lead, in the statement that records them: the database judges these
    and sets right what does not follow from them.
    """
    names = [name for name in columns if name != "occurred_at"]
    values = [f"s.{name}" for name in names]
    if kind.has_sort_key:
        names.append("sort_key")
        values.append("s.sort_key")
    if kind.has_attributes:
        names.append("attributes")
        values.append("CASE WHEN s.attributes IS NULL THEN '{}' ELSE jsonb_strip_nulls(s.attributes::jsonb) END")
    steps = ""
    if kind.name == "opportunities":
        names += STANDING
        values += [f"s.{name}" for name in STANDING]
        steps = f"WITH recorded AS ({_RECORD} WHERE x.is_new) "
    occurred = "s.occurred_at" if "occurred_at" in staged_columns(kind) else "NULL"
    return sql(
        f"{steps}INSERT INTO sales.{kind.name} (workspace_id, id, {', '.join(names)}, external_source, external_id,"
        " historical, occurred_at, recorded_at, updated_at)"
        f" SELECT CAST(:workspace_id AS uuid), s.id, {', '.join(values)}, CAST(:source AS text), s.external_id,"
        f" CAST(:historical AS boolean), coalesce({occurred}, CAST(:now AS timestamptz)), CAST(:now AS timestamptz),"
        f" CAST(:now AS timestamptz) FROM {stage_table(kind)} s WHERE s.is_new"
    )


@lru_cache(maxsize=512)
def update_changed(kind: Kind, columns: tuple[str, ...], hidden: tuple[str, ...]) -> Query:
    """Updates the staged rows that exist and say something else, and notes in the staging table what changed.

    Gives the number of those that exist.
    """
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
    audited = [name for name in (*sets, "deleted_at") if name not in BOOKKEEPING]
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
), noted AS (
  UPDATE {stage_table(kind)} s SET changed = true, changes = (
  SELECT jsonb_object_agg(k.name, CASE WHEN k.name = ANY (CAST(ARRAY[{secret}] AS text[])) THEN 'null'::jsonb
      ELSE jsonb_build_array(b.was -> k.name, u.is_now -> k.name) END)
  FROM unnest(CAST(ARRAY[{shown}] AS text[])) AS k(name)
  WHERE b.was -> k.name IS DISTINCT FROM u.is_now -> k.name)::text
FROM updated u JOIN before b ON b.id = u.id WHERE s.id = u.id
)
SELECT count(*) FROM before
"""
    )
