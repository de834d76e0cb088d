"""Tasks over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Response

from services.api.edge import EdgeTransaction, requires
from services.api.routing import IfMatch, Router
from services.api.standard import Routes
from services.api.tasks import schemas, service
from services.api.tasks.resource import TASKS
from services.api.tasks.views import READ_TASKS, TaskListParams, TaskParams
from services.api.wire import answer
from shared.tenancy import Principal

router = Router(prefix="/v1/tasks", tags=["tasks"])
TasksWrite = Annotated[Principal, requires("tasks:write")]
routes = Routes(router, READ_TASKS, schemas.Task, "Task", "Tasks")
routes.add_list(
    TaskListParams,
    "Tasks of the caller, and of the customers and opportunities within reach, a page at a time. An agenda is"
    " `?assignee_id=…&status=open&expand=customer,opportunity`.",
)
routes.add_sync()
routes.add_create(schemas.TaskCreate, service.create, "Records a task.")
routes.add_get(TaskParams, "One task, whether open, done or cancelled.")
routes.add_patch(schemas.TaskPatch, service.patch, "Changes a task (JSON merge-patch).")
routes.add_delete("Deletes a task softly; it can be restored for 30 days.")
routes.add_restore("Undoes a deletion of the last 30 days.")


def _shown(row: Any) -> Response:
    return answer(TASKS.wire(row), version=row["version"])


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


routes.add_upsert(
    schemas.TaskUpsert, service.upsert, "Creates or replaces the task that another system knows under this id."
)
