"""What is next to be done: the open task that is due first, as the judgement counts it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_

from shared.models import tasks

# A greeting moves no sale; what has no date is not next.
STEPS_FIRST = (tasks.c.due_on, tasks.c.id)


def is_step() -> ColumnElement[bool]:
    return and_(tasks.c.status == "open", tasks.c.kind != "greeting", tasks.c.due_on.is_not(None))


def step_of(parent: Any) -> ColumnElement[bool]:
    """A step of the opportunity `parent.opportunity_id`, or of its customer where it names no opportunity."""
    of_customer = and_(tasks.c.customer_id == parent.customer_id, func.num_nonnulls(tasks.c.opportunity_id) == 0)
    return and_(is_step(), or_(tasks.c.opportunity_id == parent.opportunity_id, of_customer))
