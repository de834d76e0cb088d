"""How tasks are stored, shown, filtered and judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.api.filters import after, by_day_or_latest, by_time, equals
from services.api.pagination import Filter
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.effects import Mark
from shared.models import tasks

_SHOWN = (
    "id", "kind", "title", "notes", "assignee_id", "customer_id", "opportunity_id", "interaction_id", "due_on",
    "status", "completed_at", "kept", "external_source", "external_id", "version", "occurred_at", "recorded_at",
    "updated_at", "deleted_at",
)  # fmt: skip
# Free text about people stays out of events and audit.
PERSONAL = frozenset(("title", "notes"))


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


def marks(row: Row) -> Iterable[Mark]:
    """What the task counts for: its opportunity, or else each of the customer's."""
    if row["opportunity_id"] is not None:
        return (Mark("opportunity", row["opportunity_id"]),)
    return (Mark("customer", row["customer_id"]),) if row["customer_id"] is not None else ()


TASKS = Resource(
    name="task",
    path="/v1/tasks",
    table=tasks,
    wire=wire,
    personal=lambda _: PERSONAL,
    marks=marks,
    default_sort="due_on",
    sorts={
        "due_on": by_day_or_latest(tasks.c.due_on, "due_on"),
        "recorded_at": by_time(tasks.c.recorded_at, "recorded_at"),
        "updated_at": by_time(tasks.c.updated_at, "updated_at"),
    },
    filters={
        "assignee_id": equals(tasks.c.assignee_id),
        "status": equals(tasks.c.status),
        "kind": equals(tasks.c.kind),
        "customer_id": equals(tasks.c.customer_id),
        "opportunity_id": equals(tasks.c.opportunity_id),
        "interaction_id": equals(tasks.c.interaction_id),
        "due_before": Filter(lambda value: tasks.c.due_on < value, tasks.c.due_on.type),
        "due_after": after(tasks.c.due_on),
        "external_source": equals(tasks.c.external_source),
        "updated_after": after(tasks.c.updated_at),
    },
)
