"""How contacts are stored, shown, filtered and judged."""

from __future__ import annotations

from typing import Any

from services.api.filters import after, begins_with, by_id, by_text, by_time, equals
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.effects import Mark
from shared.models import contacts

_SHOWN = (
    "id", "customer_id", "name", "title", "function", "level", "personality", "is_coach", "is_external", "phone",
    "email", "birthday", "notes", "external_source", "external_id", "version", "occurred_at", "recorded_at",
    "updated_at", "deleted_at",
)  # fmt: skip
# A contact is a person: only what says nothing of who it is may enter events and audit.
PERSONAL = frozenset(("name", "personality", "phone", "email", "birthday", "notes", "external_id"))


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


CONTACTS = Resource(
    name="contact",
    path="/v1/contacts",
    table=contacts,
    wire=wire,
    personal=lambda _: PERSONAL,
    marks=lambda row: [Mark("customer", row["customer_id"])],
    default_sort="-id",
    sorts={
        "id": by_id(contacts.c.id),
        "name": by_text(contacts.c.sort_key, "sort_key"),
        "recorded_at": by_time(contacts.c.recorded_at, "recorded_at"),
        "updated_at": by_time(contacts.c.updated_at, "updated_at"),
    },
    filters={
        "customer_id": equals(contacts.c.customer_id),
        "function": equals(contacts.c.function),
        "level": equals(contacts.c.level),
        "is_coach": equals(contacts.c.is_coach),
        "is_external": equals(contacts.c.is_external),
        "external_source": equals(contacts.c.external_source),
        "name_prefix": begins_with(contacts.c.sort_key),
        "updated_after": after(contacts.c.updated_at),
    },
)
