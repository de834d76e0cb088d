"""Rules of what a member has of logins: who may see it, and what ends with it.

A link that is ended stays, unlinked: its subject could be linked again by the same e-mail at once, and nothing would
have ended. An administrator takes it up again where that was a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Boolean, func

from services.api import resources
from services.api.auth.people import note
from services.api.errors import Forbidden, NotFound
from services.api.filters import by_time, equals, is_null
from services.api.members.resource import MEMBERS
from services.api.pagination import Cursors, Filter, ListParams
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row, Tx, sql
from shared.models import member_identities, sessions
from shared.tenancy import Principal

_LINK_SHOWN: Final = ("id", "member_id", "issuer", "subject", "recorded_at", "last_used_at", "unlinked_at")
_SESSION_SHOWN: Final = ("id", "member_id", "issuer", "recorded_at", "updated_at")
_ENDS: Final = func.least(sessions.c.refresh_expires_at, sessions.c.expires_at)
_IS_LIVE: Final = sessions.c.revoked_at.is_(None) & (func.now() < _ENDS)
_UNLINK: Final = sql(
    "UPDATE sales.member_identities SET unlinked_at = :now WHERE workspace_id = :workspace_id AND id = :id"
    " AND member_id = :member_id AND unlinked_at IS NULL RETURNING issuer"
)
_RELINK: Final = sql(
    "UPDATE sales.member_identities SET unlinked_at = NULL WHERE workspace_id = :workspace_id AND id = :id"
    " AND member_id = :member_id AND unlinked_at IS NOT NULL"
)
_LINK: Final = sql(
    f"SELECT {', '.join(_LINK_SHOWN)} FROM sales.member_identities"
    " WHERE workspace_id = :workspace_id AND id = :id AND member_id = :member_id"
)
# All of a member's that are live; with `issuer` or `id`, only those.
_END: Final = sql(
    """
    UPDATE sales.sessions SET revoked_at = CAST(:now AS timestamptz), updated_at = CAST(:now AS timestamptz)
    WHERE workspace_id = :workspace_id AND member_id = :member_id AND revoked_at IS NULL
      AND least(refresh_expires_at, expires_at) > CAST(:now AS timestamptz)
      AND (CAST(:issuer AS text) IS NULL OR issuer = CAST(:issuer AS text))
      AND (CAST(:id AS uuid) IS NULL OR id = CAST(:id AS uuid))
    """
)
_SESSION: Final = sql(
    "SELECT EXISTS (SELECT FROM sales.sessions WHERE workspace_id = :workspace_id AND id = :id"
    " AND member_id = :member_id)"
)
Providers = Mapping[str, str]


def _session_wire(row: Row) -> dict[str, Any]:
    expires_at = min(row["refresh_expires_at"], row["expires_at"])
    return {**columns(row, _SESSION_SHOWN), "expires_at": expires_at, "ended_at": row["revoked_at"]}


LINKS: Final = Resource(
    name="member_login",
    path="/v1/members/{id}/logins",
    table=member_identities,
    wire=lambda row: columns(row, _LINK_SHOWN),
    default_sort="-recorded_at",
    sorts={"recorded_at": by_time(member_identities.c.recorded_at, "recorded_at")},
    filters={
        "member_id": equals(member_identities.c.member_id),
        "linked": is_null(member_identities.c.unlinked_at),
    },
)
SESSIONS: Final = Resource(
    name="member_session",
    path="/v1/members/{id}/sessions",
    table=sessions,
    wire=_session_wire,
    default_sort="-recorded_at",
    sorts={"recorded_at": by_time(sessions.c.recorded_at, "recorded_at")},
    filters={
        "member_id": equals(sessions.c.member_id),
        "live": Filter(lambda value: value == _IS_LIVE, Boolean()),
    },
)


async def page(
    tx: Tx,
    principal: Principal,
    resource: Resource,
    member_id: UUID,
    params: ListParams,
    cursors: Cursors,
    providers: Providers,
) -> dict[str, Any]:
    """A page of one's own links or sessions, or (administrators) anybody's. `providers` names issuers."""
    await _check_member(tx, principal, member_id, own=True)
    fixed = {"member_id": member_id}
    wire = _named(resource.wire, providers)
    return await resources.fetch_page(tx, principal, resource, params, cursors, fixed=fixed, wire=wire)


async def unlink(tx: Tx, principal: Principal, member_id: UUID, id_: UUID) -> None:
    """Ends a link, and every session that came of it. Doing so again changes nothing."""
    await _check_member(tx, principal, member_id)
    issuer = await tx.value(_UNLINK, id=id_, member_id=member_id, now=tx.now)
    if issuer is None:
        await _link(tx, member_id, id_)
        return
    note(tx, "member.identity_unlinked", member_id)
    if await tx.run(_END, member_id=member_id, now=tx.now, issuer=issuer, id=None):
        note(tx, "member.sessions_ended", member_id)


async def relink(tx: Tx, principal: Principal, member_id: UUID, id_: UUID, providers: Providers) -> dict[str, Any]:
    """Takes up a link that was ended; refused by the database where the member has another of that issuer."""
    await _check_member(tx, principal, member_id)
    if await tx.run(_RELINK, id=id_, member_id=member_id):
        note(tx, "member.identity_restored", member_id)
    return _named(LINKS.wire, providers)(await _link(tx, member_id, id_))


async def end_session(tx: Tx, principal: Principal, member_id: UUID, id_: UUID) -> None:
    """Ends one session. Doing so again changes nothing."""
    await _check_member(tx, principal, member_id, own=True)
    if await tx.run(_END, member_id=member_id, now=tx.now, issuer=None, id=id_):
        note(tx, "member.session_ended", member_id)
    elif not await tx.value(_SESSION, id=id_, member_id=member_id):
        raise NotFound("There is no such session of this member.")


async def end_sessions(tx: Tx, principal: Principal, member_id: UUID) -> int:
    """Ends all sessions of a member; how many those were."""
    await _check_member(tx, principal, member_id, own=True)
    ended = await tx.run(_END, member_id=member_id, now=tx.now, issuer=None, id=None)
    if ended:
        note(tx, "member.sessions_ended", member_id)
    return ended


async def _check_member(tx: Tx, principal: Principal, member_id: UUID, *, own: bool = False) -> None:
    """Raises NotFound for no member of the workspace, Forbidden for somebody else's where that is not the caller's."""
    await resources.fetch_version(tx, principal, MEMBERS, member_id)
    if principal.role != "admin" and not (own and member_id == principal.member_id):
        whose = "those of others" if own else "links to identity providers"
        raise Forbidden(f"Only administrators have to do with {whose}.")


async def _link(tx: Tx, member_id: UUID, id_: UUID) -> Row:
    row = await tx.row(_LINK, id=id_, member_id=member_id)
    if row is None:
        raise NotFound("There is no such login of this member.")
    return row


def _named(wire: Callable[[Row], dict[str, Any]], providers: Providers) -> Callable[[Row], dict[str, Any]]:
    return lambda row: {**wire(row), "provider": providers.get(row["issuer"])}
