"""Rules of logins: Authorization Code with PKCE, and what comes of it.

Nothing here waits for the identity provider within a transaction.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from services.api.auth import people, sessions
from services.api.auth.keysets import Issuer
from services.api.auth.tokens import is_jwt
from services.api.errors import LoginFailed, Unauthorized, invalid
from services.api.logins import slips
from services.api.logins.schemas import LoginCompletion, LoginStart
from services.api.logins.slips import BadSlip, Slip
from services.api.settings import ApiSettings
from services.api.state import State


def lifetimes(settings: ApiSettings) -> sessions.Lifetimes:
    return sessions.Lifetimes(
        access=timedelta(seconds=settings.access_token_seconds),
        idle=timedelta(days=settings.login_idle_days),
        whole=timedelta(days=settings.login_days),
    )


def options(state: State) -> dict[str, Any]:
    shown = ("name", "issuer", "client_id", "scopes")
    all_ = state.settings.identity_providers
    return {"providers": [{name: getattr(each, name) for name in shown} for each in all_]}


async def start(state: State, body: LoginStart) -> dict[str, Any]:
    """Where to send the person, with `state`, `nonce` and an S256 challenge; raises Invalid or Unavailable."""
    issuer = _issuer(state, body.provider)
    provider = issuer.provider
    if body.redirect_uri not in provider.redirect_uris:
        raise invalid("/redirect_uri", "not_allowed", "This address is none of those set for the identity provider.")
    verifier = secrets.token_urlsafe(48)
    expires_at = state.clock.now() + slips.LIFETIME
    slip = Slip(
        provider=provider.name,
        state=secrets.token_urlsafe(24),
        nonce=secrets.token_urlsafe(24),
        verifier=verifier,
        redirect_uri=body.redirect_uri,
        workspace_id=None if body.workspace_id is None else str(body.workspace_id),
        expires_at=expires_at.timestamp(),
    )
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": slip.redirect_uri,
        "scope": provider.scopes,
        "state": slip.state,
        "nonce": slip.nonce,
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
    }
    endpoint = await issuer.endpoint("authorization_endpoint")
    return {
        "authorization_url": f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}",
        "state": slip.state,
        "slip": slips.seal(slip, state.settings.secret_key.get_secret_value()),
        "expires_at": expires_at,
    }


async def complete(state: State, body: LoginCompletion) -> dict[str, Any]:
    """The tokens of a new session; raises LoginFailed, NotAMember, BadRequest or Unavailable."""
    try:
        slip = slips.unseal(body.slip, state.settings.secret_key.get_secret_value(), state.clock.now())
    except BadSlip:
        raise LoginFailed("The slip is not one of ours, or has run out: begin again.") from None
    if not hmac.compare_digest(slip.state.encode(), body.state.encode()):
        raise LoginFailed("The state is that of another login.")
    issuer = state.identities.tokens.by_name.get(slip.provider)
    if issuer is None:
        raise LoginFailed("The identity provider of this login is no longer set.")
    try:
        claims = await state.identities.tokens.check_login(issuer, await _exchange(issuer, slip, body.code), slip.nonce)
    except Unauthorized as error:
        raise LoginFailed(error.detail) from error
    database = state.database
    asked = None if slip.workspace_id is None else UUID(slip.workspace_id)
    workspace_id = await people.choose_workspace(database, claims, asked)
    async with database.transaction(workspace_id) as tx:
        member = await people.find_member(tx, claims, hold=True)
        return await sessions.open_session(tx, member["member_id"], claims.issuer, lifetimes(state.settings))


async def revoke(state: State, token: str) -> None:
    """Logs out: a session of ours ends, a token of the identity provider's is taken no more; others are let be."""
    state.identities.drop(token)
    if not is_jwt(token):
        await sessions.end(state.database, token)
        return
    try:
        claims = await state.identities.tokens.check(token)
    except Unauthorized:
        return
    await people.revoke(state.database, claims)


def _issuer(state: State, name: str | None) -> Issuer:
    known = state.identities.tokens.by_name
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name is None or name not in known:
        there_are = f"There are: {', '.join(sorted(known))}." if known else "None is set here."
        raise invalid("/provider", "unknown_reference", f"There is no such identity provider. {there_are}")
    return known[name]


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def _exchange(issuer: Issuer, slip: Slip, code: str) -> str:
    """The ID token that a code is worth; raises LoginFailed or Unavailable."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": slip.redirect_uri,
        "client_id": issuer.provider.client_id,
        "code_verifier": slip.verifier,
    }
    status, answer = await issuer.post(await issuer.endpoint("token_endpoint"), form)
    token = answer.get("id_token")
    if status != 200 or not isinstance(token, str):
        raise LoginFailed("The identity provider does not take the code: it has been used, or has run out.")
    return token
