"""Rules of contacts: each belongs to one customer, within the caller's reach."""

from __future__ import annotations

from uuid import UUID

from services.api import resources
from services.api.contacts.resource import CONTACTS
from services.api.contacts.schemas import ContactCreate, ContactPatch, ContactUpsert
from services.api.errors import invalid
from services.api.fields import sort_key
from services.api.references import References, check
from services.api.resources import changes_of
from shared.db import Row, Tx
from shared.tenancy import Principal


async def create(tx: Tx, principal: Principal, body: ContactCreate) -> Row:
    await check(tx, principal, References(body.customer_id))
    values = body.model_dump(exclude_none=True) | {"sort_key": sort_key(body.name)}
    return await resources.create(tx, CONTACTS, values)


async def patch(tx: Tx, principal: Principal, id_: UUID, body: ContactPatch, if_match: str | None) -> Row:
    changes = changes_of(body, not_null=("name", "is_coach", "is_external"))
    if "name" in changes:
        changes["sort_key"] = sort_key(changes["name"])
    return await resources.patch(tx, principal, CONTACTS, id_, changes, if_match)


async def upsert(tx: Tx, principal: Principal, source: str, external_id: str, body: ContactUpsert) -> tuple[Row, bool]:
    """Creates or replaces by external id; True when it was created. The customer can't be replaced."""
    found = await resources.find_external(tx, principal, CONTACTS, source, external_id)
    if found is None:
        given = body.model_dump(exclude_unset=True)
        new = ContactCreate.model_validate({**given, "external_source": source, "external_id": external_id})
        return await create(tx, principal, new), True
    if body.customer_id != found["customer_id"]:
        raise invalid("/customer_id", "immutable", "customer_id of a contact can't be changed.")
    changes = body.model_dump(exclude={"customer_id", "occurred_at"})
    changes |= {"sort_key": sort_key(body.name), "deleted_at": None}
    return await resources.change(tx, CONTACTS, found, changes), False
