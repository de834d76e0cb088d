"""How imports are stored and shown."""

from __future__ import annotations

from typing import Any

from services.api.filters import by_time, equals
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models import imports

_SHOWN = (
    "id", "kind", "format", "file_name", "dry_run", "status", "problem", "total_bytes", "rows_total", "rows_read",
    "rows_imported", "rows_failed", "cancel_requested", "created_by", "started_at", "finished_at", "version",
    "recorded_at", "updated_at",
)  # fmt: skip


def wire(row: Row) -> dict[str, Any]:
    return {**columns(row, _SHOWN), "source": row["mapping"]["source"]}


IMPORTS = Resource(
    name="import",
    path="/v1/imports",
    table=imports,
    wire=wire,
    default_sort="-recorded_at",
    sorts={
        "recorded_at": by_time(imports.c.recorded_at, "recorded_at"),
        "updated_at": by_time(imports.c.updated_at, "updated_at"),
    },
    filters={
        "kind": equals(imports.c.kind),
        "status": equals(imports.c.status),
        "dry_run": equals(imports.c.dry_run),
        "created_by": equals(imports.c.created_by),
    },
)
