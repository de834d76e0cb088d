"""How teams are stored, shown and filtered; the members come in the same statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from services.api.filters import after, by_text, by_time, equals
from services.api.pagination import Filter
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models import team_members, teams

_OF_THIS = (team_members.c.workspace_id == teams.c.workspace_id, team_members.c.team_id == teams.c.id)
_MEMBER_IDS = (
    select(
        func.array_agg(
            aggregate_order_by(team_members.c.member_id, team_members.c.member_id),
            type_=ARRAY(team_members.c.member_id.type),
        )
    )
    .where(*_OF_THIS)
    .scalar_subquery()
    .label("member_ids")
)


def wire(row: Row) -> dict[str, Any]:
    return {
        **columns(row, ("id", "name", "manager_id")),
        "member_ids": list(row.get("member_ids") or ()),
        **columns(row, ("version", "occurred_at", "recorded_at", "updated_at")),
    }


def _with_members(query: Select[Any]) -> Select[Any]:
    return query.add_columns(_MEMBER_IDS)


def _with_member(value: ColumnElement[Any]) -> ColumnElement[bool]:
    return exists().where(*_OF_THIS, team_members.c.member_id == value)


TEAMS = Resource(
    name="team",
    path="/v1/teams",
    table=teams,
    wire=wire,
    prepare=_with_members,
    default_sort="name",
    sorts={
        "name": by_text(teams.c.name, "name"),
        "recorded_at": by_time(teams.c.recorded_at, "recorded_at"),
        "updated_at": by_time(teams.c.updated_at, "updated_at"),
    },
    filters={
        "manager_id": equals(teams.c.manager_id),
        "member_id": Filter(_with_member, team_members.c.member_id.type),
        "updated_after": after(teams.c.updated_at),
    },
)
