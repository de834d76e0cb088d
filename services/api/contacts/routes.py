"""Contacts over HTTP."""

from __future__ import annotations

from typing import Any

from services.api.contacts import schemas, service
from services.api.contacts.views import READ_CONTACTS, ContactListParams, ContactParams
from services.api.fields import sort_key
from services.api.routing import Router
from services.api.standard import Routes
from shared.db import Tx

router = Router(prefix="/v1/contacts", tags=["contacts"])


async def _fixed(_tx: Tx, params: schemas.ContactFilters) -> dict[str, Any]:
    return {"name_prefix": sort_key(params.name_prefix)} if params.name_prefix else {}


routes = Routes(router, READ_CONTACTS, schemas.Contact, "Contact", "Contacts")
routes.add_list(ContactListParams, "Contacts of the customers within reach, a page at a time.", _fixed)
routes.add_sync()
routes.add_create(schemas.ContactCreate, service.create, "Records a contact of a customer.")
routes.add_get(ContactParams, "One contact of a customer within reach.")
routes.add_patch(schemas.ContactPatch, service.patch, "Changes a contact (JSON merge-patch).")
routes.add_delete("Deletes a contact softly; it can be restored for 30 days.")
routes.add_restore("Undoes a deletion of the last 30 days.")
routes.add_upsert(
    schemas.ContactUpsert, service.upsert, "Creates or replaces the contact that another system knows under this id."
)
