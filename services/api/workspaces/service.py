"""Making a workspace: its policy, an administrator with a key, and the processes that ship with the product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.api.auth.keys import make_key
from services.api.processes.service import create_from_template
from shared.catalog.templates import CASH_AND_CARRY, COMPLEX_SALE
from shared.db import Tx, sql
from shared.effects import AuditEntry
from shared.ids import new_id

MAKE_WORKSPACE = sql(
    "INSERT INTO sales.workspaces (id, name, currency, time_zone, locale, recorded_at, updated_at)"
    " VALUES (:workspace_id, :name, :currency, :time_zone, :locale, :now, :now)"
)
MAKE_POLICY = sql(
    "INSERT INTO sales.policies (workspace_id, id, document, occurred_at, recorded_at, updated_at)"
    " VALUES (:workspace_id, :workspace_id, '{}', :now, :now, :now)"
)
MAKE_MEMBER = sql(
    "INSERT INTO sales.members (workspace_id, id, name, email, role, occurred_at, recorded_at, updated_at)"
    " VALUES (:workspace_id, :id, :name, :email, :role, :now, :now, :now)"
)
MAKE_KEY = sql(
    "INSERT INTO sales.api_keys (workspace_id, id, member_id, name, secret_hash, last4, scopes, occurred_at,"
    " recorded_at, updated_at, expires_at) VALUES (:workspace_id, :id, :member_id, :name, :secret_hash, :last4,"
    " CAST(:scopes AS text[]), :now, :now, :now, CAST(:expires_at AS timestamptz))"
)


@dataclass(frozen=True, slots=True)
class NewWorkspace:
    """What a new workspace begins with; the key is shown this once."""

    workspace_id: UUID
    admin_id: UUID
    api_key: str


async def create_workspace(
    tx: Tx,
    *,
    name: str,
    currency: str,
    time_zone: str = "UTC",
    locale: str = "en",
    admin_name: str = "Administrator",
    admin_email: str | None = None,
) -> NewWorkspace:
    """Makes the workspace of `tx` (its id was chosen when the transaction was opened)."""
    await tx.run(MAKE_WORKSPACE, name=name, currency=currency, time_zone=time_zone, locale=locale, now=tx.now)
    await tx.run(MAKE_POLICY, now=tx.now)
    admin_id = new_id()
    await tx.run(MAKE_MEMBER, id=admin_id, name=admin_name, email=admin_email, role="admin", now=tx.now)
    key, _ = await issue_key(tx, admin_id, "First key", ())
    for template in (COMPLEX_SALE, CASH_AND_CARRY):
        await create_from_template(tx, template, is_default=template is COMPLEX_SALE)
    tx.effects.audit.append(AuditEntry("workspace.created", "workspace", tx.workspace_id, 1, {"name": [None, name]}))
    return NewWorkspace(tx.workspace_id, admin_id, key)


async def issue_key(
    tx: Tx, member_id: UUID, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[str, UUID]:
    """A new API key of a member, and its id. Only the hash of its secret is stored."""
    key_id = new_id()
    key, secret_hash = make_key(tx.workspace_id, key_id)
    await tx.run(
        MAKE_KEY,
        id=key_id,
        member_id=member_id,
        name=name,
        secret_hash=secret_hash,
        last4=key[-4:],
        scopes=list(scopes),
        expires_at=expires_at,
        now=tx.now,
    )
    return key, key_id
