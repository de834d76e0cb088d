"""How the audit trail is shown, and to whom: a manager sees what concerns the team's records."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, exists, or_
from sqlalchemy.dialects.postgresql import ARRAY

from services.api.filters import after, equals
from services.api.pagination import Filter, Sort
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models import audit_entries as table
from shared.models import contacts, customers, interactions, opportunities, tasks
from shared.tenancy import Reach, visible

_SHOWN = (
    "id", "recorded_at", "actor_id", "request_id", "action", "subject_type", "subject_id", "version", "changes",
)  # fmt: skip
_BOUNDED: dict[str, Table] = {
    "customer": customers,
    "contact": contacts,
    "opportunity": opportunities,
    "interaction": interactions,
    "task": tasks,
}


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


def _of_team(owner_ids: ColumnElement[Any]) -> ColumnElement[bool]:
    """What the team's members did, and what anybody did to records within the manager's reach."""
    return or_(
        table.c.actor_id == owner_ids.any_(),
        *(_about_seen(subject_type, facts) for subject_type, facts in _BOUNDED.items()),
    )


def _about_seen(subject_type: str, facts: Table) -> ColumnElement[bool]:
    seen = visible(facts, Reach.TEAM)
    assert seen is not None  # noqa: S101 - a team's reach bounds every one of these
    same = and_(facts.c.workspace_id == table.c.workspace_id, facts.c.id == table.c.subject_id)
    return and_(table.c.subject_type == subject_type, exists().where(same, seen))


AUDIT = Resource(
    name="audit_entry",
    path="/v1/audit",
    table=table,
    wire=wire,
    default_sort="-recorded_at",
    # Ids grow with time, and the primary key orders by them.
    sorts={"recorded_at": Sort(table.c.id, lambda row: row["id"], UUID)},
    filters={
        "subject_type": equals(table.c.subject_type),
        "subject_id": equals(table.c.subject_id),
        "actor_id": equals(table.c.actor_id),
        "action": equals(table.c.action),
        "request_id": equals(table.c.request_id),
        "recorded_after": after(table.c.recorded_at),
        "recorded_before": Filter(lambda value: table.c.recorded_at < value, table.c.recorded_at.type),
        "of_team": Filter(_of_team, ARRAY(table.c.actor_id.type)),
    },
)
