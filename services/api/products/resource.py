"""How products are stored, shown and filtered."""

from __future__ import annotations

from typing import Any

from services.api.filters import after, by_text, by_time, equals
from services.api.resources import Resource
from services.api.wire import columns, money
from shared.db import Row
from shared.models import products

_LAST = (
    "margin_rate", "active", "external_source", "external_id", "version", "occurred_at", "recorded_at", "updated_at",
    "deleted_at",
)  # fmt: skip


def wire(row: Row) -> dict[str, Any]:
    return {
        **columns(row, ("id", "name", "code", "series")),
        "list_price": money(row["list_price"], row["currency"]),
        **columns(row, _LAST),
    }


PRODUCTS = Resource(
    name="product",
    path="/v1/products",
    table=products,
    wire=wire,
    default_sort="name",
    sorts={
        "name": by_text(products.c.name, "name"),
        "recorded_at": by_time(products.c.recorded_at, "recorded_at"),
        "updated_at": by_time(products.c.updated_at, "updated_at"),
    },
    filters={
        "code": equals(products.c.code),
        "series": equals(products.c.series),
        "active": equals(products.c.active),
        "external_source": equals(products.c.external_source),
        "updated_after": after(products.c.updated_at),
    },
)
