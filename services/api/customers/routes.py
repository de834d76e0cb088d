"""Customers over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Response

from services.api.attributes import values as attributes
from services.api.customers import schemas, service
from services.api.customers.resource import CUSTOMERS
from services.api.customers.views import READ_CUSTOMERS, CustomerListParams, CustomerParams
from services.api.edge import EdgeTransaction, requires
from services.api.fields import sort_key
from services.api.routing import IfMatch, Router
from services.api.standard import Routes
from services.api.wire import answer
from shared.db import Tx
from shared.tenancy import Principal

router = Router(prefix="/v1/customers", tags=["customers"])
CustomersWrite = Annotated[Principal, requires("customers:write")]


async def _fixed(tx: Tx, params: schemas.CustomerFilters) -> dict[str, Any]:
    fixed: dict[str, Any] = {}
    if params.attribute:
        fixed["attribute"] = await attributes.conditions(tx, "customer", params.attribute)
    if params.name_prefix:
        fixed["name_prefix"] = sort_key(params.name_prefix)
    return fixed


routes = Routes(router, READ_CUSTOMERS, schemas.Customer, "Customer", "Customers")
routes.add_list(CustomerListParams, "Customers within the caller's reach, a page at a time.", _fixed)
routes.add_sync()
routes.add_create(schemas.CustomerCreate, service.create, "Records a customer.")
routes.add_get(
    CustomerParams,
    "One customer. `expand=owner,opportunities,contacts,next_task,latest_interaction` brings all that its page shows.",
)
routes.add_patch(schemas.CustomerPatch, service.patch, "Changes a customer (JSON merge-patch).")
routes.add_delete("Deletes a customer softly; it can be restored for 30 days.", service.delete)
routes.add_restore("Undoes a deletion of the last 30 days.")


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


routes.add_upsert(
    schemas.CustomerUpsert,
    service.upsert,
    "Creates or replaces the customer that another system knows under this id.",
)
