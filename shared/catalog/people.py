"""Roles and what each may do (DOMAIN §13)."""

from __future__ import annotations

from shared.catalog.labels import Label, Labels

ROLES: Labels = {
    "admin": Label("Administrator", "管理员"),
    "manager": Label("Manager", "销售经理"),
    "rep": Label("Salesperson", "销售"),
    "viewer": Label("Viewer", "只读成员"),
    "integration": Label("Integration", "集成"),
}

RESOURCES = (
    "workspace", "members", "teams", "api_keys", "logins", "policy", "attributes", "customers", "contacts", "products",
    "processes", "opportunities", "interactions", "tasks", "focus", "imports", "exports", "events", "webhooks", "audit",
)  # fmt: skip
SCOPES = tuple(f"{resource}:{right}" for resource in RESOURCES for right in ("read", "write"))

_FACTS = ("customers", "contacts", "opportunities", "interactions", "tasks", "focus")
_READ_BY_ALL = tuple(f"{r}:read" for r in RESOURCES if r not in {"api_keys", "audit", "imports", "exports", "webhooks"})

ROLE_SCOPES: dict[str, frozenset[str]] = {
    "admin": frozenset(SCOPES),
    "manager": frozenset(
        (
            *_READ_BY_ALL,
            *(f"{r}:write" for r in _FACTS),
            "products:write",
            "imports:read",
            "imports:write",
            "exports:read",
            "exports:write",
            "audit:read",
            "api_keys:read",
            "api_keys:write",
            "logins:write",
        )
    ),
    "rep": frozenset(
        (*_READ_BY_ALL, *(f"{r}:write" for r in _FACTS), "api_keys:read", "api_keys:write", "logins:write")
    ),
    # Whoever logs in may log out everywhere.
    "viewer": frozenset((*_READ_BY_ALL, "logins:write")),
    "integration": frozenset(
        s for s in SCOPES if not s.startswith(("workspace:write", "members:write", "api_keys", "logins"))
    ),
}
