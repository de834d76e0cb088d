"""What a merge moves and its undoing moves back: a constant number of statements, whatever the number of rows.

Every row that is moved is written into the journal (`sales.merge_moves`) by the statement that moves it, so that
exactly these go back. An opportunity's transitions name the opportunity alone: they stay where they are, untouched.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.db import Query, Row, Tx, sql

_JOURNAL = "INSERT INTO sales.merge_moves (workspace_id, merge_id, kind, row_id) SELECT CAST(:workspace_id AS uuid),"
_TOUCH = "version = t.version + 1, updated_at = :now"
# The rows of one kind in the journal. IN within a larger expression is looked up in a hash, whatever is estimated: of
# rows just written little is known, and joins planned for a few of them take for ever over many.
_JOURNALED = (
    "(SELECT row_id FROM sales.merge_moves"
    " WHERE workspace_id = CAST(:workspace_id AS uuid) AND merge_id = :merge_id AND kind = '{kind}')"
)


def _move(table: str) -> Query:
    return sql(
        f"""
WITH moved AS (
  UPDATE sales.{table} t SET customer_id = :into_id, {_TOUCH}
  WHERE t.workspace_id = CAST(:workspace_id AS uuid) AND t.customer_id = :from_id RETURNING t.id
)
{_JOURNAL} :merge_id, '{table}', id FROM moved
"""
    )


def _return(table: str, which: str) -> Query:
    return sql(
        f"UPDATE sales.{table} t SET customer_id = :from_id, {_TOUCH}"
        f" WHERE t.workspace_id = CAST(:workspace_id AS uuid) AND t.customer_id = :into_id AND {which}"
    )


def _journaled(kind: str, column: str = "id") -> str:
    return f"((t.{column} IN {_JOURNALED.format(kind=kind)}) IS TRUE)"


# What names an opportunity goes with it, also where it was recorded since; the rest goes by the journal.
_WITH_OPPORTUNITY = (
    "CASE WHEN t.opportunity_id IS NULL THEN {own} ELSE " + _journaled("opportunities", "opportunity_id") + " END"
)
TABLES = ("contacts", "opportunities", "interactions", "tasks")
MOVE = {table: _move(table) for table in TABLES}
RETURN = {
    "contacts": _return("contacts", _journaled("contacts")),
    "opportunities": _return("opportunities", _journaled("opportunities")),
    **{table: _return(table, _WITH_OPPORTUNITY.format(own=_journaled(table))) for table in ("interactions", "tasks")},
}
# A pin holds a subject that is none any more: it ends, and is taken up again with the customer.
END_PINS = sql(
    f"""
WITH ended AS (
  UPDATE sales.pins t SET ended_at = :now, {_TOUCH}
  WHERE t.workspace_id = CAST(:workspace_id AS uuid) AND t.subject_type = 'customer' AND t.subject_id = :from_id
    AND t.ended_at IS NULL RETURNING t.id
)
{_JOURNAL} :merge_id, 'pins', id FROM ended
"""
)
RESUME_PINS = sql(
    f"UPDATE sales.pins t SET ended_at = NULL, {_TOUCH} WHERE t.workspace_id = CAST(:workspace_id AS uuid)"
    f" AND t.subject_type = 'customer' AND t.subject_id = :from_id AND {_journaled('pins')}"
)
# Where both took part in an interaction, one of the two stays named; the other is remembered as `doubled`.
MOVE_LINKS = sql(
    f"""
WITH both_named AS (
  SELECT interaction_id FROM sales.interaction_contacts
  WHERE workspace_id = CAST(:workspace_id AS uuid) AND contact_id = :from_id AND (interaction_id IN (
    SELECT interaction_id FROM sales.interaction_contacts
    WHERE workspace_id = CAST(:workspace_id AS uuid) AND contact_id = :into_id)) IS TRUE
), taken AS (
  DELETE FROM sales.interaction_contacts
  WHERE workspace_id = CAST(:workspace_id AS uuid) AND contact_id = :from_id RETURNING interaction_id
), named AS (
  INSERT INTO sales.interaction_contacts (workspace_id, interaction_id, contact_id)
  SELECT CAST(:workspace_id AS uuid), interaction_id, :into_id FROM taken ON CONFLICT DO NOTHING
), touched AS (
  UPDATE sales.interactions t SET {_TOUCH}
  WHERE t.workspace_id = CAST(:workspace_id AS uuid) AND t.customer_id = :customer_id
    AND (t.id IN (SELECT interaction_id FROM taken)) IS TRUE
)
{_JOURNAL} :merge_id,
  CASE WHEN (interaction_id IN (SELECT interaction_id FROM both_named)) IS TRUE THEN 'doubled' ELSE 'links' END,
  interaction_id
FROM taken
"""
)
# A contact that was taken out of an interaction since stays out.
RETURN_LINKS = sql(
    f"""
WITH taken AS (
  DELETE FROM sales.interaction_contacts t WHERE t.workspace_id = CAST(:workspace_id AS uuid)
    AND t.contact_id = :into_id AND {_journaled("links", "interaction_id")} RETURNING t.interaction_id
), doubled AS (
  SELECT t.interaction_id FROM sales.interaction_contacts t WHERE t.workspace_id = CAST(:workspace_id AS uuid)
    AND t.contact_id = :into_id AND {_journaled("doubled", "interaction_id")}
), named AS (
  INSERT INTO sales.interaction_contacts (workspace_id, interaction_id, contact_id)
  SELECT CAST(:workspace_id AS uuid), k.interaction_id, :from_id
  FROM (SELECT interaction_id FROM taken UNION ALL SELECT interaction_id FROM doubled) k
  ON CONFLICT DO NOTHING RETURNING interaction_id
)
UPDATE sales.interactions t SET {_TOUCH}
WHERE t.workspace_id = CAST(:workspace_id AS uuid) AND t.customer_id = :customer_id
  AND (t.id IN (SELECT interaction_id FROM named)) IS TRUE
"""
)


async def move(tx: Tx, kind: str, merge_id: UUID, into: Row, from_id: UUID) -> dict[str, int]:
    """Moves all that hangs on `from_id`; how many rows of each kind."""
    given: dict[str, Any] = {"merge_id": merge_id, "into_id": into["id"], "from_id": from_id, "now": tx.now}
    if kind == "contact":
        return {"interactions": await tx.run(MOVE_LINKS, customer_id=into["customer_id"], **given)}
    moved = {table: await tx.run(MOVE[table], **given) for table in TABLES}
    await tx.run(END_PINS, merge_id=merge_id, from_id=from_id, now=tx.now)
    return moved


async def give_back(tx: Tx, merge: Row, into: Row) -> dict[str, int]:
    """Moves back what the merge had moved, as far as nobody has moved it on; how many rows of each kind."""
    given: dict[str, Any] = {
        "merge_id": merge["id"], "into_id": merge["into_id"], "from_id": merge["from_id"], "now": tx.now,
    }  # fmt: skip
    if merge["kind"] == "contact":
        return {"interactions": await tx.run(RETURN_LINKS, customer_id=into["customer_id"], **given)}
    returned = {table: await tx.run(RETURN[table], **given) for table in TABLES}
    await tx.run(RESUME_PINS, merge_id=merge["id"], from_id=merge["from_id"], now=tx.now)
    return returned
