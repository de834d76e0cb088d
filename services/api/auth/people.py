"""From what a token says to a member of a workspace: by the link of issuer and subject, or by a verified e-mail once.

The first token with a verified e-mail that is a member's links its subject to that member; from then on the link
decides, and the e-mail of neither side matters. A member has one subject of each issuer. A link that was ended stays
as such: its subject is not linked again by an e-mail, or ending it would have ended nothing.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from services.api.auth.tokens import Claims
from services.api.errors import BadRequest, NotAMember, Unauthorized, invalid
from shared.db import Database, Row, Tx, sql
from shared.effects import AuditEntry
from shared.ids import new_id
from shared.outbox import write_effects

# Tokens may be good in several workspaces: those that were given back are under no workspace's id.
NOBODYS: Final = UUID(int=0)
_TEAM: Final = (
    "ARRAY(SELECT tm.member_id FROM sales.teams t"
    " JOIN sales.team_members tm ON tm.workspace_id = t.workspace_id AND tm.team_id = t.id"
    " WHERE t.workspace_id = m.workspace_id AND t.manager_id = m.id) AS team"
)
_LINKED: Final = sql(
    f"SELECT m.id AS member_id, m.role, m.name, m.active, {_TEAM} FROM sales.member_identities i"
    " JOIN sales.members m ON m.workspace_id = i.workspace_id AND m.id = i.member_id"
    " WHERE i.workspace_id = :workspace_id AND i.issuer = :issuer AND i.subject = :subject AND i.unlinked_at IS NULL"
)
# When it was last used is kept to the minute; a login holds the link until its session stands.
_TOUCH: Final = sql(
    "UPDATE sales.member_identities SET last_used_at = CAST(:now AS timestamptz) WHERE workspace_id = :workspace_id"
    " AND issuer = :issuer AND subject = :subject AND unlinked_at IS NULL AND (CAST(:hold AS boolean)"
    " OR last_used_at IS NULL OR last_used_at < CAST(:now AS timestamptz) - interval '1 minute')"
)
_LINK: Final = sql(
    """
    INSERT INTO sales.member_identities (workspace_id, id, member_id, issuer, subject, recorded_at)
    SELECT m.workspace_id, CAST(:id AS uuid), m.id, CAST(:issuer AS text), CAST(:subject AS text),
      CAST(:now AS timestamptz)
    FROM sales.members m
    WHERE m.workspace_id = :workspace_id AND lower(m.email) = lower(CAST(:email AS text)) AND m.active
    ON CONFLICT DO NOTHING RETURNING member_id
    """
)
_WORKSPACES: Final = sql("SELECT workspace_id FROM sales.workspaces_of_identity(:issuer, :subject, 2)")
_FIRST_WORKSPACES: Final = sql(
    "SELECT workspace_id FROM sales.workspaces_of_email(:email, :issuer, :subject, CAST(:among AS uuid[]), 2)"
)
_REVOKED: Final = sql(
    "SELECT EXISTS (SELECT FROM sales.revoked_tokens WHERE workspace_id = :workspace_id AND issuer = :issuer"
    " AND jti = :jti)"
)
# What has run out by itself is swept by whoever gives the next one back.
_REVOKE: Final = sql(
    """
    WITH gone AS (
      DELETE FROM sales.revoked_tokens WHERE workspace_id = CAST(:workspace_id AS uuid)
        AND expires_at < now() - interval '1 hour'
    )
    INSERT INTO sales.revoked_tokens (workspace_id, issuer, jti, expires_at)
    VALUES (CAST(:workspace_id AS uuid), CAST(:issuer AS text), CAST(:jti AS text),
      to_timestamp(CAST(:expires_at AS double precision)))
    ON CONFLICT DO NOTHING
    """
)


async def choose_workspace(database: Database, claims: Claims, asked: UUID | None) -> UUID:
    """The workspace a token is used in: its own claim, the one asked for, or the only one there is.

    Raises BadRequest where it is left open, NotAMember where there is none or the issuer may not speak for it.
    """
    allowed = claims.provider.workspaces
    chosen = claims.workspace_id or asked or (allowed[0] if len(allowed) == 1 else None)
    if chosen is None:
        chosen = await _only_workspace(database, claims)
    if (asked is not None and asked != chosen) or (allowed and chosen not in allowed):
        raise NotAMember("The identity provider does not speak for that workspace.")
    return chosen


async def _only_workspace(database: Database, claims: Claims) -> UUID:
    """The one workspace a person is linked in; before any link, the one where their verified e-mail can make it.

    How many others there are is not told, nor which.
    """
    async with database.transaction(NOBODYS) as tx:
        known = await tx.rows(_WORKSPACES, issuer=claims.issuer, subject=claims.subject)
        if not known and claims.email is not None and claims.provider.link_by_email:
            known = await tx.rows(
                _FIRST_WORKSPACES,
                email=claims.email,
                issuer=claims.issuer,
                subject=claims.subject,
                among=list(claims.provider.workspaces) or None,
            )
    if not known:
        raise NotAMember("The token is good, but whom it names is no member of a workspace here.")
    if len(known) > 1:
        raise BadRequest(
            "Say in which workspace: a login is begun with its id as workspace_id; with a token, send it as the"
            " header Sixteen-Workspace."
        )
    only: UUID = known[0]["workspace_id"]
    return only


async def refuse_revoked(database: Database, issuer: str, jti: str | None) -> None:
    """Raises Unauthorized for a token that was given back; one without a name (None) can't have been."""
    if jti is None:
        return
    async with database.transaction(NOBODYS) as tx:
        if await tx.value(_REVOKED, issuer=issuer, jti=jti):
            raise Unauthorized("The token has been revoked.")


async def revoke(database: Database, claims: Claims) -> None:
    """Gives a token back: it opens nothing from now on. Raises Invalid where it has no name to be known by."""
    if claims.jti is None:
        raise invalid("/token", "no_jti", "The token has no jti: it can't be revoked, and ends when it expires.")
    async with database.transaction(NOBODYS) as tx:
        await tx.run(_REVOKE, issuer=claims.issuer, jti=claims.jti, expires_at=float(claims.expires_at))


async def find_member(tx: Tx, claims: Claims, *, hold: bool = False) -> Row:
    """The member of this transaction's workspace that the token names, linked now where that is due.

    With `hold` the link can't be ended before this transaction has. Raises NotAMember. Writes its own effects: a link
    is part of no request's work.
    """
    row = await tx.row(_LINKED, issuer=claims.issuer, subject=claims.subject)
    if row is None and claims.email is not None and claims.provider.link_by_email:
        row = await _link(tx, claims, claims.email)
    if row is None:
        raise NotAMember("The token is good, but whom it names is no member of this workspace.")
    if not row["active"]:
        raise NotAMember("The member whom the token names is no longer active.")
    touched = await tx.run(_TOUCH, issuer=claims.issuer, subject=claims.subject, now=tx.now, hold=hold)
    if hold and not touched:
        raise NotAMember("The token is good, but whom it names is no member of this workspace.")
    return row


async def _link(tx: Tx, claims: Claims, email: str) -> Row | None:
    id_, now = new_id(), tx.now
    member_id = await tx.value(_LINK, id=id_, issuer=claims.issuer, subject=claims.subject, email=email, now=now)
    if member_id is not None:
        note(tx, "member.identity_linked", member_id)
        await write_effects(tx)
        tx.effects.clear()
    # Another request may have made the link in the same moment.
    return await tx.row(_LINKED, issuer=claims.issuer, subject=claims.subject)


def note(tx: Tx, action: str, member_id: UUID) -> None:
    tx.effects.audit.append(AuditEntry(action, "member", member_id, None, {}))
