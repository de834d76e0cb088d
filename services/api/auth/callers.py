"""Who calls: from the Authorization header to a principal that is within its limits and holds the scopes asked for."""

from __future__ import annotations

from uuid import UUID

import asyncpg
from fastapi import Request
from fastapi.security import SecurityScopes

from services.api.errors import BadRequest, Forbidden, NotAMember, Problem, TooManyRequests, Unauthorized
from services.api.state import State
from services.api.wire import as_uuid
from shared.tenancy import Principal


async def authorize(request: Request, scopes: SecurityScopes) -> Principal:
    """The caller, who must hold every scope the route names."""
    request.scope["sixteen.asked"] = True
    redeemed = request.scope.get("sixteen.redeemed")
    principal = await (_bearer(request) if redeemed is None else redeemed())
    request.scope["sixteen.principal"] = principal
    await request.app.state.sixteen.limits.admit(request.scope, principal)
    for scope in scopes.scopes:
        if scope not in principal.scopes:
            raise Forbidden(f"This needs the scope {scope}, which the caller does not hold.")
    return principal


async def count_refused(request: Request) -> None:
    """Counts a request that was refused before it was asked who sends it; raises TooManyRequests in its place.

    What is no request of ours (a method, a body, a query) costs its caller as much as one that is.
    """
    state: State | None = getattr(request.app.state, "sixteen", None)
    if state is None or "sixteen.asked" in request.scope or "authorization" not in request.headers:
        return
    request.scope["sixteen.asked"] = True
    try:
        principal = await _bearer(request)
    except Unauthorized:
        await state.limits.note_failure(request.scope)
        return
    except TooManyRequests:
        raise
    except (Problem, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        return
    request.scope["sixteen.principal"] = principal
    await state.limits.admit(request.scope, principal)


async def _bearer(request: Request) -> Principal:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key:
        raise Unauthorized("Send an API key or a token: Authorization: Bearer …")
    state: State = request.app.state.sixteen
    key, header = key.strip(), request.headers.get("sixteen-workspace")
    asked = None if header is None else _workspace_of(header)
    if (known := state.identities.known(key, asked)) is not None:
        return known
    if state.identities.remembers(key, asked):
        return await state.identities.principal(key, asked)
    try:
        async with state.limits.looking_up(request.scope):
            return await state.identities.principal(key, asked)
    except NotAMember:
        # Anybody may have a good token of a public provider: looking up whom it names is no cheaper than a guess.
        await state.limits.note_failure(request.scope)
        raise


def _workspace_of(header: str) -> UUID:
    workspace_id = as_uuid(header.strip())
    if workspace_id is None:
        raise BadRequest("Sixteen-Workspace must be the id of a workspace.")
    return workspace_id
