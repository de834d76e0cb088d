"""What a member has of logins over HTTP: links to identity providers, and sessions."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api.edge import EdgeTransaction, requires
from services.api.logins import member_schemas, member_service
from services.api.logins.member_service import LINKS, SESSIONS, Providers
from services.api.members.forgetting import forgetting
from services.api.pagination import Page
from services.api.routing import Router
from services.api.standard import Id
from services.api.state import State
from services.api.wire import answer, no_content
from shared.tenancy import Principal

router = Router(prefix="/v1/members/{id}", tags=["members"])
LoginsRead = Annotated[Principal, requires("logins:read")]
LoginsWrite = Annotated[Principal, requires("logins:write")]
_RESTORE: dict[str, Any] = {"x-error-codes": ["already_exists"]}


def _providers(request: Request) -> Providers:
    state: State = request.app.state.sixteen
    return {issuer: each.provider.name for issuer, each in state.identities.tokens.issuers.items()}


@router.get("/logins", response_model=Page[member_schemas.MemberLogin], operation_id="listMemberLogins")
async def list_member_logins(
    request: Request,
    principal: LoginsRead,
    tx: EdgeTransaction,
    id_: Id,
    params: Annotated[member_schemas.MemberLoginFilters, Query()],
) -> Response:
    """By whom identity providers know a member, with when each was last used; those that were ended, too.

    One's own; administrators see everybody's.
    """
    cursors = request.app.state.cursors
    return answer(await member_service.page(tx, principal, LINKS, id_, params, cursors, _providers(request)))


@router.delete("/logins/{login_id}", status_code=204, operation_id="unlinkMemberLogin")
async def unlink_member_login(
    request: Request, principal: LoginsWrite, tx: EdgeTransaction, id_: Id, login_id: UUID
) -> Response:
    """Ends a link, for administrators: a wrong one, or that of an address which somebody else has now.

    The person is nobody here from then on: all sessions that came of the link end, tokens of the provider are refused,
    and their e-mail does not link them again. Somebody else with the member's e-mail is linked as they log in.
    """
    await member_service.unlink(tx, principal, id_, login_id)
    return forgetting(request, principal, no_content())


@router.post(
    "/logins/{login_id}:restore",
    response_model=member_schemas.MemberLogin,
    operation_id="restoreMemberLogin",
    openapi_extra=_RESTORE,
)
async def restore_member_login(
    request: Request, principal: LoginsWrite, tx: EdgeTransaction, id_: Id, login_id: UUID
) -> Response:
    """Takes up a link again that was ended, for administrators; sessions that ended with it stay ended.

    Refused with `already_exists` where the member has another link to the same identity provider.
    """
    return answer(await member_service.relink(tx, principal, id_, login_id, _providers(request)))


@router.get("/sessions", response_model=Page[member_schemas.MemberSession], operation_id="listMemberSessions")
async def list_member_sessions(
    request: Request,
    principal: LoginsRead,
    tx: EdgeTransaction,
    id_: Id,
    params: Annotated[member_schemas.MemberSessionFilters, Query()],
) -> Response:
    """The sessions that a member's logins have left, those that ended in the last 30 days too.

    One's own; administrators see everybody's.
    """
    cursors = request.app.state.cursors
    return answer(await member_service.page(tx, principal, SESSIONS, id_, params, cursors, _providers(request)))


@router.delete("/sessions/{session_id}", status_code=204, operation_id="endMemberSession")
async def end_member_session(
    request: Request, principal: LoginsWrite, tx: EdgeTransaction, id_: Id, session_id: UUID
) -> Response:
    """Ends one session: its tokens open nothing from now on. One's own; administrators end anybody's."""
    await member_service.end_session(tx, principal, id_, session_id)
    return forgetting(request, principal, no_content())


@router.post(":end-sessions", response_model=member_schemas.SessionsEnded, operation_id="endMemberSessions")
async def end_member_sessions(request: Request, principal: LoginsWrite, tx: EdgeTransaction, id_: Id) -> Response:
    """Logs a member out everywhere: all sessions end, the caller's own too if they are its. Keys are not touched.

    One's own; administrators end anybody's. Tokens of an identity provider are good until they run out.
    """
    ended = await member_service.end_sessions(tx, principal, id_)
    return forgetting(request, principal, answer({"ended": ended}))
