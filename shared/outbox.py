"""Writing effects: the outbox of events, the dirty marks and the audit trail, in the facts' own transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Tx, sql
from shared.effects import Effects
from shared.ids import new_id

# Everything arrives as one JSON document: one parameter is far cheaper to send than a column of arrays each.
# Marks are written in the order of their key: two transactions that mark the same subjects wait, not deadlock.
_WRITE = """
WITH given AS MATERIALIZED (SELECT CAST(:effects AS jsonb) AS doc),
happened AS (
  INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version,
    owner_id, actor_id, request_id, traceparent, occurred_at, data, version)
  SELECT :workspace_id, e.id, :recorded_at, e.type, e.subject_type, e.subject_id, e.resource_version, e.owner_id,
    :actor_id, :request_id, :traceparent, e.occurred_at, e.data, e.version
  FROM given, jsonb_to_recordset(doc -> 'events') AS e(id uuid, type text, subject_type text, subject_id uuid,
    resource_version bigint, owner_id uuid, occurred_at timestamptz, data jsonb, version smallint)
), audited AS (
  INSERT INTO sales.audit_entries (workspace_id, id, recorded_at, actor_id, request_id, action, subject_type,
    subject_id, version, changes)
  SELECT :workspace_id, a.id, :recorded_at, :actor_id, :request_id, a.action, a.subject_type, a.subject_id,
    a.version, a.changes
  FROM given, jsonb_to_recordset(doc -> 'audit') AS a(id uuid, action text, subject_type text, subject_id uuid,
    version int, changes jsonb)
){answered}
INSERT INTO scoring.dirty_marks AS d (workspace_id, subject_type, subject_id, lane, cause, marked_at)
SELECT :workspace_id, m.subject_type, m.subject_id, m.lane, m.cause, now()
FROM given, jsonb_to_recordset(doc -> 'marks') AS m(subject_type text, subject_id uuid, lane smallint, cause jsonb)
ORDER BY m.subject_type, m.subject_id
ON CONFLICT (workspace_id, subject_type, subject_id) DO UPDATE
SET version = excluded.version, lane = least(d.lane, excluded.lane), cause = excluded.cause,
  marked_at = least(d.marked_at, excluded.marked_at)
"""
_ANSWERED = """, answered AS (
  INSERT INTO sales.idempotency_keys (workspace_id, digest, request_hash, status, headers, body, recorded_at)
  VALUES (:workspace_id, :digest, :request_hash, :status, CAST(:headers AS jsonb), :body, now())
)"""
WRITE_EFFECTS = sql(_WRITE.format(answered=""))
# The same, and the answer to be given again under the request's Idempotency-Key.
WRITE_EFFECTS_AND_ANSWER = sql(_WRITE.format(answered=_ANSWERED))


def effect_values(
    effects: Effects,
    *,
    recorded_at: datetime,
    actor_id: UUID | None,
    request_id: str | None,
    traceparent: str | None,
) -> dict[str, Any]:
    """The parameters of WRITE_EFFECTS. A mark names the request behind it, so that it can be traced."""
    asked = {"request_id": request_id} if request_id else {}
    return {
        "recorded_at": recorded_at,
        "actor_id": actor_id,
        "request_id": request_id,
        "traceparent": traceparent,
        "effects": {
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
        },
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
