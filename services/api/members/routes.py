"""Members over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.fields import ExternalText
from services.api.members import schemas, service
from services.api.members.forgetting import forgetting
from services.api.members.resource import MEMBERS
from services.api.pagination import Page
from services.api.routing import IfMatch, Router, answers
from services.api.wire import answer, created, one
from shared.tenancy import Principal

router = Router(prefix="/v1/members", tags=["members"])
MembersRead = Annotated[Principal, requires("members:read")]
MembersWrite = Annotated[Principal, requires("members:write")]


@router.get("", response_model=Page[schemas.Member], operation_id="listMembers")
async def list_members(
    request: Request, principal: MembersRead, tx: EdgeTransaction, params: Annotated[schemas.MemberFilters, Query()]
) -> Response:
    """Members of the workspace, a page at a time."""
    return answer(await resources.fetch_page(tx, principal, MEMBERS, params, request.app.state.cursors))


@router.post(
    "",
    status_code=201,
    response_model=schemas.Member,
    operation_id="createMember",
    dependencies=[requires("members:write")],
)
async def create_member(tx: EdgeTransaction, body: schemas.MemberCreate) -> Response:
    """Takes somebody into the workspace; a key of their own is made under /v1/api-keys."""
    row = await service.create(tx, body)
    return created(MEMBERS.wire(row), f"{MEMBERS.path}/{row['id']}", row["version"])


@router.get("/{id}", response_model=schemas.Member, operation_id="getMember")
async def get_member(request: Request, principal: MembersRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One member."""
    row = await resources.fetch(tx, principal, MEMBERS, id)
    return one(request, MEMBERS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Member, operation_id="updateMember")
async def update_member(
    request: Request,
    principal: MembersWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.MemberPatch,
    if_match: IfMatch = None,
) -> Response:
    """Changes a member (JSON merge-patch); the last active administrator stays one."""
    row = await service.patch(tx, principal, id, body, if_match)
    return forgetting(request, principal, answer(MEMBERS.wire(row), version=row["version"]))


@router.put(
    "/by-external-id/{source}/{external_id}",
    response_model=schemas.Member,
    responses=answers(201, schemas.Member),
    operation_id="upsertMember",
)
async def upsert_member(
    request: Request,
    principal: MembersWrite,
    tx: EdgeTransaction,
    source: ExternalText,
    external_id: ExternalText,
    body: schemas.MemberUpsert,
) -> Response:
    """Creates or replaces the member that another system knows under this id."""
    row, is_new = await service.upsert(tx, principal, source, external_id, body)
    if is_new:
        return created(MEMBERS.wire(row), f"{MEMBERS.path}/{row['id']}", row["version"])
    return forgetting(request, principal, answer(MEMBERS.wire(row), version=row["version"]))
