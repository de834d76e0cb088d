"""Tasks as they are read: an agenda is a list of them with what they are about."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import Customer
from services.api.expand import Expand, FieldNames, ReadParams, absent, to_one
from services.api.members.resource import MEMBERS
from services.api.members.schemas import Member
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import Opportunity
from services.api.reads import readable
from services.api.tasks.resource import TASKS
from services.api.tasks.schemas import Task, TaskFilters

TaskNeighbour = Literal["customer", "opportunity", "assignee"]


class TaskExpanded(BaseModel):
    """Neighbours of a task: those asked for."""

    customer: Customer | None = absent()
    opportunity: Opportunity | None = absent()
    assignee: Member | None = absent()


class TaskView(Task):
    """A task, with the neighbours asked for."""

    expanded: TaskExpanded | SkipJsonSchema[None] = absent()


class TaskParams(ReadParams):
    """How to read a task."""

    expand: Expand[TaskNeighbour] | None = None


class TaskListParams(TaskFilters):
    """How to read a list of tasks."""

    expand: Expand[TaskNeighbour] | None = None
    fields: FieldNames | None = None


READ_TASKS = readable(
    TASKS,
    TaskView,
    to_one("customer", CUSTOMERS, "customer_id"),
    to_one("opportunity", OPPORTUNITIES, "opportunity_id"),
    to_one("assignee", MEMBERS, "assignee_id"),
)
