"""Contacts over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.contacts import schemas, service
from services.api.contacts.resource import CONTACTS
from services.api.edge import EdgeTransaction, requires
from services.api.fields import ExternalText, sort_key
from services.api.pagination import Page
from services.api.routing import IfMatch, Router, answers
from services.api.wire import answer, created, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/contacts", tags=["contacts"])
ContactsRead = Annotated[Principal, requires("contacts:read")]
ContactsWrite = Annotated[Principal, requires("contacts:write")]


def _shown(row: Any) -> Response:
    return answer(CONTACTS.wire(row), version=row["version"])


@router.get("", response_model=Page[schemas.Contact], operation_id="listContacts")
async def list_contacts(
    request: Request, principal: ContactsRead, tx: EdgeTransaction, params: Annotated[schemas.ContactFilters, Query()]
) -> Response:
    """Contacts of the customers within reach, a page at a time."""
    fixed = {"name_prefix": sort_key(params.name_prefix)} if params.name_prefix else {}
    cursors = request.app.state.cursors
    return answer(await resources.fetch_page(tx, principal, CONTACTS, params, cursors, fixed=fixed))


@router.post("", status_code=201, response_model=schemas.Contact, operation_id="createContact")
async def create_contact(principal: ContactsWrite, tx: EdgeTransaction, body: schemas.ContactCreate) -> Response:
    """Records a contact of a customer."""
    row = await service.create(tx, principal, body)
    return created(CONTACTS.wire(row), f"{CONTACTS.path}/{row['id']}", row["version"])


@router.get("/{id}", response_model=schemas.Contact, operation_id="getContact")
async def get_contact(request: Request, principal: ContactsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One contact."""
    row = await resources.fetch(tx, principal, CONTACTS, id)
    return one(request, CONTACTS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Contact, operation_id="updateContact")
async def update_contact(
    principal: ContactsWrite, tx: EdgeTransaction, id: UUID, body: schemas.ContactPatch, if_match: IfMatch = None
) -> Response:
    """Changes a contact (JSON merge-patch)."""
    return _shown(await service.patch(tx, principal, id, body, if_match))


@router.delete("/{id}", status_code=204, operation_id="deleteContact")
async def delete_contact(principal: ContactsWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Deletes a contact softly; it can be restored for 30 days."""
    await resources.delete(tx, principal, CONTACTS, id, if_match)
    return no_content()


@router.post("/{id}:restore", response_model=schemas.Contact, operation_id="restoreContact")
async def restore_contact(principal: ContactsWrite, tx: EdgeTransaction, id: UUID) -> Response:
    """Undoes a deletion of the last 30 days."""
    return _shown(await resources.restore(tx, principal, CONTACTS, id))


@router.put(
    "/by-external-id/{source}/{external_id}",
    response_model=schemas.Contact,
    responses=answers(201, schemas.Contact),
    operation_id="upsertContact",
)
async def upsert_contact(
    principal: ContactsWrite,
    tx: EdgeTransaction,
    source: ExternalText,
    external_id: ExternalText,
    body: schemas.ContactUpsert,
) -> Response:
    """Creates or replaces the contact that another system knows under this id."""
    row, is_new = await service.upsert(tx, principal, source, external_id, body)
    if is_new:
        return created(CONTACTS.wire(row), f"{CONTACTS.path}/{row['id']}", row["version"])
    return _shown(row)
