"""Tasks over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.fields import ExternalText
from services.api.pagination import Page
from services.api.routing import IfMatch, Router, answers
from services.api.tasks import schemas, service
from services.api.tasks.resource import TASKS
from services.api.wire import answer, created, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/tasks", tags=["tasks"])
TasksRead = Annotated[Principal, requires("tasks:read")]
TasksWrite = Annotated[Principal, requires("tasks:write")]


def _shown(row: Any) -> Response:
    return answer(TASKS.wire(row), version=row["version"])


@router.get("", response_model=Page[schemas.Task], operation_id="listTasks")
async def list_tasks(
    request: Request, principal: TasksRead, tx: EdgeTransaction, params: Annotated[schemas.TaskFilters, Query()]
) -> Response:
    """Tasks of the caller, and of the customers and opportunities within reach, a page at a time."""
    return answer(await resources.fetch_page(tx, principal, TASKS, params, request.app.state.cursors))


@router.post("", status_code=201, response_model=schemas.Task, operation_id="createTask")
async def create_task(principal: TasksWrite, tx: EdgeTransaction, body: schemas.TaskCreate) -> Response:
    """Records a task."""
    row = await service.create(tx, principal, body)
    return created(TASKS.wire(row), f"{TASKS.path}/{row['id']}", row["version"])


@router.get("/{id}", response_model=schemas.Task, operation_id="getTask")
async def get_task(request: Request, principal: TasksRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One task."""
    row = await resources.fetch(tx, principal, TASKS, id)
    return one(request, TASKS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Task, operation_id="updateTask")
async def update_task(
    principal: TasksWrite, tx: EdgeTransaction, id: UUID, body: schemas.TaskPatch, if_match: IfMatch = None
) -> Response:
    """Changes a task (JSON merge-patch)."""
    return _shown(await service.patch(tx, principal, id, body, if_match))


@router.delete("/{id}", status_code=204, operation_id="deleteTask")
async def delete_task(principal: TasksWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Deletes a task softly; it can be restored for 30 days."""
    await resources.delete(tx, principal, TASKS, id, if_match)
    return no_content()


@router.post("/{id}:restore", response_model=schemas.Task, operation_id="restoreTask")
async def restore_task(principal: TasksWrite, tx: EdgeTransaction, id: UUID) -> Response:
    """Undoes a deletion of the last 30 days."""
    return _shown(await resources.restore(tx, principal, TASKS, id))


@router.post("/{id}:complete", response_model=schemas.Task, operation_id="completeTask")
async def complete_task(
    principal: TasksWrite, tx: EdgeTransaction, id: UUID, body: schemas.TaskComplete, if_match: IfMatch = None
) -> Response:
    """Says that a task is done."""
    return _shown(await service.complete(tx, principal, id, body, if_match))


@router.post("/{id}:snooze", response_model=schemas.Task, operation_id="snoozeTask")
async def snooze_task(
    principal: TasksWrite, tx: EdgeTransaction, id: UUID, body: schemas.TaskSnooze, if_match: IfMatch = None
) -> Response:
    """Puts a task off to another day."""
    return _shown(await service.snooze(tx, principal, id, body, if_match))


@router.post("/{id}:cancel", response_model=schemas.Task, operation_id="cancelTask")
async def cancel_task(principal: TasksWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Calls a task off."""
    return _shown(await service.cancel(tx, principal, id, if_match))


@router.put(
    "/by-external-id/{source}/{external_id}",
    response_model=schemas.Task,
    responses=answers(201, schemas.Task),
    operation_id="upsertTask",
)
async def upsert_task(
    principal: TasksWrite,
    tx: EdgeTransaction,
    source: ExternalText,
    external_id: ExternalText,
    body: schemas.TaskUpsert,
) -> Response:
    """Creates or replaces the task that another system knows under this id."""
    row, is_new = await service.upsert(tx, principal, source, external_id, body)
    if is_new:
        return created(TASKS.wire(row), f"{TASKS.path}/{row['id']}", row["version"])
    return _shown(row)
