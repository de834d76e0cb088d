"""How merges are stored and shown, and what can be merged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.dialects import postgresql

from services.api.contacts.resource import CONTACTS
from services.api.customers.resource import CUSTOMERS
from services.api.filters import by_time, equals
from services.api.pagination import Filter
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models import merges

UNDOABLE = timedelta(days=30)
_SHOWN = ("id", "kind", "into_id", "from_id", "merged_by", "moved", "undone_at", "undone_by", "kept_fields",
          "version", "occurred_at", "recorded_at", "updated_at")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Subject:
    """What can be merged: `fields` are those that a caller may choose between."""

    resource: Resource
    fields: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.resource.name


CUSTOMER = Subject(
    CUSTOMERS,
    ("name", "kind", "phone", "email", "website", "address", "industry", "source", "tier", "notes", "attributes"),
)
CONTACT = Subject(
    CONTACTS,
    (
        "name", "title", "function", "level", "personality", "is_coach", "is_external", "phone", "email", "birthday",
        "notes",
    ),
)  # fmt: skip
SUBJECTS = {each.kind: each for each in (CUSTOMER, CONTACT)}


def wire(row: Row) -> dict[str, Any]:
    until = None if row["undone_at"] else row["recorded_at"] + UNDOABLE
    return {**columns(row, _SHOWN), "fields": sorted(row["fields"]), "undoable_until": until}


MERGES = Resource(
    name="merge",
    path="/v1/merges",
    table=merges,
    wire=wire,
    default_sort="-recorded_at",
    sorts={"recorded_at": by_time(merges.c.recorded_at, "recorded_at")},
    filters={
        "kind": equals(merges.c.kind),
        "into_id": equals(merges.c.into_id),
        "from_id": equals(merges.c.from_id),
        "undone": Filter(lambda value: merges.c.undone_at.is_not(None) == value, Boolean()),
        "made_by": Filter(
            lambda value: merges.c.merged_by == value.any_(), postgresql.ARRAY(postgresql.UUID(as_uuid=True))
        ),
    },
)
