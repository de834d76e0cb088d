"""Rules of customers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.api import resources
from services.api.attributes import values as attributes
from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import CustomerCreate, CustomerPatch, CustomerReassign, CustomerUpsert
from services.api.errors import Conflict, invalid
from services.api.fields import sort_key
from services.api.opportunities import handover
from services.api.owners import check_owner, may_own, require_manager
from services.api.resources import changes_of
from services.api.times import check_not_future
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.tenancy import Principal, Reach

OPEN_OPPORTUNITIES = sql(
    "SELECT count(*) FROM sales.opportunities WHERE workspace_id = :workspace_id AND customer_id = :customer_id"
    " AND status = 'open' AND deleted_at IS NULL"
)


async def create(tx: Tx, principal: Principal, body: CustomerCreate) -> Row:
    """Records a customer. The owner is, unless given, the rep who records it."""
    check_not_future(tx.now, body.occurred_at, "A customer")
    values = body.model_dump(exclude_none=True)
    values.update(await _prepared(tx, principal, body, values))
    values["attributes"] = await attributes.merged(tx, "customer", body.attributes, None)
    return await resources.create(tx, CUSTOMERS, values)


async def _prepared(tx: Tx, principal: Principal, body: CustomerUpsert, values: dict[str, Any]) -> dict[str, Any]:
    owner_id = values.get("owner_id")
    if "owner_id" not in body.model_fields_set and principal.reach is Reach.OWN:
        owner_id = principal.member_id
    may_own(principal, owner_id)
    if owner_id is not None and owner_id != principal.member_id:
        await check_owner(tx, owner_id)
    return {"owner_id": owner_id, "sort_key": sort_key(body.name)}


async def patch(tx: Tx, principal: Principal, id_: UUID, body: CustomerPatch, if_match: str | None) -> Row:
    changes = changes_of(body, not_null=("name", "kind"))
    before = await resources.fetch(tx, principal, CUSTOMERS, id_, lock=True)
    check_if_match(if_match, before["version"])
    if "attributes" in changes:
        changes["attributes"] = await attributes.merged(tx, "customer", changes["attributes"], before["attributes"])
    if "name" in changes:
        changes["sort_key"] = sort_key(changes["name"])
    return await resources.change(tx, CUSTOMERS, before, changes)


async def upsert(tx: Tx, principal: Principal, source: str, external_id: str, body: CustomerUpsert) -> tuple[Row, bool]:
    """Creates or replaces by external id, the same uniqueness as the database's; True when it was created.

    Its owner can't be replaced: only a manager hands a customer over, and says why.
    """
    found = await resources.find_external(tx, principal, CUSTOMERS, source, external_id)
    if found is None:
        given = body.model_dump(exclude_unset=True)
        new = CustomerCreate.model_validate({**given, "external_source": source, "external_id": external_id})
        return await create(tx, principal, new), True
    if "owner_id" in body.model_fields_set and body.owner_id != found["owner_id"]:
        raise invalid("/owner_id", "immutable", "Use :reassign to hand a customer to another owner.")
    changes = body.model_dump(exclude={"occurred_at", "owner_id"})
    changes["attributes"] = await attributes.merged(tx, "customer", body.attributes, None)
    changes |= {"sort_key": sort_key(body.name), "deleted_at": None}
    return await resources.change(tx, CUSTOMERS, found, changes), False


async def delete(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> None:
    """Deletes softly. The customer is locked before its open opportunities are counted: none can slip in between."""
    await resources.delete(tx, principal, CUSTOMERS, id_, if_match)
    if await tx.value(OPEN_OPPORTUNITIES, customer_id=id_):
        raise Conflict("The customer has open opportunities; close or delete those first.")


async def reassign(tx: Tx, principal: Principal, id_: UUID, body: CustomerReassign, if_match: str | None) -> Row:
    """Hands the customer over; both reps are ranked again."""
    require_manager(principal, "reassign a customer")
    before = await resources.fetch(tx, principal, CUSTOMERS, id_, lock=True)
    check_if_match(if_match, before["version"])
    await check_owner(tx, body.owner_id)
    if before["owner_id"] == body.owner_id:
        return before
    if body.with_opportunities:
        await handover.hand_over_opportunities(tx, before["id"], before["owner_id"], body.owner_id, body.reason)
    changes = {"owner_id": body.owner_id, "owner_changed_at": tx.now, "owner_reason": body.reason}
    row = await resources.change(tx, CUSTOMERS, before, changes, action="reassigned")
    await handover.record_handover(tx, before["owner_id"], body.owner_id)
    return row
