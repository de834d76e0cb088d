"""How definitions of custom attributes are stored, shown and filtered."""

from __future__ import annotations

from typing import Any

from services.api.filters import after, by_text, by_time, equals
from services.api.localized import localized
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models import attribute_definitions as table

_LAST = ("categories", "required", "active", "model_input", "version", "occurred_at", "recorded_at", "updated_at")


def wire(row: Row) -> dict[str, Any]:
    return {
        **columns(row, ("id", "subject", "key", "kind")),
        "label": localized(row["label_en"], row["label_zh_hans"]),
        **columns(row, _LAST),
    }


ATTRIBUTES = Resource(
    name="attribute",
    path="/v1/attributes",
    table=table,
    wire=wire,
    default_sort="key",
    sorts={
        "key": by_text(table.c.key, "key"),
        "recorded_at": by_time(table.c.recorded_at, "recorded_at"),
        "updated_at": by_time(table.c.updated_at, "updated_at"),
    },
    filters={
        "subject": equals(table.c.subject),
        "kind": equals(table.c.kind),
        "active": equals(table.c.active),
        "updated_after": after(table.c.updated_at),
    },
)
