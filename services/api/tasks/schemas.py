"""Wire types of tasks."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import ClientId, Day, ExternalText, Instant, Known, LongText, ShortText, Strict
from services.api.pagination import ListParams
from shared.catalog.interactions import TASK_KINDS, TASK_STATUSES

TaskKind = Annotated[str, Known(TASK_KINDS)]
TaskStatus = Annotated[str, Known(TASK_STATUSES)]


class TaskUpsert(Strict):
    """A task as another system knows it; given by PUT under its external id."""

    kind: TaskKind = "other"
    title: ShortText = Field(examples=["Send the drawings"])
    notes: LongText | None = None
    assignee_id: UUID | None = Field(default=None, description="Who is to do it; the caller by default.")
    customer_id: UUID | None = None
    opportunity_id: UUID | None = None
    due_on: Day | None = Field(default=None, description="A date in the workspace's time zone.")
    occurred_at: Instant | None = Field(default=None, description="When it was agreed; now by default.")


class TaskCreate(TaskUpsert):
    """A new task."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client, for offline capture.")
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None


class TaskPatch(Strict):
    """Changes to a task, as JSON merge-patch. Its status changes by :complete and :cancel."""

    kind: TaskKind | None = None
    title: ShortText | None = None
    notes: LongText | None = None
    assignee_id: UUID | None = None
    due_on: Day | None = None
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class TaskComplete(Strict):
    """Says that a task is done."""

    kept: bool | None = Field(
        default=None,
        description="Of a promise: whether it was kept. By default it was if done by its due date.",
    )
    completed_at: Instant | None = Field(default=None, description="When it was done; now by default.")


class TaskSnooze(Strict):
    """Moves a task to another day."""

    due_on: Day = Field(description="Today or later, in the workspace's time zone.")


class Task(BaseModel):
    """A promise, a next step or a piece of stage work, with a date."""

    id: UUID
    kind: str
    title: str
    notes: str | None
    assignee_id: UUID | None
    customer_id: UUID | None
    opportunity_id: UUID | None
    interaction_id: UUID | None
    due_on: date | None
    status: str
    completed_at: datetime | None
    kept: bool | None = Field(description="Of a promise: whether it was kept; null is not known yet.")
    external_source: str | None
    external_id: str | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class TaskFilters(ListParams):
    """Filters and order of the list of tasks."""

    sort: str | None = Field(default=None, description="due_on, recorded_at, updated_at; - before it turns the order.")
    assignee_id: UUID | None = None
    status: TaskStatus | None = None
    kind: TaskKind | None = None
    customer_id: UUID | None = None
    opportunity_id: UUID | None = None
    interaction_id: UUID | None = None
    due_before: Day | None = Field(default=None, description="Due on an earlier day than this.")
    due_after: Day | None = Field(default=None, description="Due on a later day than this.")
    external_source: str | None = None
    updated_after: Instant | None = Field(default=None, description="For delta sync, with include_deleted.")
    include_deleted: bool | None = None
