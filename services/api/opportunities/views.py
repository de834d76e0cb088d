"""Opportunities as they are read: what can be sent along with one, so that its page is one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from services.api.contacts.resource import CONTACTS
from services.api.contacts.schemas import Contact
from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import Customer
from services.api.expand import (
    Asked,
    Expand,
    Expansion,
    FieldNames,
    ReadParams,
    Related,
    Several,
    absent,
    first,
    several,
    to_one,
)
from services.api.interactions.resource import INTERACTIONS
from services.api.interactions.schemas import Interaction
from services.api.members.resource import MEMBERS
from services.api.members.schemas import Member
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import Opportunity, OpportunityFilters
from services.api.processes.resource import PROCESSES
from services.api.processes.schemas import Process
from services.api.products.resource import PRODUCTS
from services.api.products.schemas import Product
from services.api.reads import readable
from services.api.scores.schemas import Score
from services.api.scores.service import scores_of
from services.api.tasks.resource import TASKS
from services.api.tasks.schemas import Task
from services.api.tasks.steps import STEPS_FIRST, step_of
from shared.db import Row
from shared.models import contacts, interactions

MOST_CONTACTS = 20
OpportunityNeighbour = Literal[
    "customer", "owner", "score", "next_task", "process", "product", "contacts", "latest_interaction"
]


class OpportunityExpanded(BaseModel):
    """Neighbours of an opportunity: those asked for."""

    customer: Customer | None = absent()
    owner: Member | None = absent()
    score: Score | None = absent("As `/v1/opportunities/{id}/score` has it.")
    next_task: Task | None = absent(
        "The open task that is due first, of the opportunity or of its customer for no opportunity."
    )
    process: Process | None = absent("With all its stages; the present one is `stage_id`.")
    product: Product | None = absent()
    contacts: Several[Contact] | None = absent(f"Those of the customer, by name; {MOST_CONTACTS} at most.")
    latest_interaction: Interaction | None = absent("The latest about this opportunity.")


class OpportunityView(Opportunity):
    """An opportunity, with the neighbours asked for."""

    expanded: OpportunityExpanded | SkipJsonSchema[None] = absent()


class OpportunityParams(ReadParams):
    """How to read an opportunity."""

    expand: Expand[OpportunityNeighbour] | None = None


class OpportunityListParams(OpportunityFilters):
    """How to read a list of opportunities."""

    expand: Expand[OpportunityNeighbour] | None = None
    fields: FieldNames | None = None


def scores(named_by: str) -> Expansion:
    """How the opportunity is judged that the row's column `named_by` names."""

    async def load(asked: Asked, rows: Sequence[Row]) -> Mapping[UUID, Any]:
        ids = {row[named_by] for row in rows if row[named_by] is not None}
        found = await scores_of(asked.tx, ids, asked.language)
        return {row["id"]: found.get(row[named_by]) for row in rows}

    return Expansion("score", "opportunities:read", load, spoken=True)


READ_OPPORTUNITIES = readable(
    OPPORTUNITIES,
    OpportunityView,
    to_one("customer", CUSTOMERS, "customer_id"),
    to_one("owner", MEMBERS, "owner_id"),
    scores("id"),
    first("next_task", Related(TASKS, {"opportunity_id": "id", "customer_id": "customer_id"}, step_of, STEPS_FIRST)),
    to_one("process", PROCESSES, "process_id"),
    to_one("product", PRODUCTS, "product_id"),
    several(
        "contacts",
        Related(
            CONTACTS,
            {"customer_id": "customer_id"},
            lambda parent: contacts.c.customer_id == parent.customer_id,
            (contacts.c.sort_key, contacts.c.id),
            MOST_CONTACTS,
        ),
    ),
    first(
        "latest_interaction",
        Related(
            INTERACTIONS,
            {},
            lambda parent: interactions.c.opportunity_id == parent.id,
            (interactions.c.occurred_at.desc(), interactions.c.id.desc()),
        ),
    ),
)
