"""Who owns what: a default owner, and who may give a record to whom (DOMAIN §14, owners)."""

from __future__ import annotations

from uuid import UUID

from services.api.errors import Forbidden, invalid
from shared.db import Tx, sql
from shared.tenancy import Principal, Reach

OWNER = sql("SELECT role FROM sales.members WHERE workspace_id = :workspace_id AND id = :owner_id AND active")
OWNING_ROLES = ("rep", "manager", "admin")


def may_own(principal: Principal, owner_id: UUID | None) -> None:
    """Raises Forbidden where a rep records something for somebody else."""
    if principal.reach is Reach.OWN and owner_id != principal.member_id:
        raise Forbidden("A salesperson records for themselves; a manager assigns to others.")


def require_manager(principal: Principal, what: str) -> None:
    if principal.role not in {"manager", "admin"}:
        raise Forbidden(f"Only a manager may {what}.")


async def check_owner(tx: Tx, owner_id: UUID | None) -> None:
    """Raises where the new owner is not an active member who sells."""
    if owner_id is None:
        return
    role = await tx.value(OWNER, owner_id=owner_id)
    if role not in OWNING_ROLES:
        raise invalid("/owner_id", "unknown_reference", "There is no active member with this id who could own it.")
