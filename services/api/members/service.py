"""Rules of members: a workspace always has an active administrator, and capacities are nested (D9.3)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from uuid import UUID

from services.api import resources
from services.api.errors import Conflict, invalid
from services.api.members.resource import CAPACITIES, MEMBERS
from services.api.members.schemas import MemberCreate, MemberPatch, MemberUpsert
from services.api.opportunities.handover import END_PINS
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.owners import OWNING_ROLES
from services.api.resources import changes_of
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.effects import Mark
from shared.tenancy import Principal

# Two administrators who demote each other at one moment must not both succeed.
ONE_AT_A_TIME = sql("SELECT id FROM sales.workspaces WHERE id = :workspace_id FOR NO KEY UPDATE")
OTHER_ADMINS = sql(
    "SELECT count(*) FROM sales.members WHERE workspace_id = :workspace_id AND role = 'admin' AND active"
    " AND id <> :member_id"
)
RELEASE = sql(
    "UPDATE sales.opportunities SET owner_id = NULL, owner_changed_at = :now, updated_at = :now, version = version + 1"
    " WHERE workspace_id = :workspace_id AND owner_id = :member_id AND status = 'open' AND deleted_at IS NULL"
    " RETURNING *"
)


async def create(tx: Tx, body: MemberCreate) -> Row:
    values = body.model_dump(exclude_none=True)
    check_capacities(values)
    row = await resources.create(tx, MEMBERS, values)
    _mark(tx, row)
    return row


async def patch(tx: Tx, principal: Principal, id_: UUID, body: MemberPatch, if_match: str | None) -> Row:
    """Changes a member. Whoever is shut out keeps their records, unless these are released."""
    changes = changes_of(body, not_null=("name", "role", "active"))
    release = changes.pop("release", None)
    if release and changes.get("active") is not False:
        raise invalid("/release", "contradiction", "Only what a member who is shut out owns can be released.")
    before = await resources.fetch(tx, principal, MEMBERS, id_, lock=True)
    check_if_match(if_match, before["version"])
    row = await _apply(tx, before, changes)
    if release:
        await _release(tx, id_)
    return row


async def upsert(tx: Tx, principal: Principal, source: str, external_id: str, body: MemberUpsert) -> tuple[Row, bool]:
    """Creates or replaces by external id; True when they were created."""
    found = await resources.find_external(tx, principal, MEMBERS, source, external_id)
    if found is None:
        given = body.model_dump(exclude_unset=True)
        new = MemberCreate.model_validate({**given, "external_source": source, "external_id": external_id})
        return await create(tx, new), True
    return await _apply(tx, found, body.model_dump()), False


async def _apply(tx: Tx, before: Row, changes: dict[str, Any]) -> Row:
    after = {**dict(before), **changes}
    check_capacities(after)
    if _administers(before) and not _administers(after):
        await tx.run(ONE_AT_A_TIME)
        if not await tx.value(OTHER_ADMINS, member_id=before["id"]):
            raise Conflict("This is the last active administrator: name another one first.")
    row = await resources.change(tx, MEMBERS, before, changes)
    if any(row[name] != before[name] for name in ("active", "role", *CAPACITIES)):
        _mark(tx, row, before)
    return row


def _mark(tx: Tx, *rows: Row) -> None:
    """Whoever may own, or might, is triaged, also before owning anything: that tells what they lack."""
    if any(row["role"] in OWNING_ROLES for row in rows):
        tx.effects.mark(Mark("owner", rows[0]["id"]))


def _administers(member: Mapping[str, Any]) -> bool:
    return member["role"] == "admin" and bool(member["active"])


def check_capacities(member: Mapping[str, Any]) -> None:
    """Raises where an inner band would hold more than an outer one."""
    given = [(name, member[name]) for name in CAPACITIES if member.get(name) is not None]
    for (inner, fewer), (outer, more) in pairwise(given):
        if fewer > more:
            raise invalid(f"/{outer}", "not_nested", f"{outer} can't be less than {inner}: the bands are nested.")


async def _release(tx: Tx, member_id: UUID) -> None:
    """Puts the member's open opportunities into the assignment queue; stage, passages and history stay."""
    rows = await tx.rows(RELEASE, member_id=member_id, now=tx.now)
    for row in rows:
        resources.note(tx, OPPORTUNITIES, "reassigned", {**dict(row), "owner_id": member_id}, row)
        tx.effects.events[-1].data |= {"from_owner_id": member_id, "reason": "member_deactivated"}
    await tx.run(END_PINS, now=tx.now, subjects=[row["id"] for row in rows])
