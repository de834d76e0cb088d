"""From a key to a principal: one statement inside the key's own workspace, remembered for a moment.

A verified key is remembered for `identity_ttl` seconds (2 by default), so that a busy client pays for one look-up in
that time. Revoking a key or changing a member forgets it at once in the process that does it, and within the ttl in
the others.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from services.api.auth import people, sessions
from services.api.auth.keys import ParsedKey, parse_key
from services.api.auth.tokens import Tokens, is_jwt
from services.api.errors import Unauthorized
from shared.catalog.people import ROLE_SCOPES
from shared.db import Database, Row, sql
from shared.tenancy import Principal, Reach

FIND = sql(
    """
    SELECT k.member_id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at, m.name, m.role, m.active,
      now() AS now,
      ARRAY(SELECT tm.member_id FROM sales.teams t
        JOIN sales.team_members tm ON tm.workspace_id = t.workspace_id AND tm.team_id = t.id
        WHERE t.workspace_id = k.workspace_id AND t.manager_id = k.member_id) AS team
    FROM sales.api_keys k
    JOIN sales.members m ON m.workspace_id = k.workspace_id AND m.id = k.member_id
    WHERE k.workspace_id = :workspace_id AND k.id = :key_id
    """
)
TOUCH = sql(
    "UPDATE sales.api_keys SET last_used_at = now() WHERE workspace_id = :workspace_id AND id = :key_id"
    " AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"
)
REACH = {"rep": Reach.OWN, "manager": Reach.TEAM}
REMEMBERED = 10_000


class Identities:
    """The verified keys and tokens of this process."""

    def __init__(self, database: Database, ttl: float, tokens: Tokens | None = None) -> None:
        self._database = database
        self._ttl = ttl
        self._known: dict[tuple[str, UUID | None], tuple[float, Principal]] = {}
        self.tokens = tokens or Tokens(())

    async def principal(self, key: str, workspace_id: UUID | None = None) -> Principal:
        """Who holds this key or token; raises Unauthorized, saying no more than that.

        `workspace_id` is the one asked for; it chooses among those a token is good for.
        """
        if (known := self.known(key, workspace_id)) is not None:
            return known
        principal, ttl = await self._verify(key, workspace_id)
        if workspace_id is not None and principal.workspace_id != workspace_id:
            raise Unauthorized("The key is one of another workspace than Sixteen-Workspace says.")
        if ttl > 0:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key, workspace_id] = (time.monotonic() + ttl, principal)
        return principal

    def known(self, key: str, workspace_id: UUID | None = None) -> Principal | None:
        """Who was verified a moment ago."""
        known = self._known.get((key, workspace_id))
        return known[1] if known is not None and known[0] > time.monotonic() else None

    async def _verify(self, key: str, workspace_id: UUID | None) -> tuple[Principal, float]:
        """Who it is, and for how many seconds that may be remembered."""
        if is_jwt(key):
            return await self._of_token(key, workspace_id)
        if key.startswith(sessions.ACCESS):
            row = await sessions.find(self._database, key)
            left = (row["access_expires_at"] - datetime.now(UTC)).total_seconds()
            return _of_row(row["workspace_id"], row, row["id"]), min(self._ttl, left)
        parsed = parse_key(key)
        if parsed is None:
            raise Unauthorized("The API key is malformed.")
        return await self._look_up(parsed), self._ttl

    async def _of_token(self, key: str, asked: UUID | None) -> tuple[Principal, float]:
        claims = await self.tokens.check(key)
        await people.refuse_revoked(self._database, claims.issuer, claims.jti)
        workspace_id = await people.choose_workspace(self._database, claims, asked)
        async with self._database.transaction(workspace_id) as tx:
            row = await people.find_member(tx, claims)
        principal = replace(_of_row(workspace_id, row), token=claims.origin)
        return principal, min(self._ttl, claims.expires_at - time.time())

    def drop(self, key: str) -> None:
        """Forgets one key or token: it was given back."""
        for remembered in [each for each in self._known if each[0] == key]:
            del self._known[remembered]

    def remembers(self, key: str, workspace_id: UUID | None = None) -> bool:
        """Whether the key opened something here before; it may have run out since."""
        return (key, workspace_id) in self._known

    def forget(self, workspace_id: UUID) -> None:
        """Forgets a workspace's keys: a key was revoked, or a role, a team or a member has changed."""
        for remembered in [place for place, (_, who) in self._known.items() if who.workspace_id == workspace_id]:
            del self._known[remembered]

    async def _look_up(self, parsed: ParsedKey) -> Principal:
        async with self._database.transaction(parsed.workspace_id) as tx:
            row = await tx.row(FIND, key_id=parsed.key_id)
            if row is None or not hmac.compare_digest(row["secret_hash"], parsed.secret_hash):
                raise Unauthorized("The API key is not known.")
            if row["revoked_at"] is not None:
                raise Unauthorized("The API key has been revoked.")
            if row["expires_at"] is not None and row["expires_at"] <= row["now"]:
                raise Unauthorized("The API key has expired.")
            if not row["active"]:
                raise Unauthorized("The member of this key is no longer active.")
            await tx.run(TOUCH, key_id=parsed.key_id)
        return make_principal(
            parsed.workspace_id, row["member_id"], row["role"], row["scopes"], row["team"], row["name"], parsed.key_id
        )


def _of_row(workspace_id: UUID, row: Row, session_id: UUID | None = None) -> Principal:
    return make_principal(
        workspace_id, row["member_id"], row["role"], None, row["team"], row["name"], session_id=session_id
    )


def make_principal(
    workspace_id: UUID,
    member_id: UUID,
    role: str,
    scopes: list[str] | None = None,
    team: list[UUID] | None = None,
    name: str = "",
    key_id: UUID | None = None,
    session_id: UUID | None = None,
) -> Principal:
    """A principal with the rights of its role, narrowed to `scopes` where a key names some."""
    allowed = ROLE_SCOPES[role]
    return Principal(
        workspace_id=workspace_id,
        member_id=member_id,
        role=role,
        reach=REACH.get(role, Reach.ALL),
        scopes=allowed & frozenset(scopes) if scopes else allowed,
        owner_ids=tuple(dict.fromkeys([member_id, *(team or [])])),
        name=name,
        key_id=key_id,
        session_id=session_id,
    )
