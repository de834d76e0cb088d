"""Teams over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.members.forgetting import forgetting
from services.api.pagination import Page
from services.api.routing import IfMatch, Router
from services.api.teams import schemas, service
from services.api.teams.resource import TEAMS
from services.api.wire import answer, created, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/teams", tags=["teams"])
TeamsRead = Annotated[Principal, requires("teams:read")]
TeamsWrite = Annotated[Principal, requires("teams:write")]


@router.get("", response_model=Page[schemas.Team], operation_id="listTeams")
async def list_teams(
    request: Request, principal: TeamsRead, tx: EdgeTransaction, params: Annotated[schemas.TeamFilters, Query()]
) -> Response:
    """Teams with their members, a page at a time."""
    return answer(await resources.fetch_page(tx, principal, TEAMS, params, request.app.state.cursors))


@router.post("", status_code=201, response_model=schemas.Team, operation_id="createTeam")
async def create_team(
    request: Request, principal: TeamsWrite, tx: EdgeTransaction, body: schemas.TeamCreate
) -> Response:
    """Makes a team."""
    row = await service.create(tx, body)
    return forgetting(request, principal, created(TEAMS.wire(row), f"{TEAMS.path}/{row['id']}", row["version"]))


@router.get("/{id}", response_model=schemas.Team, operation_id="getTeam")
async def get_team(request: Request, principal: TeamsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One team with its members."""
    row = await service.get(tx, principal, id)
    return one(request, TEAMS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Team, operation_id="updateTeam")
async def update_team(
    request: Request,
    principal: TeamsWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.TeamPatch,
    if_match: IfMatch = None,
) -> Response:
    """Changes a team (JSON merge-patch); `member_ids` takes the place of the list there is."""
    row = await service.patch(tx, principal, id, body, if_match)
    return forgetting(request, principal, answer(TEAMS.wire(row), version=row["version"]))


@router.delete("/{id}", status_code=204, operation_id="deleteTeam")
async def delete_team(
    request: Request, principal: TeamsWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None
) -> Response:
    """Removes a team for good; its members stay."""
    await service.delete(tx, principal, id, if_match)
    return forgetting(request, principal, no_content())
