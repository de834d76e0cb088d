"""Rules of teams: a manager sees the records of the members of the teams they run (DOMAIN §13)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.api import resources
from services.api.errors import FieldError, Invalid, wrong
from services.api.resources import changes_of
from services.api.teams.resource import TEAMS
from services.api.teams.schemas import TeamCreate, TeamPatch
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.tenancy import Principal

PEOPLE = sql(
    "SELECT (SELECT role FROM sales.members WHERE workspace_id = :workspace_id AND active"
    " AND id = CAST(:manager_id AS uuid)) AS manager_role,"
    " ARRAY(SELECT id FROM sales.members WHERE workspace_id = :workspace_id"
    " AND id = ANY(CAST(:member_ids AS uuid[]))) AS member_ids"
)
NAME_MEMBERS = sql(
    "WITH gone AS (DELETE FROM sales.team_members WHERE workspace_id = :workspace_id AND team_id = :team_id"
    " AND member_id <> ALL(CAST(:member_ids AS uuid[])))"
    " INSERT INTO sales.team_members (workspace_id, team_id, member_id)"
    " SELECT :workspace_id, :team_id, m.id FROM unnest(CAST(:member_ids AS uuid[])) AS m(id)"
    " ON CONFLICT DO NOTHING"
)
REMOVE = sql(
    "WITH gone AS (DELETE FROM sales.team_members WHERE workspace_id = :workspace_id AND team_id = :team_id)"
    " DELETE FROM sales.teams WHERE workspace_id = :workspace_id AND id = :team_id"
)


async def get(tx: Tx, principal: Principal, id_: UUID, *, lock: bool = False) -> Row:
    """A team with its members; raises NotFound."""
    return await resources.fetch(tx, principal, TEAMS, id_, lock=lock)


async def create(tx: Tx, body: TeamCreate) -> Row:
    await _check_people(tx, body.manager_id, body.member_ids)
    row = await resources.create(tx, TEAMS, body.model_dump(exclude_none=True, exclude={"member_ids"}))
    tx.effects.events[-1].data["member_ids"] = body.member_ids
    tx.effects.audit[-1].changes["member_ids"] = [None, body.member_ids]
    await tx.run(NAME_MEMBERS, team_id=row["id"], member_ids=body.member_ids)
    return {**dict(row), "member_ids": sorted(body.member_ids)}


async def patch(tx: Tx, principal: Principal, id_: UUID, body: TeamPatch, if_match: str | None) -> Row:
    changes = changes_of(body, not_null=("name", "member_ids"))
    before = await get(tx, principal, id_, lock=True)
    check_if_match(if_match, before["version"])
    present = list(before["member_ids"] or ())
    member_ids = sorted(changes.pop("member_ids", present))
    regrouped = member_ids != sorted(present)
    await _check_people(tx, changes.get("manager_id"), member_ids if regrouped else ())
    if regrouped:
        await tx.run(NAME_MEMBERS, team_id=id_, member_ids=member_ids)
        changes["updated_at"] = tx.now
    row = await resources.change(tx, TEAMS, before, changes)
    if row is not before:
        tx.effects.events[-1].data["member_ids"] = member_ids
        if regrouped:
            tx.effects.audit[-1].changes["member_ids"] = [present, member_ids]
    return {**dict(row), "member_ids": member_ids}


async def delete(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> None:
    """Removes a team for good; its members stay, and the audit trail keeps that it was there."""
    before = await get(tx, principal, id_, lock=True)
    check_if_match(if_match, before["version"])
    await tx.run(REMOVE, team_id=id_)
    resources.note(tx, TEAMS, "deleted", before, before)


async def _check_people(tx: Tx, manager_id: UUID | None, member_ids: Sequence[UUID]) -> None:
    found = await tx.row(PEOPLE, manager_id=manager_id, member_ids=list(member_ids))
    assert found is not None  # noqa: S101 - a select of scalars always gives one row
    errors: list[FieldError] = []
    if manager_id is not None and found["manager_role"] not in {"manager", "admin"}:
        errors.append(wrong("/manager_id", "unknown_reference", "There is no active manager with this id."))
    present = set(found["member_ids"])
    errors += [
        wrong(f"/member_ids/{place}", "unknown_reference", "There is no member with this id.")
        for place, member_id in enumerate(member_ids)
        if member_id not in present
    ]
    if errors:
        raise Invalid(errors[0].message, errors=errors)
