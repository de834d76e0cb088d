"""Interactions as they are read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from services.api.contacts.resource import CONTACTS
from services.api.contacts.schemas import Contact
from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import Customer
from services.api.expand import (
    Expand,
    FieldNames,
    ReadParams,
    Several,
    absent,
    to_listed,
    to_one,
)
from services.api.interactions.resource import INTERACTIONS
from services.api.interactions.schemas import Interaction, InteractionFilters
from services.api.members.resource import MEMBERS
from services.api.members.schemas import Member
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import Opportunity
from services.api.reads import readable

InteractionNeighbour = Literal["contacts", "customer", "opportunity", "member"]


class InteractionExpanded(BaseModel):
    """Neighbours of an interaction: those asked for."""

    contacts: Several[Contact] | None = absent("Who of the customer took part.")
    customer: Customer | None = absent()
    opportunity: Opportunity | None = absent()
    member: Member | None = absent("Who of us took part.")


class InteractionView(Interaction):
    """An interaction, with the neighbours asked for."""

    expanded: InteractionExpanded | SkipJsonSchema[None] = absent()


class InteractionParams(ReadParams):
    """How to read an interaction."""

    expand: Expand[InteractionNeighbour] | None = None


class InteractionListParams(InteractionFilters):
    """How to read a list of interactions."""

    expand: Expand[InteractionNeighbour] | None = None
    fields: FieldNames | None = None


READ_INTERACTIONS = readable(
    INTERACTIONS,
    InteractionView,
    to_listed("contacts", CONTACTS, "contact_ids"),
    to_one("customer", CUSTOMERS, "customer_id"),
    to_one("opportunity", OPPORTUNITIES, "opportunity_id"),
    to_one("member", MEMBERS, "member_id"),
)
