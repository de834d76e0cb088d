"""Writing effects: the outbox of events, the dirty marks and the audit trail, in the facts' own transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.db import Tx, sql
from shared.ids import new_id

# The function of the database that writes them all, in one statement.
WRITE_EFFECTS = "SELECT events.write_effects({document})"
_WRITE = sql(WRITE_EFFECTS.format(document="CAST(:effects AS jsonb)"))


def effects_document(
    tx: Tx,
    *,
    actor_id: UUID | None,
    request_id: str | None,
    traceparent: str | None,
) -> dict[str, Any]:
    """What `events.write_effects` takes. A mark names the request and the trace behind it, for what follows from it."""
    behind = {"request_id": request_id, "traceparent": traceparent}
    asked = {name: value for name, value in behind.items() if value}
    effects = tx.effects
    return {
        "workspace_id": tx.workspace_id,
        "recorded_at": tx.now,
        "actor_id": actor_id,
        "request_id": request_id,
        "traceparent": traceparent,
        "events": [
            {
                "id": e.id,
                "type": e.type,
                "subject_type": e.subject_type,
                "subject_id": e.subject_id,
                "resource_version": e.resource_version,
                "owner_id": e.owner_id,
                "occurred_at": e.occurred_at,
                "data": e.data,
                "version": e.version,
            }
            for e in effects.events
        ],
        "audit": [
            {
                "id": new_id(),
                "action": a.action,
                "subject_type": a.subject_type,
                "subject_id": a.subject_id,
                "version": a.version,
                "changes": a.changes,
            }
            for a in effects.audit
        ],
        "marks": [
            {
                "subject_type": m.subject_type,
                "subject_id": m.subject_id,
                "lane": m.lane,
                "cause": {**(m.cause or {}), **asked},
            }
            for m in effects.marks.values()
        ],
    }


async def write_effects(
    tx: Tx, *, actor_id: UUID | None = None, request_id: str | None = None, traceparent: str | None = None
) -> None:
    """Writes all that `tx.effects` has gathered in one statement; nothing gathered costs nothing."""
    if tx.effects:
        document = effects_document(tx, actor_id=actor_id, request_id=request_id, traceparent=traceparent)
        await tx.run(_WRITE, effects=document)
        tx.effects.clear()
