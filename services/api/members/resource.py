"""How members are stored, shown and filtered."""

from __future__ import annotations

from typing import Any

from services.api.filters import after, by_text, by_time, equals
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models import members

CAPACITIES = ("engage_capacity", "track_capacity", "monitor_capacity")
_SHOWN = (
    "id", "name", "email", "role", "active", *CAPACITIES, "external_source", "external_id", "version", "occurred_at",
    "recorded_at", "updated_at",
)  # fmt: skip
PERSONAL = frozenset(("name", "email", "external_id"))


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


MEMBERS = Resource(
    name="member",
    path="/v1/members",
    table=members,
    wire=wire,
    personal=lambda _: PERSONAL,
    default_sort="name",
    sorts={
        "name": by_text(members.c.name, "name"),
        "recorded_at": by_time(members.c.recorded_at, "recorded_at"),
        "updated_at": by_time(members.c.updated_at, "updated_at"),
    },
    filters={
        "role": equals(members.c.role),
        "active": equals(members.c.active),
        "external_source": equals(members.c.external_source),
        "updated_after": after(members.c.updated_at),
    },
)
