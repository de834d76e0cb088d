"""Checking that what a body refers to exists, is the caller's to see and belongs together, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Executable, bindparam, func, select
from sqlalchemy.dialects import postgresql

from services.api.errors import FieldError, Invalid, wrong
from shared.db import Row, Tx, statement
from shared.models import contacts, customers, members, opportunities
from shared.tenancy import WORKSPACE, Principal, Reach, scoped

_UUID = postgresql.UUID(as_uuid=True)


@dataclass(frozen=True, slots=True)
class References:
    """What a body refers to; None and empty ones are not looked for. `member_field` is how the body calls a member."""

    customer_id: UUID | None = None
    opportunity_id: UUID | None = None
    contact_ids: Sequence[UUID] = ()
    member_id: UUID | None = None
    member_field: str = "member_id"


@statement
def _select_references(reach: Reach) -> Executable:
    """One row. Contacts are those of the customer given, or else of the opportunity's."""
    customer_id = bindparam("customer_id", type_=_UUID)
    opportunity = (
        scoped(opportunities, reach, opportunities.c.customer_id)
        .where(opportunities.c.id == bindparam("opportunity_id", type_=_UUID), opportunities.c.deleted_at.is_(None))
        .scalar_subquery()
    )
    customer = scoped(customers, reach, customers.c.id).where(
        customers.c.id == func.coalesce(customer_id, opportunity), customers.c.deleted_at.is_(None)
    )
    present = (
        select(func.array_agg(contacts.c.id))
        .where(
            contacts.c.workspace_id == WORKSPACE,
            contacts.c.id == bindparam("contact_ids", type_=postgresql.ARRAY(_UUID)).any_(),
            contacts.c.customer_id == func.coalesce(customer_id, opportunity),
            contacts.c.deleted_at.is_(None),
        )
        .scalar_subquery()
    )
    member = select(members.c.role).where(
        members.c.workspace_id == WORKSPACE, members.c.id == bindparam("member_id", type_=_UUID), members.c.active
    )
    return select(
        customer.scalar_subquery().label("customer_id"),
        opportunity.label("opportunity_customer_id"),
        present.label("contact_ids"),
        member.scalar_subquery().label("member_role"),
    )


async def check(tx: Tx, principal: Principal, wanted: References) -> UUID | None:
    """The customer that all of it belongs to; raises Invalid naming each reference that is wrong."""
    found = await tx.row(
        _select_references(principal.reach),
        customer_id=wanted.customer_id,
        opportunity_id=wanted.opportunity_id,
        contact_ids=list(wanted.contact_ids),
        member_id=wanted.member_id,
        **principal.binds,
    )
    assert found is not None  # noqa: S101 - a select of scalars always gives one row
    errors = _wrong(wanted, found)
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    customer_id: UUID | None = found["customer_id"]
    return customer_id


def _wrong(wanted: References, found: Row) -> list[FieldError]:
    errors: list[FieldError] = []
    if wanted.customer_id is not None and found["customer_id"] is None:
        errors.append(wrong("/customer_id", "unknown_reference", "There is no such customer within your reach."))
    if wanted.opportunity_id is not None:
        owner = found["opportunity_customer_id"]
        if owner is None:
            words = "There is no such opportunity within your reach."
            errors.append(wrong("/opportunity_id", "unknown_reference", words))
        elif wanted.customer_id is not None and owner != wanted.customer_id:
            words = "The opportunity belongs to another customer."
            errors.append(wrong("/opportunity_id", "other_customer", words))
    present = set(found["contact_ids"] or ())
    for place, contact_id in enumerate(wanted.contact_ids):
        if contact_id not in present:
            words = "The customer has no such contact."
            errors.append(wrong(f"/contact_ids/{place}", "unknown_reference", words))
    if wanted.member_id is not None and found["member_role"] is None:
        words = "There is no active member with this id."
        errors.append(wrong(f"/{wanted.member_field}", "unknown_reference", words))
    return errors
