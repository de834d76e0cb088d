"""Rules of tasks: promises are kept or broken, and moving one that is overdue does not make it kept (D5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from services.api import resources
from services.api.errors import Conflict, invalid
from services.api.references import References, check
from services.api.resources import changes_of
from services.api.tasks.resource import TASKS
from services.api.tasks.schemas import TaskComplete, TaskCreate, TaskPatch, TaskSnooze, TaskUpsert
from services.api.times import CLOCK_SKEW
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.ids import new_id
from shared.tenancy import Principal

TODAY = sql(
    "SELECT (CAST(:moment AS timestamptz) AT TIME ZONE time_zone)::date FROM sales.workspaces WHERE id = :workspace_id"
)
MAKE_TASKS = sql(
    """
    INSERT INTO sales.tasks (workspace_id, id, kind, title, assignee_id, customer_id, opportunity_id, interaction_id,
      due_on, occurred_at, recorded_at, updated_at)
    SELECT :workspace_id, t.id, t.kind, t.title, CAST(:assignee_id AS uuid), CAST(:customer_id AS uuid),
      CAST(:opportunity_id AS uuid), CAST(:interaction_id AS uuid), t.due_on, :occurred_at, :now, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:titles AS text[]), CAST(:due AS date[]))
      AS t(id, kind, title, due_on)
    RETURNING *
    """
)


@dataclass(frozen=True, slots=True)
class Agreed:
    """Something agreed in an interaction: a promise, or the next step."""

    kind: str
    title: str
    due_on: date | None


async def create(tx: Tx, principal: Principal, body: TaskCreate) -> Row:
    """Records a task; its customer is, unless given, that of its opportunity."""
    values = body.model_dump(exclude_none=True)
    assignee_id = body.assignee_id if "assignee_id" in body.model_fields_set else principal.member_id
    wanted = References(body.customer_id, body.opportunity_id, member_id=body.assignee_id, member_field="assignee_id")
    customer_id = await check(tx, principal, wanted)
    return await resources.create(tx, TASKS, values | {"assignee_id": assignee_id, "customer_id": customer_id})


async def create_agreed(tx: Tx, interaction: Row, assignee_id: UUID | None, agreed: Sequence[Agreed]) -> list[Row]:
    """The tasks that follow from an interaction, in one statement."""
    rows = await tx.rows(
        MAKE_TASKS,
        ids=[new_id() for _ in agreed],
        kinds=[each.kind for each in agreed],
        titles=[each.title for each in agreed],
        due=[each.due_on for each in agreed],
        assignee_id=assignee_id,
        customer_id=interaction["customer_id"],
        opportunity_id=interaction["opportunity_id"],
        interaction_id=interaction["id"],
        occurred_at=interaction["occurred_at"],
        now=tx.now,
    )
    for row in rows:
        resources.note(tx, TASKS, "created", None, row)
    return rows


async def patch(tx: Tx, principal: Principal, id_: UUID, body: TaskPatch, if_match: str | None) -> Row:
    changes = changes_of(body, not_null=("kind", "title"))
    before = await resources.fetch(tx, principal, TASKS, id_, lock=True)
    check_if_match(if_match, before["version"])
    if changes.get("assignee_id") is not None:
        await check(tx, principal, References(member_id=changes["assignee_id"], member_field="assignee_id"))
    if "due_on" in changes:
        changes |= await _broken_by_moving(tx, before, changes["due_on"])
    return await resources.change(tx, TASKS, before, changes)


async def upsert(tx: Tx, principal: Principal, source: str, external_id: str, body: TaskUpsert) -> tuple[Row, bool]:
    """Creates or replaces by external id; True when it was created. What it is about can't be replaced."""
    found = await resources.find_external(tx, principal, TASKS, source, external_id)
    if found is None:
        given = body.model_dump(exclude_unset=True)
        new = TaskCreate.model_validate({**given, "external_source": source, "external_id": external_id})
        return await create(tx, principal, new), True
    for field in ("customer_id", "opportunity_id"):
        value = getattr(body, field)
        if value is not None and value != found[field]:
            raise invalid(f"/{field}", "immutable", f"{field} of a task can't be changed.")
    changes = body.model_dump(exclude={"customer_id", "opportunity_id", "occurred_at"}) | {"deleted_at": None}
    if "assignee_id" not in body.model_fields_set:
        del changes["assignee_id"]
    elif body.assignee_id is not None:
        await check(tx, principal, References(member_id=body.assignee_id, member_field="assignee_id"))
    changes |= await _broken_by_moving(tx, found, body.due_on)
    return await resources.change(tx, TASKS, found, changes), False


async def complete(tx: Tx, principal: Principal, id_: UUID, body: TaskComplete, if_match: str | None) -> Row:
    """Says that a task is done; doing so again changes nothing. A promise done late was not kept, unless said."""
    before = await resources.fetch(tx, principal, TASKS, id_, lock=True)
    check_if_match(if_match, before["version"])
    if body.kept is not None and before["kind"] != "promise":
        raise invalid("/kept", "not_a_promise", "Only promises are kept or broken.")
    if before["status"] == "done":
        return before
    _require_open(before)
    completed_at = body.completed_at or tx.now
    if completed_at > tx.now + CLOCK_SKEW:
        raise invalid("/completed_at", "in_future", "A task can't be done before its time has come.")
    changes: dict[str, Any] = {"status": "done", "completed_at": completed_at}
    if before["kind"] == "promise":
        changes["kept"] = body.kept
        if body.kept is None:
            in_time = before["due_on"] is None or await tx.value(TODAY, moment=completed_at) <= before["due_on"]
            changes["kept"] = in_time and before["kept"] is not False
    return await resources.change(tx, TASKS, before, changes, action="completed")


async def snooze(tx: Tx, principal: Principal, id_: UUID, body: TaskSnooze, if_match: str | None) -> Row:
    """Moves a task to another day; a promise moved after its day has passed is broken."""
    before = await resources.fetch(tx, principal, TASKS, id_, lock=True)
    check_if_match(if_match, before["version"])
    _require_open(before)
    if body.due_on < await tx.value(TODAY, moment=tx.now):
        raise invalid("/due_on", "in_past", "A task can be put off to today or later.")
    changes = {"due_on": body.due_on} | await _broken_by_moving(tx, before, body.due_on)
    return await resources.change(tx, TASKS, before, changes, action="snoozed")


async def cancel(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> Row:
    """Calls a task off; doing so again changes nothing."""
    before = await resources.fetch(tx, principal, TASKS, id_, lock=True)
    check_if_match(if_match, before["version"])
    if before["status"] == "cancelled":
        return before
    _require_open(before)
    return await resources.change(tx, TASKS, before, {"status": "cancelled"}, action="cancelled")


def _require_open(task: Row) -> None:
    if task["status"] != "open":
        raise Conflict(f"The task is {task['status']} already.")


async def _broken_by_moving(tx: Tx, before: Row, due_on: date | None) -> dict[str, Any]:
    """An open promise whose day has passed is broken, wherever it is moved; that is kept with it."""
    if before["kind"] != "promise" or before["status"] != "open" or before["due_on"] in {None, due_on}:
        return {}
    return {"kept": False} if before["due_on"] < await tx.value(TODAY, moment=tx.now) else {}
