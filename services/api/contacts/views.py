"""Contacts as they are read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from services.api.contacts.resource import CONTACTS
from services.api.contacts.schemas import Contact, ContactFilters
from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import Customer
from services.api.expand import Expand, FieldNames, ReadParams, absent, to_one
from services.api.reads import readable

ContactNeighbour = Literal["customer"]


class ContactExpanded(BaseModel):
    """Neighbours of a contact: those asked for."""

    customer: Customer | None = absent()


class ContactView(Contact):
    """A contact, with the neighbours asked for."""

    expanded: ContactExpanded | SkipJsonSchema[None] = absent()


class ContactParams(ReadParams):
    """How to read a contact."""

    expand: Expand[ContactNeighbour] | None = None


class ContactListParams(ContactFilters):
    """How to read a list of contacts."""

    expand: Expand[ContactNeighbour] | None = None
    fields: FieldNames | None = None


READ_CONTACTS = readable(CONTACTS, ContactView, to_one("customer", CUSTOMERS, "customer_id"))
