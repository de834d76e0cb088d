"""How exports are stored and shown."""

from __future__ import annotations

from typing import Any

from services.api.filters import by_time, equals
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models.exports import exports

_SHOWN = (
    "id", "kind", "format", "status", "problem", "rows_written", "total_bytes", "cancel_requested", "created_by",
    "started_at", "finished_at", "expires_at", "version", "recorded_at", "updated_at",
)  # fmt: skip


def wire(row: Row) -> dict[str, Any]:
    return {**columns(row, _SHOWN), "filters": row["filters"]}


EXPORTS = Resource(
    name="export",
    path="/v1/exports",
    table=exports,
    wire=wire,
    # A filter may hold a name.
    personal=lambda _: frozenset(("filters",)),
    default_sort="-recorded_at",
    sorts={
        "recorded_at": by_time(exports.c.recorded_at, "recorded_at"),
        "updated_at": by_time(exports.c.updated_at, "updated_at"),
    },
    filters={
        "kind": equals(exports.c.kind),
        "status": equals(exports.c.status),
        "created_by": equals(exports.c.created_by),
    },
)
