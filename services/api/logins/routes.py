"""Logins over HTTP. These routes ask for no key: who calls them is about to get one."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request, Response

from services.api.auth import sessions
from services.api.logins import schemas, service
from services.api.routing import Router
from services.api.state import State
from services.api.wire import answer, no_content


async def counted(request: Request) -> None:
    """Each address may log in so many times a minute."""
    state: State = request.app.state.sixteen
    await state.limits.begin_login(request.scope)


router = Router(prefix="/v1/logins", tags=["logins"], dependencies=[Depends(counted)])
_LOGIN: dict[str, Any] = {"x-error-codes": ["login_failed", "not_a_member"]}


@router.get("/options", response_model=schemas.LoginOptions, operation_id="getLoginOptions")
async def get_login_options(request: Request) -> Response:
    """The identity providers people may log in with; a page shows a button for each."""
    return answer(service.options(request.app.state.sixteen))


@router.post("", response_model=schemas.LoginStarted, operation_id="startLogin")
async def start_login(request: Request, body: schemas.LoginStart) -> Response:
    """Begins a login (OpenID Connect, Authorization Code with PKCE).

    Keep `state` and `slip` in the page, send the person to `authorization_url`, and when they come back to
    `redirect_uri` send `code` and `state` from the address, with the slip, to `/v1/logins:complete`.
    """
    return answer(await service.start(request.app.state.sixteen, body))


@router.post(":complete", response_model=schemas.LoginTokens, operation_id="completeLogin", openapi_extra=_LOGIN)
async def complete_login(request: Request, body: schemas.LoginCompletion) -> Response:
    """Completes a login: the answer opens the api as the member whom the identity provider names.

    Somebody who is no member of the workspace is refused with `not_a_member`: an administrator invites them by making
    a member with their e-mail address.
    """
    return answer(await service.complete(request.app.state.sixteen, body))


@router.post(":refresh", response_model=schemas.LoginTokens, operation_id="refreshLogin")
async def refresh_login(request: Request, body: schemas.LoginRefresh) -> Response:
    """The next pair of tokens. A refresh token is good once: one that comes again ends the whole login.

    A page that is open in several tabs lets one of them refresh (Web Locks), so that none is logged out.
    """
    state: State = request.app.state.sixteen
    return answer(await sessions.refresh(state.database, body.refresh_token, service.lifetimes(state.settings)))


@router.post(":revoke", status_code=204, operation_id="revokeLogin")
async def revoke_login(request: Request, body: schemas.LoginRevocation) -> Response:
    """Logs out. A token that is not known is no error; no process takes a revoked one for longer than a moment."""
    await service.revoke(request.app.state.sixteen, body.token)
    return no_content()
