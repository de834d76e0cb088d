"""Sessions: what a login leaves. A short-lived access token, and a refresh token that is good once.

Both name their workspace and session, so that they are looked up inside the workspace, under row-level security; only
digests of their secrets are stored. A refresh token that comes a second time has been in two hands: its session ends.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.api.auth.people import note
from services.api.errors import Unauthorized
from shared.db import Database, Row, Tx, sql
from shared.ids import new_id
from shared.outbox import write_effects

ACCESS, REFRESH = "sixteen_access_", "sixteen_refresh_"
_SECRET: Final = 24
_MOST_USED: Final = 50
_MAKE: Final = sql(
    "INSERT INTO sales.sessions (workspace_id, id, member_id, issuer, access_hash, access_expires_at, refresh_hash,"
    " refresh_expires_at, expires_at, recorded_at, updated_at) VALUES (:workspace_id, :id, :member_id, :issuer,"
    " :access_hash, :access_expires_at, :refresh_hash, :refresh_expires_at, :expires_at, :now, :now)"
)
# Sessions of a member that ended a while ago are swept by that member's next login.
_SWEEP: Final = sql(
    "DELETE FROM sales.sessions WHERE workspace_id = :workspace_id AND member_id = :member_id"
    " AND least(refresh_expires_at, expires_at, coalesce(revoked_at, 'infinity')) < :before"
)
_FIND: Final = sql(
    """
    SELECT s.*, m.role, m.name, m.active, ARRAY(SELECT tm.member_id FROM sales.teams t
        JOIN sales.team_members tm ON tm.workspace_id = t.workspace_id AND tm.team_id = t.id
        WHERE t.workspace_id = m.workspace_id AND t.manager_id = m.id) AS team
    FROM sales.sessions s
    JOIN sales.members m ON m.workspace_id = s.workspace_id AND m.id = s.member_id
    WHERE s.workspace_id = :workspace_id AND s.id = :id
    """
)
_LOCK: Final = sql("SELECT FROM sales.sessions WHERE workspace_id = :workspace_id AND id = :id FOR NO KEY UPDATE")
_ROTATE: Final = sql(
    "UPDATE sales.sessions SET access_hash = :access_hash, access_expires_at = :access_expires_at,"
    " refresh_hash = :refresh_hash, refresh_expires_at = :refresh_expires_at, used_hashes = :used_hashes,"
    " updated_at = :now WHERE workspace_id = :workspace_id AND id = :id"
)
_END: Final = sql(
    "UPDATE sales.sessions SET revoked_at = :now, updated_at = :now"
    " WHERE workspace_id = :workspace_id AND id = :id AND revoked_at IS NULL"
)
_REFUSED: Final = "The session is not known, or has ended: log in again."


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Of an access token; of a session that nobody refreshes; of a session at most."""

    access: timedelta
    idle: timedelta
    whole: timedelta


@dataclass(frozen=True, slots=True)
class Handle:
    """What a token says of itself; true only once the secret's digest has been compared."""

    workspace_id: UUID
    session_id: UUID
    digest: bytes


def parse(text: str, prefix: str) -> Handle | None:
    """The parts of a well-formed token; None for anything else."""
    if not text.startswith(prefix) or len(text) > 128:
        return None
    try:
        bare = text[len(prefix) :]
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    if len(raw) != 32 + _SECRET:
        return None
    return Handle(UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), hashlib.sha256(raw[32:]).digest())


def _make_token(prefix: str, workspace_id: UUID, session_id: UUID) -> tuple[str, bytes]:
    secret = secrets.token_bytes(_SECRET)
    text = base64.urlsafe_b64encode(workspace_id.bytes + session_id.bytes + secret).decode().rstrip("=")
    return prefix + text, hashlib.sha256(secret).digest()


async def open_session(tx: Tx, member_id: UUID, issuer: str, lifetimes: Lifetimes) -> dict[str, Any]:
    """A new session's tokens; writes its own effects."""
    id_, ends = new_id(), tx.now + lifetimes.whole
    body, values = _tokens(tx, id_, member_id, lifetimes, ends)
    await tx.run(_SWEEP, member_id=member_id, before=tx.now - timedelta(days=30))
    await tx.run(_MAKE, **values, member_id=member_id, issuer=issuer, expires_at=ends)
    note(tx, "member.logged_in", member_id)
    await write_effects(tx, actor_id=member_id)
    return body


async def refresh(database: Database, text: str, lifetimes: Lifetimes) -> dict[str, Any]:
    """The session's next tokens; raises Unauthorized, and ends a session whose refresh token was used before."""
    handle = parse(text, REFRESH)
    if handle is None:
        raise Unauthorized(_REFUSED)
    reused = False
    async with database.transaction(handle.workspace_id) as tx:
        await tx.row(_LOCK, id=handle.session_id)
        row = await tx.row(_FIND, id=handle.session_id)
        if row is None or _has_ended(row, tx):
            raise Unauthorized(_REFUSED)
        if not hmac.compare_digest(row["refresh_hash"], handle.digest):
            reused = any(hmac.compare_digest(used, handle.digest) for used in row["used_hashes"])
            if not reused:
                raise Unauthorized(_REFUSED)
            await tx.run(_END, id=handle.session_id, now=tx.now)
            note(tx, "member.session_ended", row["member_id"])
            await write_effects(tx)
        else:
            body, values = _tokens(tx, row["id"], row["member_id"], lifetimes, row["expires_at"])
            used = [*row["used_hashes"], row["refresh_hash"]][-_MOST_USED:]
            await tx.run(_ROTATE, **values, used_hashes=used)
    if reused:
        raise Unauthorized("The refresh token was used before: the session has been ended. Log in again.")
    return body


async def find(database: Database, text: str) -> Row:
    """The session and member of an access token; raises Unauthorized."""
    handle = parse(text, ACCESS)
    if handle is None:
        raise Unauthorized("The access token is malformed.")
    async with database.transaction(handle.workspace_id) as tx:
        row = await tx.row(_FIND, id=handle.session_id)
        if row is None or not hmac.compare_digest(row["access_hash"], handle.digest):
            raise Unauthorized("The access token is not known: refresh it, or log in again.")
        if _has_ended(row, tx):
            raise Unauthorized(_REFUSED)
        if row["access_expires_at"] <= tx.now:
            raise Unauthorized("The access token has expired: refresh it.")
    return row


async def end(database: Database, text: str) -> None:
    """Ends the session of one of its tokens; one that is not known changes nothing."""
    handle = parse(text, ACCESS) or parse(text, REFRESH)
    if handle is None:
        return
    async with database.transaction(handle.workspace_id) as tx:
        row = await tx.row(_FIND, id=handle.session_id)
        if row is None:
            return
        known = (row["access_hash"], row["refresh_hash"], *row["used_hashes"])
        is_known = any(hmac.compare_digest(each, handle.digest) for each in known)
        if is_known and await tx.run(_END, id=handle.session_id, now=tx.now):
            note(tx, "member.logged_out", row["member_id"])
            await write_effects(tx, actor_id=row["member_id"])


def _has_ended(row: Row, tx: Tx) -> bool:
    over = min(row["refresh_expires_at"], row["expires_at"]) <= tx.now
    return over or row["revoked_at"] is not None or not row["active"]


def _tokens(
    tx: Tx, id_: UUID, member_id: UUID, lifetimes: Lifetimes, ends: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pair of tokens as it is told, and as it is stored."""
    access, access_hash = _make_token(ACCESS, tx.workspace_id, id_)
    refresh_token, refresh_hash = _make_token(REFRESH, tx.workspace_id, id_)
    access_ends, refresh_ends = min(tx.now + lifetimes.access, ends), min(tx.now + lifetimes.idle, ends)
    body = {
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": int((access_ends - tx.now).total_seconds()),
        "refresh_token": refresh_token,
        "refresh_expires_at": refresh_ends,
        "workspace_id": tx.workspace_id,
        "member_id": member_id,
    }
    stored = {
        "id": id_,
        "access_hash": access_hash,
        "access_expires_at": access_ends,
        "refresh_hash": refresh_hash,
        "refresh_expires_at": refresh_ends,
        "now": tx.now,
    }
    return body, stored
