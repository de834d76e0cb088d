"""How interactions are stored, shown, filtered and judged; who took part comes in the same statement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from services.api.filters import after, by_time, equals
from services.api.pagination import Filter
from services.api.resources import Resource
from services.api.wire import columns, money
from shared.db import Row
from shared.effects import Mark
from shared.models import interaction_contacts, interactions

_FIRST = ("id", "customer_id", "opportunity_id")
_MIDDLE = (
    "member_id", "kind", "direction", "purpose", "purpose_reached", "summary", "place", "setting_quality", "minutes",
)  # fmt: skip
_LAST = (
    "signals", "confidence", "foreseen", "foreseen_came_true", "customer_rating", "external_source", "external_id",
    "version", "occurred_at", "recorded_at", "updated_at", "deleted_at",
)  # fmt: skip
# Free text about people stays out of events and audit.
PERSONAL = frozenset(("purpose", "summary", "place", "foreseen"))

_OF_THIS = (
    interaction_contacts.c.workspace_id == interactions.c.workspace_id,
    interaction_contacts.c.interaction_id == interactions.c.id,
)
_CONTACT_IDS = (
    select(
        func.array_agg(
            aggregate_order_by(interaction_contacts.c.contact_id, interaction_contacts.c.contact_id),
            type_=ARRAY(interaction_contacts.c.contact_id.type),
        )
    )
    .where(*_OF_THIS)
    .scalar_subquery()
    .label("contact_ids")
)


def wire(row: Row) -> dict[str, Any]:
    return {
        **columns(row, _FIRST),
        "contact_ids": list(row.get("contact_ids") or ()),
        **columns(row, _MIDDLE),
        "cost": money(row["cost"], row["currency"]),
        **columns(row, _LAST),
    }


def marks(row: Row) -> Iterable[Mark]:
    """What the interaction counts for: its opportunity, or else each of the customer's."""
    if row["opportunity_id"] is not None:
        return (Mark("opportunity", row["opportunity_id"]),)
    return (Mark("customer", row["customer_id"]),)


def _with_contacts(query: Select[Any]) -> Select[Any]:
    return query.add_columns(_CONTACT_IDS)


def _with_contact(value: ColumnElement[Any]) -> ColumnElement[bool]:
    return exists().where(*_OF_THIS, interaction_contacts.c.contact_id == value)


INTERACTIONS = Resource(
    name="interaction",
    path="/v1/interactions",
    table=interactions,
    wire=wire,
    personal=lambda _: PERSONAL,
    marks=marks,
    prepare=_with_contacts,
    default_sort="-occurred_at",
    sorts={
        "occurred_at": by_time(interactions.c.occurred_at, "occurred_at"),
        "recorded_at": by_time(interactions.c.recorded_at, "recorded_at"),
        "updated_at": by_time(interactions.c.updated_at, "updated_at"),
    },
    filters={
        "customer_id": equals(interactions.c.customer_id),
        "opportunity_id": equals(interactions.c.opportunity_id),
        "contact_id": Filter(_with_contact, interaction_contacts.c.contact_id.type),
        "member_id": equals(interactions.c.member_id),
        "kind": equals(interactions.c.kind),
        "direction": equals(interactions.c.direction),
        "occurred_after": after(interactions.c.occurred_at),
        "occurred_before": Filter(lambda value: interactions.c.occurred_at < value, interactions.c.occurred_at.type),
        "external_source": equals(interactions.c.external_source),
        "updated_after": after(interactions.c.updated_at),
    },
)
