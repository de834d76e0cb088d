"""Endpoints whose maker has left or may no longer have one: nothing more is sent there until they are taken over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog

from services.api.delivery.fanout import ENDPOINT
from services.api.webhooks import makers
from shared.clock import Clock
from shared.db import Database, sql
from shared.effects import AuditEntry, Event
from shared.outbox import write_effects

log = structlog.get_logger(__name__)

# Looked at again under the lock: it may have been taken over, or its maker be back.
HOLD = sql(
    f"SELECT e.id, {makers.COLUMNS} FROM events.webhook_endpoints e {makers.JOIN}"
    " WHERE e.workspace_id = :workspace_id AND e.id = ANY (CAST(:ids AS uuid[])) AND NOT e.disabled"
    " ORDER BY e.id FOR NO KEY UPDATE OF e"
)
DISABLE = sql(
    "UPDATE events.webhook_endpoints SET disabled = true, disabled_reason = :reason, disabled_at = :now,"
    " version = version + 1, updated_at = :now"
    " WHERE workspace_id = :workspace_id AND id = ANY (CAST(:ids AS uuid[])) RETURNING id, version"
)
_CHANGES: Final = {"disabled": [False, True], "disabled_reason": [None, makers.ORPHANED]}


async def disable_orphans(database: Database, clock: Clock, workspace_id: UUID, ids: Sequence[UUID]) -> int:
    """Disables those of the endpoints that nobody answers for, and tells of it; how many they were.

    In a transaction of its own: what the relay's own transactions leave behind its snapshots may pass over.
    """
    async with database.transaction(workspace_id, clock.now()) as tx:
        held = await tx.rows(HOLD, ids=list(ids))
        orphans = [row["id"] for row in held if not makers.may_have(row)]
        disabled = await tx.rows(DISABLE, ids=orphans, reason=makers.ORPHANED, now=tx.now) if orphans else []
        for row in disabled:
            log.warning("endpoint_disabled", endpoint_id=str(row["id"]), reason=makers.ORPHANED)
            data = {"id": row["id"], "reason": makers.ORPHANED}
            tx.effects.emit(Event("endpoint.disabled", ENDPOINT, row["id"], tx.now, data, row["version"]))
            entry = AuditEntry("endpoint.disabled", ENDPOINT, row["id"], row["version"], dict(_CHANGES))
            tx.effects.audit.append(entry)
        await write_effects(tx)
    return len(disabled)
