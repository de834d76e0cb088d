"""Seats as they are read: the focus list with all that it shows in one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import Customer
from services.api.expand import (
    Asked,
    Expand,
    Expansion,
    FieldNames,
    Related,
    absent,
    expand,
    first,
    to_one,
    trimmed,
)
from services.api.focus.schemas import FocusFilters, Seat, Standing
from services.api.members.resource import MEMBERS
from services.api.members.schemas import Member
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import Opportunity
from services.api.opportunities.views import scores
from services.api.pagination import Page
from services.api.scores.schemas import Score
from services.api.tasks.resource import TASKS
from services.api.tasks.schemas import Task
from services.api.tasks.steps import STEPS_FIRST, step_of
from shared.db import Row

SeatNeighbour = Literal["opportunity", "customer", "owner", "score", "next_task"]
# What a seat is, without which nothing of it means anything.
_ALWAYS = ("subject",)
SEAT_FIELDS = tuple(each.alias or name for name, each in Seat.model_fields.items())


class SeatExpanded(BaseModel):
    """Neighbours of a seat: those asked for."""

    opportunity: Opportunity | None = absent("Null where a customer holds the seat.")
    customer: Customer | None = absent()
    owner: Member | None = absent()
    score: Score | None = absent("As `/v1/opportunities/{id}/score` has it.")
    next_task: Task | None = absent("The open task that is due first.")


class SeatView(Seat):
    """One ranked seat, with the neighbours asked for."""

    expanded: SeatExpanded | SkipJsonSchema[None] = absent()


class FocusViewPage(Standing, Page[SeatView]):
    """A page of one rep's seats, and how the rep stands."""


class FocusParams(FocusFilters):
    """How to read the seats of a rep."""

    expand: Expand[SeatNeighbour] | None = None
    fields: FieldNames | None = None


_KNOWN: tuple[Expansion, ...] = (
    to_one("opportunity", OPPORTUNITIES, "opportunity_id"),
    to_one("customer", CUSTOMERS, "customer_id"),
    to_one("owner", MEMBERS, "owner_id"),
    scores("opportunity_id"),
    first(
        "next_task",
        Related(TASKS, {"opportunity_id": "opportunity_id", "customer_id": "customer_id"}, step_of, STEPS_FIRST),
    ),
)
EXPANSIONS = {expansion.name: expansion for expansion in _KNOWN}


async def as_wished(
    asked: Asked, params: FocusParams, owner_id: UUID, rows: Sequence[Row], shown: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Seats with their neighbours and no more members than asked for."""
    bodies = [trimmed(body, params.fields and (*_ALWAYS, *params.fields)) for body in shown]
    if params.expand:
        parts = [_parts(row, owner_id) for row in rows]
        for body, neighbours in zip(bodies, await expand(asked, EXPANSIONS, params.expand, parts), strict=True):
            body["expanded"] = neighbours
    return bodies


def _parts(row: Row, owner_id: UUID) -> dict[str, Any]:
    """What a seat names, as the expansions look for it."""
    opportunity_id = row["id"] if row["subject_type"] == "opportunity" else None
    return {
        "id": row["id"],
        "opportunity_id": opportunity_id,
        "customer_id": row["customer_id"],
        "owner_id": owner_id,
    }
