"""Rules of opportunities as facts; how they advance is in `transitions.py`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.api import resources
from services.api.attributes import values as attributes
from services.api.errors import Conflict, FieldError, Invalid, invalid, wrong
from services.api.fields import sort_key
from services.api.opportunities.handover import record_handover
from services.api.opportunities.queries import insert_where_sound, select_surroundings
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import (
    OpportunityCreate,
    OpportunityPatch,
    OpportunityReassign,
    OpportunityUpsert,
)
from services.api.owners import OWNING_ROLES, check_owner, may_own, require_manager
from services.api.resources import changes_of
from services.api.times import check_not_future
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.tenancy import Principal, Reach

# Locked, so that it is not deleted at the same time.
CUSTOMER_IS_DELETED = sql(
    "SELECT deleted_at IS NOT NULL FROM sales.customers WHERE workspace_id = :workspace_id AND id = :customer_id"
    " FOR KEY SHARE"
)
PRODUCT = sql(
    "SELECT id FROM sales.products WHERE workspace_id = :workspace_id AND id = :product_id AND deleted_at IS NULL"
)
NO_PRODUCT = "There is no such product."
MONEY_COLUMNS = {"amount": "amount", "cost_to_deliver": "cost_to_deliver", "budget": "budget_amount"}


async def create(tx: Tx, principal: Principal, body: OpportunityCreate) -> Row:
    """Records an opportunity. Unless given, the owner is the rep who records it, else the customer's owner.

    The usual case is one statement. Only where that finds something missing is it asked what, so that the refusal
    can name the field.
    """
    values = body.model_dump(exclude_none=True)
    customers_owner = "owner_id" not in body.model_fields_set and principal.reach is not Reach.OWN
    owner_id = body.owner_id
    if "owner_id" not in body.model_fields_set and not customers_owner:
        owner_id = principal.member_id
    may_own(principal, owner_id)
    check_not_future(tx.now, body.occurred_at, "An opportunity")
    values |= _money_columns(values, None)
    values |= {
        "stage_entered_at": body.occurred_at or tx.now,
        "sort_key": sort_key(body.name),
        **resources.recorded(tx, values),
    }
    values.pop("owner_id", None)
    values.pop("process_id", None)
    check_line(values)
    resources.check_external_id(values)
    if not body.attributes:
        names = tuple(sorted(values))
        query = insert_where_sound(principal.reach, names, customers_owner, body.process_id is not None)
        row = await tx.row(query, **values, owner_id=owner_id, process_id=body.process_id, **principal.binds)
        if row is not None:
            resources.note(tx, OPPORTUNITIES, "created", None, row)
            return row
    return await _create_checked(tx, principal, body, values, None if customers_owner else owner_id, customers_owner)


async def _create_checked(
    tx: Tx,
    principal: Principal,
    body: OpportunityCreate,
    values: dict[str, Any],
    owner_id: UUID | None,
    customers_owner: bool,
) -> Row:
    """The same by steps: custom attributes are checked, and what is missing is named."""
    around = await tx.row(
        select_surroundings(principal.reach),
        customer_id=body.customer_id,
        process_id=body.process_id,
        owner_id=owner_id,
        product_id=body.product_id,
        **principal.binds,
    )
    assert around is not None  # noqa: S101 - a select of scalars always gives one row
    if not customers_owner:
        _check_owner_role(owner_id, around)
    _check_surroundings(body, around)
    values |= {
        "owner_id": around["customer_owner_id"] if customers_owner else owner_id,
        "process_id": around["process_id"],
        "stage_id": around["stage_id"],
        "attributes": await attributes.merged(tx, "opportunity", body.attributes, None),
    }
    return await resources.create(tx, OPPORTUNITIES, values)


def _check_owner_role(owner_id: UUID | None, around: Row) -> None:
    if owner_id is not None and around["owner_role"] not in OWNING_ROLES:
        raise invalid("/owner_id", "unknown_reference", "There is no active member with this id who could own it.")


def _check_surroundings(body: OpportunityUpsert, around: Row) -> None:
    errors: list[FieldError] = []
    if around["customer_id"] is None:
        errors.append(wrong("/customer_id", "unknown_reference", "There is no such customer within your reach."))
    if around["stage_id"] is None:
        words = "There is no such process." if body.process_id else "The workspace has no default process: name one."
        errors.append(wrong("/process_id", "unknown_reference", words))
    if body.product_id is not None and around["product_id"] is None:
        errors.append(wrong("/product_id", "unknown_reference", NO_PRODUCT))
    if errors:
        raise Invalid(errors[0].message, errors=errors)


def _money_columns(values: dict[str, Any], before: Row | None) -> dict[str, Any]:
    """Takes the money fields out of `values` and gives their columns; all are in one currency."""
    result: dict[str, Any] = {}
    currencies: dict[str, str] = {}
    for field, column in MONEY_COLUMNS.items():
        if field not in values:
            continue
        given = values.pop(field)
        result[column] = given["amount"] if given else None
        if given:
            currencies[field] = given["currency"]
    kept = [c for f, c in MONEY_COLUMNS.items() if before and c not in result and before[c] is not None]
    expected = before["currency"] if before and kept else next(iter(currencies.values()), None)
    for field, currency in currencies.items():
        if currency != expected:
            raise invalid(f"/{field}/currency", "currency_mismatch", f"The opportunity's money is in {expected}.")
    if currencies:
        result["currency"] = expected
    return result


def check_line(values: Row) -> None:
    """A long-line opportunity says why and when it is taken up again (D8.3)."""
    if values.get("line") == "long":
        errors = [
            wrong(f"/{field}", "required", "A long-line opportunity needs it.")
            for field in ("line_reason", "resume_on")
            if not values.get(field)
        ]
        if errors:
            raise Invalid("A long-line opportunity needs a reason and the date to resume on.", errors=errors)


async def patch(tx: Tx, principal: Principal, id_: UUID, body: OpportunityPatch, if_match: str | None) -> Row:
    """Changes facts. Stage and status are no fields of this: only transitions move them."""
    changes = changes_of(body, not_null=("name", "line"))
    before = await resources.fetch(tx, principal, OPPORTUNITIES, id_, lock=True)
    check_if_match(if_match, before["version"])
    return await _apply(tx, before, changes)


async def _apply(tx: Tx, before: Row, changes: dict[str, Any], *, replace: bool = False) -> Row:
    if "attributes" in changes:
        given, present = changes["attributes"], None if replace else before["attributes"]
        changes["attributes"] = await attributes.merged(tx, "opportunity", given, present)
    changes |= _money_columns(changes, before)
    if "name" in changes:
        changes["sort_key"] = sort_key(changes["name"])
    moved, was = changes.get("purchase_date"), before["purchase_date"]
    if moved and was and moved > was:
        changes["purchase_date_slips"] = before["purchase_date_slips"] + 1
    product_id = changes.get("product_id")
    if product_id not in {None, before["product_id"]} and not await tx.value(PRODUCT, product_id=product_id):
        raise invalid("/product_id", "unknown_reference", NO_PRODUCT)
    if {"line", "line_reason", "resume_on"} & changes.keys():
        check_line({**dict(before), **changes})
    return await resources.change(tx, OPPORTUNITIES, before, changes)


async def upsert(
    tx: Tx, principal: Principal, source: str, external_id: str, body: OpportunityUpsert
) -> tuple[Row, bool]:
    """Creates or replaces by external id; True when it was created. Customer and process can't be replaced."""
    found = await resources.find_external(tx, principal, OPPORTUNITIES, source, external_id)
    if found is None:
        given = body.model_dump(exclude_unset=True)
        new = OpportunityCreate.model_validate({**given, "external_source": source, "external_id": external_id})
        return await create(tx, principal, new), True
    for field in ("customer_id", "process_id"):
        value = getattr(body, field)
        if value is not None and value != found[field]:
            raise invalid(f"/{field}", "immutable", f"{field} of an opportunity can't be changed.")
    if "owner_id" in body.model_fields_set and body.owner_id != found["owner_id"]:
        raise invalid("/owner_id", "immutable", "Use :reassign to hand an opportunity to another owner.")
    changes = body.model_dump(exclude={"customer_id", "process_id", "owner_id", "occurred_at"})
    if found["deleted_at"] is not None:
        found = await resources.change(tx, OPPORTUNITIES, found, {"deleted_at": None}, action="restored")
        await require_customer(tx, found)
    return await _apply(tx, found, changes, replace=True), False


async def restore(tx: Tx, principal: Principal, id_: UUID) -> Row:
    """Undoes a deletion of the last 30 days."""
    row = await resources.restore(tx, principal, OPPORTUNITIES, id_)
    await require_customer(tx, row)
    return row


async def require_customer(tx: Tx, opportunity: Row) -> None:
    """Raises where an opportunity would be open again at a customer that has been deleted."""
    if await tx.value(CUSTOMER_IS_DELETED, customer_id=opportunity["customer_id"]):
        raise Conflict("Its customer has been deleted: restore the customer first.")


async def reassign(tx: Tx, principal: Principal, id_: UUID, body: OpportunityReassign, if_match: str | None) -> Row:
    """Changes the owner; stage, passages and history stay, and both reps are ranked again (DOMAIN §14, owners)."""
    require_manager(principal, "reassign an opportunity")
    before = await resources.fetch(tx, principal, OPPORTUNITIES, id_, lock=True)
    check_if_match(if_match, before["version"])
    await check_owner(tx, body.owner_id)
    if before["owner_id"] == body.owner_id:
        return before
    changes = {"owner_id": body.owner_id, "owner_changed_at": tx.now, "owner_reason": body.reason}
    row = await resources.change(tx, OPPORTUNITIES, before, changes, action="reassigned")
    await record_handover(tx, before["owner_id"], body.owner_id)
    return row
