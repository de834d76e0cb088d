"""Customers over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.attributes import values as attributes
from services.api.customers import schemas, service
from services.api.customers.resource import CUSTOMERS
from services.api.edge import EdgeTransaction, requires
from services.api.fields import ExternalText, sort_key
from services.api.pagination import Page
from services.api.routing import IfMatch, Router, answers
from services.api.wire import answer, created, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/customers", tags=["customers"])
CustomersRead = Annotated[Principal, requires("customers:read")]
CustomersWrite = Annotated[Principal, requires("customers:write")]


@router.get("", response_model=Page[schemas.Customer], operation_id="listCustomers")
async def list_customers(
    request: Request,
    principal: CustomersRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.CustomerFilters, Query()],
) -> Response:
    """Customers within the caller's reach, a page at a time."""
    fixed: dict[str, Any] = {}
    if params.attribute:
        fixed["attribute"] = await attributes.conditions(tx, "customer", params.attribute)
    if params.name_prefix:
        fixed["name_prefix"] = sort_key(params.name_prefix)
    cursors = request.app.state.cursors
    return answer(await resources.fetch_page(tx, principal, CUSTOMERS, params, cursors, fixed=fixed))


@router.post("", status_code=201, response_model=schemas.Customer, operation_id="createCustomer")
async def create_customer(principal: CustomersWrite, tx: EdgeTransaction, body: schemas.CustomerCreate) -> Response:
    """Records a customer."""
    row = await service.create(tx, principal, body)
    return created(CUSTOMERS.wire(row), f"{CUSTOMERS.path}/{row['id']}", row["version"])


@router.get("/{id}", response_model=schemas.Customer, operation_id="getCustomer")
async def get_customer(request: Request, principal: CustomersRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One customer."""
    row = await resources.fetch(tx, principal, CUSTOMERS, id)
    return one(request, CUSTOMERS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Customer, operation_id="updateCustomer")
async def update_customer(
    principal: CustomersWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.CustomerPatch,
    if_match: IfMatch = None,
) -> Response:
    """Changes a customer (JSON merge-patch)."""
    row = await service.patch(tx, principal, id, body, if_match)
    return answer(CUSTOMERS.wire(row), version=row["version"])


@router.delete("/{id}", status_code=204, operation_id="deleteCustomer")
async def delete_customer(
    principal: CustomersWrite,
    tx: EdgeTransaction,
    id: UUID,
    if_match: IfMatch = None,
) -> Response:
    """Deletes a customer softly; it can be restored for 30 days."""
    await service.delete(tx, principal, id, if_match)
    return no_content()


@router.post("/{id}:restore", response_model=schemas.Customer, operation_id="restoreCustomer")
async def restore_customer(principal: CustomersWrite, tx: EdgeTransaction, id: UUID) -> Response:
    """Undoes a deletion of the last 30 days."""
    row = await resources.restore(tx, principal, CUSTOMERS, id)
    return answer(CUSTOMERS.wire(row), version=row["version"])


@router.post("/{id}:reassign", response_model=schemas.Customer, operation_id="reassignCustomer")
async def reassign_customer(
    principal: CustomersWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.CustomerReassign,
    if_match: IfMatch = None,
) -> Response:
    """Hands a customer to another rep (managers only)."""
    row = await service.reassign(tx, principal, id, body, if_match)
    return answer(CUSTOMERS.wire(row), version=row["version"])


@router.put(
    "/by-external-id/{source}/{external_id}",
    response_model=schemas.Customer,
    responses=answers(201, schemas.Customer),
    operation_id="upsertCustomer",
)
async def upsert_customer(
    principal: CustomersWrite,
    tx: EdgeTransaction,
    source: ExternalText,
    external_id: ExternalText,
    body: schemas.CustomerUpsert,
) -> Response:
    """Creates or replaces the customer that another system knows under this id."""
    row, is_new = await service.upsert(tx, principal, source, external_id, body)
    if is_new:
        return created(CUSTOMERS.wire(row), f"{CUSTOMERS.path}/{row['id']}", row["version"])
    return answer(CUSTOMERS.wire(row), version=row["version"])
