"""Writing effects: the outbox of events, the dirty marks and the audit trail, in the facts' own transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Tx, sql
from shared.effects import Effects
from shared.ids import new_id

# Marks are written in the order of their key: two transactions that mark the same subjects wait, not deadlock.
_WRITE = """
WITH happened AS (
  INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version,
    owner_id, actor_id, request_id, traceparent, occurred_at, data)
  SELECT :workspace_id, e.id, :recorded_at, e.type, e.subject_type, e.subject_id, e.resource_version, e.owner_id,
    :actor_id, :request_id, :traceparent, e.occurred_at, e.data
  FROM unnest(CAST(:event_ids AS uuid[]), CAST(:event_types AS text[]), CAST(:event_subject_types AS text[]),
    CAST(:event_subjects AS uuid[]), CAST(:event_versions AS bigint[]), CAST(:event_owners AS uuid[]),
    CAST(:event_times AS timestamptz[]), CAST(:event_data AS jsonb[]))
    AS e(id, type, subject_type, subject_id, resource_version, owner_id, occurred_at, data)
), audited AS (
  INSERT INTO sales.audit_entries (workspace_id, id, recorded_at, actor_id, request_id, action, subject_type,
    subject_id, version, changes)
  SELECT :workspace_id, a.id, :recorded_at, :actor_id, :request_id, a.action, a.subject_type, a.subject_id,
    a.version, a.changes
  FROM unnest(CAST(:audit_ids AS uuid[]), CAST(:audit_actions AS text[]), CAST(:audit_subject_types AS text[]),
    CAST(:audit_subjects AS uuid[]), CAST(:audit_versions AS int[]), CAST(:audit_changes AS jsonb[]))
    AS a(id, action, subject_type, subject_id, version, changes)
)
INSERT INTO scoring.dirty_marks AS d (workspace_id, subject_type, subject_id, lane, cause, marked_at)
SELECT :workspace_id, m.subject_type, m.subject_id, m.lane, m.cause, now()
FROM unnest(CAST(:mark_types AS text[]), CAST(:mark_subjects AS uuid[]), CAST(:mark_lanes AS smallint[]),
  CAST(:mark_causes AS jsonb[])) AS m(subject_type, subject_id, lane, cause)
ORDER BY m.subject_type, m.subject_id
ON CONFLICT (workspace_id, subject_type, subject_id) DO UPDATE
SET version = d.version + 1, lane = least(d.lane, excluded.lane), cause = excluded.cause
"""
WRITE_EFFECTS = sql(_WRITE)


def effect_values(
    effects: Effects,
    *,
    recorded_at: datetime,
    actor_id: UUID | None,
    request_id: str | None,
    traceparent: str | None,
) -> dict[str, Any]:
    """The parameters of WRITE_EFFECTS."""
    events, audit, marks = effects.events, effects.audit, list(effects.marks.values())
    return {
        "recorded_at": recorded_at,
        "actor_id": actor_id,
        "request_id": request_id,
        "traceparent": traceparent,
        "event_ids": [e.id for e in events],
        "event_types": [e.type for e in events],
        "event_subject_types": [e.subject_type for e in events],
        "event_subjects": [e.subject_id for e in events],
        "event_versions": [e.resource_version for e in events],
        "event_owners": [e.owner_id for e in events],
        "event_times": [e.occurred_at for e in events],
        "event_data": [e.data for e in events],
        "audit_ids": [new_id() for _ in audit],
        "audit_actions": [a.action for a in audit],
        "audit_subject_types": [a.subject_type for a in audit],
        "audit_subjects": [a.subject_id for a in audit],
        "audit_versions": [a.version for a in audit],
        "audit_changes": [a.changes for a in audit],
        "mark_types": [m.subject_type for m in marks],
        "mark_subjects": [m.subject_id for m in marks],
        "mark_lanes": [m.lane for m in marks],
        "mark_causes": [m.cause or {} for m in marks],
    }


async def write_effects(
    tx: Tx, *, actor_id: UUID | None = None, request_id: str | None = None, traceparent: str | None = None
) -> None:
    """Writes all that `tx.effects` has gathered in one statement; nothing gathered costs nothing."""
    if tx.effects:
        values = effect_values(
            tx.effects, recorded_at=tx.now, actor_id=actor_id, request_id=request_id, traceparent=traceparent
        )
        await tx.run(WRITE_EFFECTS, **values)
        tx.effects.clear()
