"""Rules of API keys: nobody gives more than they hold, and a secret is shown once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.api import resources
from services.api.api_keys.resource import API_KEYS
from services.api.api_keys.schemas import ApiKeyCreate
from services.api.errors import Forbidden, Invalid, NotFound, invalid, wrong
from services.api.wire import check_if_match, dump
from services.api.workspaces.service import issue_key
from shared.catalog.people import ROLE_SCOPES
from shared.db import Row, Tx, sql
from shared.tenancy import Principal

HOLDER = sql("SELECT role FROM sales.members WHERE workspace_id = :workspace_id AND id = :member_id AND active")


class ShownOnce(Response):
    """An answer with a secret: it goes out whole, and is kept for a repeated request without the secret."""

    def __init__(self, body: dict[str, Any], secret_field: str, headers: dict[str, str]) -> None:
        super().__init__(dump(body), 201, headers, "application/json")
        self._whole = self.body
        self.body = dump({**body, secret_field: None})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.body = self._whole
        await super().__call__(scope, receive, send)


async def create(tx: Tx, principal: Principal, body: ApiKeyCreate) -> tuple[Row, str]:
    """A new key and its text, which is nowhere kept."""
    member_id = body.member_id or principal.member_id
    if member_id != principal.member_id and principal.role != "admin":
        raise Forbidden("Only administrators make keys for others.")
    if body.expires_at is not None and body.expires_at <= tx.now:
        raise invalid("/expires_at", "in_past", "A key can't have expired before it is made.")
    role = await tx.value(HOLDER, member_id=member_id)
    if role is None:
        raise invalid("/member_id", "unknown_reference", "There is no active member with this id.")
    key, key_id = await issue_key(tx, member_id, body.name, _scopes(principal, role, body), body.expires_at)
    row = await resources.fetch(tx, principal, API_KEYS, key_id)
    resources.note(tx, API_KEYS, "created", None, row)
    return row, key


def _scopes(principal: Principal, role: str, body: ApiKeyCreate) -> list[str]:
    """What the key may do; empty stands for all that the holder's role may, now and later."""
    grantable = principal.scopes & ROLE_SCOPES[role]
    if body.scopes is None:
        if not grantable:
            raise Forbidden("The caller holds nothing that this member may do.")
        return [] if grantable == ROLE_SCOPES[role] else sorted(grantable)
    errors = [
        wrong(f"/scopes/{place}", "not_held", f"{scope} is not the caller's to give, or not for this role to hold.")
        for place, scope in enumerate(body.scopes)
        if scope not in grantable
    ]
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    return body.scopes


async def get(tx: Tx, principal: Principal, id_: UUID, *, lock: bool = False) -> Row:
    """One's own key, or (administrators) anybody's; raises NotFound."""
    row = await resources.fetch(tx, principal, API_KEYS, id_, lock=lock)
    if row["member_id"] != principal.member_id and principal.role != "admin":
        raise NotFound("There is no such api key, or it is not yours to see.")
    return row


async def revoke(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> Row:
    """Ends a key; that it was there is kept. Doing so again changes nothing."""
    before = await get(tx, principal, id_, lock=True)
    check_if_match(if_match, before["version"])
    if before["revoked_at"] is not None:
        return before
    return await resources.change(tx, API_KEYS, before, {"revoked_at": tx.now}, action="revoked")
