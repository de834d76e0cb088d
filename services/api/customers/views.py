"""Customers as they are read: what can be sent along with one, so that its page is one request."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy import ColumnElement, and_

from services.api.contacts.resource import CONTACTS
from services.api.contacts.schemas import Contact
from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import Customer, CustomerFilters
from services.api.expand import (
    Expand,
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
from services.api.opportunities.schemas import Opportunity
from services.api.reads import readable
from services.api.tasks.resource import TASKS
from services.api.tasks.schemas import Task
from services.api.tasks.steps import STEPS_FIRST, is_step
from shared.models import contacts, interactions, opportunities, tasks

MOST_OPPORTUNITIES = 20
MOST_CONTACTS = 20

CustomerNeighbour = Literal["owner", "opportunities", "contacts", "next_task", "latest_interaction"]


class CustomerExpanded(BaseModel):
    """Neighbours of a customer: those asked for."""

    owner: Member | None = absent()
    opportunities: Several[Opportunity] | None = absent(
        f"The open ones, the soonest purchase first; {MOST_OPPORTUNITIES} at most."
    )
    contacts: Several[Contact] | None = absent(f"By name; {MOST_CONTACTS} at most.")
    next_task: Task | None = absent("The open task that is due first.")
    latest_interaction: Interaction | None = absent()


class CustomerView(Customer):
    """A customer, with the neighbours asked for."""

    expanded: CustomerExpanded | SkipJsonSchema[None] = absent()


class CustomerParams(ReadParams):
    """How to read a customer."""

    expand: Expand[CustomerNeighbour] | None = None


class CustomerListParams(CustomerFilters):
    """How to read a list of customers."""

    expand: Expand[CustomerNeighbour] | None = None
    fields: FieldNames | None = None


def _open_of_customer(parent: Any) -> ColumnElement[bool]:
    return and_(opportunities.c.customer_id == parent.id, opportunities.c.status == "open")


def _step_of_customer(parent: Any) -> ColumnElement[bool]:
    return and_(is_step(), tasks.c.customer_id == parent.id)


READ_CUSTOMERS = readable(
    CUSTOMERS,
    CustomerView,
    to_one("owner", MEMBERS, "owner_id"),
    several(
        "opportunities",
        Related(
            OPPORTUNITIES,
            {},
            _open_of_customer,
            (opportunities.c.purchase_date.nulls_last(), opportunities.c.id),
            MOST_OPPORTUNITIES,
        ),
    ),
    several(
        "contacts",
        Related(
            CONTACTS,
            {},
            lambda parent: contacts.c.customer_id == parent.id,
            (contacts.c.sort_key, contacts.c.id),
            MOST_CONTACTS,
        ),
    ),
    first("next_task", Related(TASKS, {}, _step_of_customer, STEPS_FIRST)),
    first(
        "latest_interaction",
        Related(
            INTERACTIONS,
            {},
            lambda parent: interactions.c.customer_id == parent.id,
            (interactions.c.occurred_at.desc(), interactions.c.id.desc()),
        ),
    ),
)
