"""Who answers for an endpoint: it is told what they may be told, and nothing once they may not have one.

An endpoint acts for whoever made it, by the role they have now, as their keys and streams do. Where they leave, or
may no longer have endpoints, it is disabled as `orphaned` until somebody else lets it go and so answers for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.api.errors import Forbidden
from shared.catalog.people import ROLE_SCOPES
from shared.db import Tx, sql
from shared.events import EVENT_TYPES, EventType, matches
from shared.tenancy import Principal

ORPHANED: Final = "orphaned"
NEEDED: Final = frozenset(("webhooks:write", "events:read"))
# The roles that may have one.
KEEPERS: Final = [role for role, scopes in ROLE_SCOPES.items() if scopes >= NEEDED]
# What choosing among endpoints needs of their makers.
COLUMNS: Final = "m.role AS maker_role, m.active AS maker_active"
JOIN: Final = "LEFT JOIN sales.members m ON m.workspace_id = e.workspace_id AND m.id = e.created_by"
_FIND = sql(
    "SELECT role AS maker_role, active AS maker_active FROM sales.members"
    " WHERE workspace_id = :workspace_id AND id = :id"
)
# What decides where events go, and which.
_STEERING: Final = frozenset(("url", "event_types", "owner_ids", "opportunity_ids", "thin"))


def may_have(endpoint: Mapping[str, Any]) -> bool:
    """Whether the maker of an endpoint may have one now. One that nobody made is the installation's own."""
    role = endpoint.get("maker_role")
    return role is None or (bool(endpoint["maker_active"]) and role in KEEPERS)


def may_be_told(endpoint: Mapping[str, Any], type_: str) -> bool:
    """Whether an endpoint may be told of a type of event: the feed would tell its maker."""
    known, role = EVENT_TYPES.get(type_), endpoint.get("maker_role")
    return may_have(endpoint) and (role is None or known is None or known.scope in ROLE_SCOPES[role])


async def successor(
    tx: Tx, principal: Principal, before: Mapping[str, Any], changes: Mapping[str, Any], *, let_go: bool
) -> dict[str, Any]:
    """The columns that change with whoever answers for an endpoint, which are few: an orphan let go has a new maker.

    Raises Forbidden where the change would have it tell what the caller may not read. What waits for it, or can be sent
    again, may be of any type: it goes to whoever takes an endpoint over, or turns somebody else's.
    """
    if not let_go and not changes.keys() & _STEERING:
        return {}
    maker: Mapping[str, Any] = {}
    if before["created_by"] is not None:
        maker = dict(await tx.row(_FIND, id=before["created_by"]) or {})
    taken_over = not may_have(maker)
    role = principal.role if taken_over else maker.get("maker_role")
    turned = before["created_by"] != principal.member_id and changes.get("url", before["url"]) != before["url"]
    wanted = ["*"] if taken_over or turned else changes.get("event_types") or before["event_types"]
    check_may_tell(principal, role, wanted)
    return {"created_by": principal.member_id} if let_go and taken_over else {}


def check_may_tell(principal: Principal, role: str | None, patterns: Iterable[str]) -> None:
    """Raises Forbidden unless the caller may read all that an endpoint would be told for a maker of this role.

    A key that is narrower than its member makes no endpoint that hears more than the key.
    """
    wanted = list(patterns)
    told = {each.scope for name, each in EVENT_TYPES.items() if matches(wanted, name) and _of_role(role, each)}
    missing = sorted((told | {"events:read"}) - principal.scopes)
    if missing:
        raise Forbidden(f"The endpoint would be told what the caller may not read: it needs {', '.join(missing)}.")


def _of_role(role: str | None, each: EventType) -> bool:
    return role is None or each.scope in ROLE_SCOPES[role]


def reads(principal: Principal, type_: str) -> bool:
    """Whether the caller may be told of events of this type."""
    known = EVENT_TYPES.get(type_)
    return "events:read" in principal.scopes and (known is None or known.scope in principal.scopes)
