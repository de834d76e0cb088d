"""Tickets: an EventSource can't send headers, so it opens its stream with a short-lived secret in the address.

A ticket opens one stream, once, within 30 seconds, and no more than its maker could. Only its digest is stored. The
stream then lives and ends with what the ticket was made with: a key, a session, or a token of an identity provider.
Looking at a ticket leaves it as it is: it is taken once all else that was asked for is known to be right and there is
a place for the stream, so that neither a slip in a filter nor a refusal costs a ticket.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.api.auth import people
from services.api.auth.identity import make_principal
from services.api.errors import Unauthorized
from shared.db import Database, Row, Tx, sql
from shared.tenancy import Principal, TokenOrigin

LIFETIME: Final = timedelta(seconds=30)
PREFIX: Final = "sixteen_ticket_"
_SECRET: Final = 24
# What has run out is swept by whoever makes the next one: there is never more than half a minute's worth of them.
_MAKE: Final = sql(
    """
    WITH gone AS (
      DELETE FROM events.stream_tickets WHERE workspace_id = CAST(:workspace_id AS uuid)
        AND expires_at < CAST(:now AS timestamptz)
    )
    INSERT INTO events.stream_tickets (workspace_id, digest, member_id, key_id, session_id, scopes, expires_at,
      issuer, subject, jti, token_good_until)
    VALUES (CAST(:workspace_id AS uuid), CAST(:digest AS bytea), CAST(:member_id AS uuid), CAST(:key_id AS uuid),
      CAST(:session_id AS uuid), CAST(:scopes AS text[]), CAST(:expires_at AS timestamptz), CAST(:issuer AS text),
      CAST(:subject AS text), CAST(:jti AS text), CAST(:token_good_until AS timestamptz))
    """
)
_FIND: Final = sql(
    "SELECT member_id, key_id, session_id, scopes, expires_at, issuer, subject, jti, token_good_until"
    " FROM events.stream_tickets"
    " WHERE workspace_id = :workspace_id AND digest = :digest"
)
_TAKE: Final = sql("DELETE FROM events.stream_tickets WHERE workspace_id = :workspace_id AND digest = :digest")
# Who made the ticket, as they are now: a member who is active, and a key or session that still opens something. Who
# has neither was let in by a token of an identity provider that was not over, and by the link of whom it names.
_HOLDER: Final = sql(
    """
    SELECT m.role, m.name, ARRAY(SELECT tm.member_id FROM sales.teams t
        JOIN sales.team_members tm ON tm.workspace_id = t.workspace_id AND tm.team_id = t.id
        WHERE t.workspace_id = m.workspace_id AND t.manager_id = m.id) AS team
    FROM sales.members m
    WHERE m.workspace_id = CAST(:workspace_id AS uuid) AND m.id = CAST(:member_id AS uuid) AND m.active
      AND (CAST(:key_id AS uuid) IS NULL OR EXISTS (SELECT FROM sales.api_keys k
        WHERE k.workspace_id = m.workspace_id AND k.id = CAST(:key_id AS uuid) AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now())))
      AND (CAST(:session_id AS uuid) IS NULL OR EXISTS (SELECT FROM sales.sessions s
        WHERE s.workspace_id = m.workspace_id AND s.id = CAST(:session_id AS uuid) AND s.revoked_at IS NULL
          AND least(s.refresh_expires_at, s.expires_at) > now()))
      AND (CAST(:key_id AS uuid) IS NOT NULL OR CAST(:session_id AS uuid) IS NOT NULL
        OR (CAST(:token_good_until AS timestamptz) > now()
          AND EXISTS (SELECT FROM sales.member_identities i WHERE i.workspace_id = m.workspace_id
            AND i.issuer = CAST(:issuer AS text) AND i.subject = CAST(:subject AS text) AND i.member_id = m.id
            AND i.unlinked_at IS NULL)))
    """
)
_HELD: Final = ("member_id", "key_id", "session_id", "issuer", "subject", "token_good_until")
_NOT_GOOD: Final = "The ticket is not known, has been used, or has run out: make another one."


async def make(tx: Tx, principal: Principal) -> dict[str, Any]:
    """A new ticket of the caller's, and until when it opens something."""
    secret = secrets.token_bytes(_SECRET)
    expires_at = tx.now + LIFETIME
    token = principal.token
    await tx.run(
        _MAKE,
        digest=hashlib.sha256(secret).digest(),
        member_id=principal.member_id,
        key_id=principal.key_id,
        session_id=principal.session_id,
        scopes=sorted(principal.scopes),
        expires_at=expires_at,
        issuer=token.issuer if token else None,
        subject=token.subject if token else None,
        jti=token.jti if token else None,
        token_good_until=token.good_until if token else None,
        now=tx.now,
    )
    text = base64.urlsafe_b64encode(principal.workspace_id.bytes + secret).decode().rstrip("=")
    return {"ticket": PREFIX + text, "expires_at": expires_at}


class Ticket:
    """A ticket that was found good: who made it, asked again as often as it is called."""

    def __init__(self, database: Database, workspace_id: UUID, digest: bytes, row: Row) -> None:
        self._database = database
        self._workspace_id = workspace_id
        self._digest = digest
        self._row = row

    async def __call__(self) -> Principal:
        """The maker as they are now; raises Unauthorized."""
        made = self._row
        token = _token_of(made)
        if token is not None:
            await people.refuse_revoked(self._database, token.issuer, token.jti)
        holder = {name: made[name] for name in _HELD}
        async with self._database.transaction(self._workspace_id) as tx:
            row = await tx.row(_HOLDER, **holder)
        if row is None:
            raise Unauthorized("Whoever made the ticket may no longer call.")
        principal = make_principal(
            self._workspace_id,
            made["member_id"],
            row["role"],
            made["scopes"],
            row["team"],
            row["name"],
            made["key_id"],
            made["session_id"],
        )
        return replace(principal, token=token)

    async def take(self) -> None:
        """Uses the ticket up; raises Unauthorized where another request has done so in the meantime."""
        async with self._database.transaction(self._workspace_id) as tx:
            if not await tx.run(_TAKE, digest=self._digest):
                raise Unauthorized(_NOT_GOOD)


def _token_of(row: Row) -> TokenOrigin | None:
    """The token that a ticket was made with; None of one that was made with a key or by a session."""
    if row["issuer"] is None:
        return None
    return TokenOrigin(row["issuer"], row["subject"], row["jti"], row["token_good_until"])


async def find(database: Database, text: str, now: datetime) -> Ticket:
    """The ticket, left as it is; raises Unauthorized where it is not good."""
    try:
        raw = base64.urlsafe_b64decode(text.removeprefix(PREFIX) + "==")
    except ValueError:
        raise Unauthorized(_NOT_GOOD) from None
    if not hmac.compare_digest(text[: len(PREFIX)], PREFIX) or len(raw) != 16 + _SECRET:
        raise Unauthorized(_NOT_GOOD)
    workspace_id, digest = UUID(bytes=raw[:16]), hashlib.sha256(raw[16:]).digest()
    async with database.transaction(workspace_id) as tx:
        row = await tx.row(_FIND, digest=digest)
    if row is None or row["expires_at"] < now:
        raise Unauthorized(_NOT_GOOD)
    return Ticket(database, workspace_id, digest, row)
