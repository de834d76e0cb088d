"""Merges over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api.edge import EdgeTransaction, requires
from services.api.merges import schemas, service
from services.api.merges.resource import CONTACT, CUSTOMER, MERGES
from services.api.pagination import Page
from services.api.routing import IfMatch, Router
from services.api.wire import answer, created, one
from shared.db import Row
from shared.tenancy import Principal

router = Router(prefix="/v1", tags=["merges"])
CustomersWrite = Annotated[Principal, requires("customers:write")]
ContactsWrite = Annotated[Principal, requires("contacts:write")]
MergesRead = Annotated[Principal, requires("customers:read", "contacts:read")]
MergesWrite = Annotated[Principal, requires("customers:write", "contacts:write")]


def _created(row: Row) -> Response:
    return created(MERGES.wire(row), f"{MERGES.path}/{row['id']}", row["version"])


_MERGES: dict[str, Any] = {"x-error-codes": ["already_merged", "merged", "precondition_failed"]}
_UNDOES: dict[str, Any] = {"x-error-codes": ["merge_not_undoable"]}


@router.post(
    "/customers:merge",
    status_code=201,
    response_model=schemas.Merge,
    operation_id="mergeCustomers",
    openapi_extra=_MERGES,
)
async def merge_customers(
    principal: CustomersWrite, tx: EdgeTransaction, body: schemas.MergeCreate, if_match: IfMatch = None
) -> Response:
    """Makes one customer of two.

    Contacts, opportunities with all their transitions, interactions and tasks of `from` become those of `into`;
    reading `from` answers 410 `merged` with the survivor's id, and its external id leads to the survivor. It can be
    undone for 30 days. A salesperson merges customers of their own, a manager any within reach.
    """
    return _created(await service.merge(tx, principal, CUSTOMER, body, if_match))


@router.post(
    "/contacts:merge",
    status_code=201,
    response_model=schemas.Merge,
    operation_id="mergeContacts",
    openapi_extra=_MERGES,
)
async def merge_contacts(
    principal: ContactsWrite, tx: EdgeTransaction, body: schemas.MergeCreate, if_match: IfMatch = None
) -> Response:
    """Makes one contact of two of the same customer.

    Interactions that named `from` name `into`; it can be undone for 30 days.
    """
    return _created(await service.merge(tx, principal, CONTACT, body, if_match))


@router.get("/merges", response_model=Page[schemas.Merge], operation_id="listMerges")
async def list_merges(
    request: Request,
    principal: MergesRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.MergeFilters, Query()],
) -> Response:
    """Merges, the latest first: the caller's own, a manager's team's, or for who sees everything all of them."""
    return answer(await service.page(tx, principal, params, request.app.state.cursors))


@router.get("/merges/{id}", response_model=schemas.Merge, operation_id="getMerge")
async def get_merge(request: Request, principal: MergesRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One merge."""
    row = await service.fetch(tx, principal, id)
    return one(request, MERGES.wire(row), row["version"])


@router.post("/merges/{id}:undo", response_model=schemas.Merge, operation_id="undoMerge", openapi_extra=_UNDOES)
async def undo_merge(principal: MergesWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Parts two merged records again, within 30 days.

    All that the merge moved goes back, and so does what was recorded since for an opportunity that goes back. What
    else was added since stays with the survivor; fields changed since are left alone and named in `kept_fields`. A
    merge that a later one builds on is undone after that one. Whoever may merge two records may part them.
    """
    row = await service.undo(tx, principal, id, if_match)
    return answer(MERGES.wire(row), version=row["version"])
