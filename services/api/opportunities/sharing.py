"""Members who take part in an opportunity besides its owner: that is what *shared* means (DOMAIN §14)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Executable, bindparam, select

from services.api import resources
from services.api.errors import Conflict, Forbidden, NotFound, invalid
from services.api.filters import by_time
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import OpportunityMemberAdd
from services.api.pagination import Cursors, ListParams, PageRequest, binding_of, ordered, page_body
from shared.db import Row, Tx, sql, statement
from shared.effects import AuditEntry, Event
from shared.models import opportunity_members
from shared.tenancy import WORKSPACE, Principal, Reach

MEMBER = sql(
    "SELECT member_id, role, recorded_at FROM sales.opportunity_members"
    " WHERE workspace_id = :workspace_id AND opportunity_id = :opportunity_id AND member_id = :member_id"
)
_OF = opportunity_members.c
_SORT = by_time(_OF.recorded_at, "recorded_at")
ADD = sql(
    "INSERT INTO sales.opportunity_members (workspace_id, opportunity_id, member_id, role, recorded_at)"
    " SELECT :workspace_id, :opportunity_id, m.id, :role, :now FROM sales.members m"
    " WHERE m.workspace_id = :workspace_id AND m.id = :member_id AND m.active"
    " ON CONFLICT (workspace_id, opportunity_id, member_id) DO UPDATE SET role = excluded.role"
    " RETURNING member_id, role, recorded_at"
)
REMOVE = sql(
    "DELETE FROM sales.opportunity_members WHERE workspace_id = :workspace_id"
    " AND opportunity_id = :opportunity_id AND member_id = :member_id"
)


@statement
def _select_members(after: bool) -> Executable:
    query = select(_OF.member_id, _OF.role, _OF.recorded_at).where(
        _OF.workspace_id == WORKSPACE, _OF.opportunity_id == bindparam("opportunity_id", type_=_OF.opportunity_id.type)
    )
    return ordered(query, _SORT, _OF.member_id, descending=False, after=after)


async def page_of_members(
    tx: Tx, principal: Principal, id_: UUID, params: ListParams, cursors: Cursors
) -> dict[str, Any]:
    """Who takes part, in the order they were added."""
    await resources.fetch(tx, principal, OPPORTUNITIES, id_)
    binding = binding_of(principal, "opportunity_member", {"opportunity_id": id_})
    page = PageRequest(params.limit, cursors.read(binding, params.cursor, _SORT.parse) if params.cursor else None)
    rows = await tx.rows(_select_members(page.after is not None), opportunity_id=id_, **page.values())
    return page_body(rows, page, dict, lambda row: cursors.make(binding, row["recorded_at"], row["member_id"]))


async def fetch_member(tx: Tx, principal: Principal, id_: UUID, member_id: UUID) -> Row:
    await resources.fetch(tx, principal, OPPORTUNITIES, id_)
    row = await tx.row(MEMBER, opportunity_id=id_, member_id=member_id)
    if row is None:
        raise _not_a_part()
    return row


async def add(tx: Tx, principal: Principal, id_: UUID, body: OpportunityMemberAdd) -> Row:
    """Shares the opportunity: its owner and managers may."""
    opportunity = await resources.fetch(tx, principal, OPPORTUNITIES, id_, lock=True)
    _require_owner(principal, opportunity)
    if body.member_id == opportunity["owner_id"]:
        raise Conflict("The owner takes part already.")
    row = await tx.row(ADD, opportunity_id=id_, member_id=body.member_id, role=body.role, now=tx.now)
    if row is None:
        raise invalid("/member_id", "unknown_reference", "There is no active member with this id.")
    _note(tx, opportunity, "member_added", {"member_id": body.member_id, "role": body.role})
    return row


async def remove(tx: Tx, principal: Principal, id_: UUID, member_id: UUID) -> None:
    opportunity = await resources.fetch(tx, principal, OPPORTUNITIES, id_, lock=True)
    _require_owner(principal, opportunity)
    if not await tx.run(REMOVE, opportunity_id=id_, member_id=member_id):
        raise _not_a_part()
    _note(tx, opportunity, "member_removed", {"member_id": member_id})


def _not_a_part() -> NotFound:
    return NotFound("This member does not take part in the opportunity.")


def _require_owner(principal: Principal, opportunity: Row) -> None:
    if principal.reach is Reach.OWN and opportunity["owner_id"] != principal.member_id:
        raise Forbidden("Only the owner and managers say who takes part.")


def _note(tx: Tx, opportunity: Row, action: str, data: dict[str, Any]) -> None:
    tx.effects.emit(
        Event(
            type=f"opportunity.{action}",
            subject_type="opportunity",
            subject_id=opportunity["id"],
            occurred_at=tx.now,
            data={"id": opportunity["id"], **data},
            resource_version=opportunity["version"],
            owner_id=opportunity["owner_id"],
        )
    )
    tx.effects.audit.append(
        AuditEntry(f"opportunity.{action}", "opportunity", opportunity["id"], opportunity["version"], data)
    )
