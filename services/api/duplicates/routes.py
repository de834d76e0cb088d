"""The search for duplicates over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from services.api.duplicates import schemas, service
from services.api.edge import EdgeTransaction, requires
from services.api.pagination import Page
from services.api.routing import Router
from services.api.wire import answer
from shared.tenancy import Principal

router = Router(prefix="/v1", tags=["duplicates"])
CustomersRead = Annotated[Principal, requires("customers:read")]
ContactsRead = Annotated[Principal, requires("contacts:read")]
BothRead = Annotated[Principal, requires("customers:read", "contacts:read")]
Params = Annotated[schemas.DuplicateParams, Query()]


@router.post("/customers:search-duplicates", response_model=schemas.Duplicates, operation_id="searchDuplicateCustomers")
async def search_duplicate_customers(
    principal: CustomersRead, tx: EdgeTransaction, body: schemas.CustomerProbe
) -> Response:
    """Customers that may be the same as one about to be recorded.

    Names are compared without legal form, brackets, accents and width, numbers in E.164, addresses by registrable
    domain (free mail aside). One beyond the caller's reach is told of with its owner and nothing else, and only where
    it is likely the same. Nothing is written.
    """
    probe = service.probe_of(body)
    return answer(await service.search(tx, principal, "customer", probe, body.limit, body.min_score))


@router.post("/contacts:search-duplicates", response_model=schemas.Duplicates, operation_id="searchDuplicateContacts")
async def search_duplicate_contacts(
    principal: ContactsRead, tx: EdgeTransaction, body: schemas.ContactProbe
) -> Response:
    """Contacts that may be the same as one about to be recorded; nothing is written."""
    probe = service.probe_of(body)
    return answer(await service.search(tx, principal, "contact", probe, body.limit, body.min_score))


@router.get("/customers/{id}/duplicates", response_model=schemas.Duplicates, operation_id="findDuplicatesOfCustomer")
async def find_duplicates_of_customer(
    principal: CustomersRead, tx: EdgeTransaction, id: UUID, params: Params
) -> Response:
    """Other customers that may be the same as this one, the likeliest first."""
    probe = await service.probe_of_record(tx, principal, "customer", id)
    return answer(await service.search(tx, principal, "customer", probe, params.limit, params.min_score))


@router.get("/contacts/{id}/duplicates", response_model=schemas.Duplicates, operation_id="findDuplicatesOfContact")
async def find_duplicates_of_contact(
    principal: ContactsRead, tx: EdgeTransaction, id: UUID, params: Params
) -> Response:
    """Other contacts that may be the same as this one, the likeliest first."""
    probe = await service.probe_of_record(tx, principal, "contact", id)
    return answer(await service.search(tx, principal, "contact", probe, params.limit, params.min_score))


@router.get("/duplicates", response_model=Page[schemas.DuplicatePair], operation_id="listDuplicates")
async def list_duplicates(
    request: Request,
    principal: BothRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.DuplicateFilters, Query()],
) -> Response:
    """Pairs within the caller's reach that may be the same, oldest record first: the list to tidy up by.

    They share a name without legal form, a phone number, an e-mail address or a domain; what more than 50 records
    share says nothing. A page may hold fewer pairs than asked for while `has_more` is true.
    """
    return answer(await service.page(tx, principal, params, request.app.state.cursors))
