"""How customers are stored, shown, filtered and judged."""

from __future__ import annotations

from typing import Any

from services.api.filters import after, attributes_match, begins_with, by_id, by_text, by_time, equals, is_null
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.effects import Mark
from shared.models import customers

_SHOWN = (
    "id", "name", "kind", "owner_id", "owner_reason", "phone", "email", "website", "address", "industry", "source",
    "tier", "notes",
    "attributes", "external_source", "external_id", "version", "occurred_at", "recorded_at", "updated_at", "deleted_at",
)  # fmt: skip
_PERSONAL = frozenset(("phone", "email", "address", "notes", "attributes", "owner_reason"))
# A household is a person: its name is personal too.
_PERSONAL_OF_HOUSEHOLD = _PERSONAL | {"name", "website"}


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


def personal(row: Row) -> frozenset[str]:
    return _PERSONAL_OF_HOUSEHOLD if row["kind"] == "household" else _PERSONAL


CUSTOMERS = Resource(
    name="customer",
    path="/v1/customers",
    table=customers,
    wire=wire,
    personal=personal,
    marks=lambda row: [Mark("customer", row["id"])],
    default_sort="-id",
    sorts={
        "id": by_id(customers.c.id),
        "name": by_text(customers.c.sort_key, "sort_key"),
        "recorded_at": by_time(customers.c.recorded_at, "recorded_at"),
        "updated_at": by_time(customers.c.updated_at, "updated_at"),
    },
    filters={
        "owner_id": equals(customers.c.owner_id),
        "unassigned": is_null(customers.c.owner_id),
        "kind": equals(customers.c.kind),
        "tier": equals(customers.c.tier),
        "industry": equals(customers.c.industry),
        "source": equals(customers.c.source),
        "external_source": equals(customers.c.external_source),
        "name_prefix": begins_with(customers.c.sort_key),
        "updated_after": after(customers.c.updated_at),
        "attribute": attributes_match(customers.c.attributes),
    },
)
