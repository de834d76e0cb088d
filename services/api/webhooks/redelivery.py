"""Asking for deliveries: samples, one again, failed ones again, and what was never delivered.

The last two are jobs: rows that an api-worker works off page by page (`services.api.webhooks.jobs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.api import resources
from services.api.delivery.fanout import delivery_id
from services.api.errors import Conflict, invalid
from services.api.webhooks import queries
from services.api.webhooks.deliveries.schemas import WebhookRecover, WebhookReplay
from services.api.webhooks.messages import message_body
from services.api.webhooks.resource import ENDPOINTS, JOBS
from services.api.webhooks.schemas import WebhookTest
from services.api.webhooks.validation import check_event_type
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.effects import AuditEntry
from shared.events import COLUMNS, EVENT_TYPES, matches
from shared.ids import new_id
from shared.tenancy import Principal

ENDED = ("succeeded", "failed", "cancelled")
SAMPLE = sql(
    """
    WITH told AS (
      INSERT INTO events.webhook_messages (workspace_id, event_id, recorded_at, api_version, thin, body)
      VALUES (:workspace_id, :event_id, :now, :api_version, :thin, :body)
    )
    INSERT INTO events.webhook_deliveries (workspace_id, id, endpoint_id, event_id, event_recorded_at, type,
      subject_type, subject_id, traceparent, test, next_attempt_at, recorded_at, updated_at)
    VALUES (:workspace_id, :id, :endpoint_id, :event_id, :now, :type, :subject_type, :subject_id, :traceparent, true,
      :now, :now, :now) RETURNING *
    """
)
# Its place in the queue follows by itself: the delivery is locked before it, as by everybody who changes one.
AGAIN = sql(
    """
    UPDATE events.webhook_deliveries SET status = 'pending', attempts = 0, next_attempt_at = :now, delivered_at = NULL,
      requested_by = :job_id, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND event_recorded_at = :event_recorded_at
    """
)
# Events of deliveries whose bytes of this edition were never made: the endpoint wanted another one at the time.
UNTOLD = sql(
    f"""
    SELECT {", ".join(f"o.{name}" for name in COLUMNS)}
    FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS w(id, at)
    JOIN events.outbox o ON o.workspace_id = :workspace_id AND o.id = w.id AND o.recorded_at = w.at
    WHERE NOT EXISTS (SELECT FROM events.webhook_messages m WHERE m.workspace_id = :workspace_id AND m.event_id = w.id
      AND m.recorded_at = w.at AND m.api_version = :api_version AND m.thin = :thin)
    """
)
TELL = sql(
    """
    INSERT INTO events.webhook_messages (workspace_id, event_id, recorded_at, api_version, thin, body)
    SELECT :workspace_id, m.id, m.at, :api_version, :thin, m.body
    FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[]), CAST(:bodies AS bytea[])) AS m(id, at, body)
    ON CONFLICT DO NOTHING
    """
)
WAITING = sql(
    "SELECT d.event_id, d.event_recorded_at FROM events.webhook_queue q JOIN events.webhook_deliveries d"
    " ON d.workspace_id = q.workspace_id AND d.id = q.delivery_id AND d.event_recorded_at = q.event_recorded_at"
    " WHERE q.workspace_id = :workspace_id AND q.endpoint_id = :id LIMIT :most"
)
MOST_WAITING = 5_000


async def ensure_messages(tx: Tx, endpoint: Row, events: Sequence[tuple[UUID, datetime]]) -> None:
    """Makes the bytes of the endpoint's edition for (event id, recorded_at) that lack them; two statements at most."""
    edition = {"api_version": endpoint["api_version"], "thin": endpoint["thin"]}
    ids, times = [id_ for id_, _ in events], [at for _, at in events]
    rows = await tx.rows(UNTOLD, ids=ids, times=times, **edition) if events else []
    if rows:
        bodies = [message_body(row, thin=endpoint["thin"]) for row in rows]
        ids, times = [row["id"] for row in rows], [row["recorded_at"] for row in rows]
        await tx.run(TELL, ids=ids, times=times, bodies=bodies, **edition)


async def change_edition(tx: Tx, after: Row) -> None:
    """What waits for an endpoint is told in its new edition."""
    waiting = await tx.rows(WAITING, id=after["id"], most=MOST_WAITING + 1)
    if len(waiting) > MOST_WAITING:
        words = f"More than {MOST_WAITING} deliveries wait in the present form: let them be delivered first."
        raise Conflict(words)
    await ensure_messages(tx, after, [(row["event_id"], row["event_recorded_at"]) for row in waiting])


async def _open_endpoint(tx: Tx, principal: Principal, id_: UUID, *, lock: bool = False) -> Row:
    """The endpoint, if anything is delivered to it at all; raises NotFound or Conflict."""
    endpoint = await resources.fetch(tx, principal, ENDPOINTS, id_, lock=lock)
    if endpoint["disabled"]:
        raise Conflict("The endpoint is disabled: enable it first.")
    return endpoint


async def send_sample(tx: Tx, principal: Principal, id_: UUID, body: WebhookTest, traceparent: str | None) -> Row:
    """A delivery of an example to this endpoint alone: signed, tried and recorded like any other."""
    endpoint = await _open_endpoint(tx, principal, id_)
    if body.event_type is not None:
        check_event_type(body.event_type)
    name = body.event_type or next(each for each in EVENT_TYPES if matches(endpoint["event_types"], each))
    sample = EVENT_TYPES[name].sample
    event: dict[str, Any] = {
        "id": new_id(),
        "type": name,
        "version": sample["version"],
        "occurred_at": tx.now,
        "recorded_at": tx.now,
        "workspace_id": tx.workspace_id,
        "subject_type": sample["subject"]["type"],
        "subject_id": UUID(sample["subject"]["id"]),
        "resource_version": sample["resource_version"],
        "owner_id": sample["owner_id"],
        "actor_id": principal.member_id,
        "request_id": None,
        "traceparent": traceparent,
        "data": sample["data"],
    }
    row = await tx.row(
        SAMPLE,
        id=delivery_id(tx.now),
        endpoint_id=id_,
        event_id=event["id"],
        api_version=endpoint["api_version"],
        thin=endpoint["thin"],
        body=message_body(event, thin=endpoint["thin"]),
        now=tx.now,
        **{name: event[name] for name in ("type", "subject_type", "subject_id", "traceparent")},
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING gives its row or raises
    tx.effects.audit.append(AuditEntry("endpoint.tested", "endpoint", id_, endpoint["version"], {"type": [None, name]}))
    return row


async def resend(tx: Tx, principal: Principal, id_: UUID, request_id: str | None) -> Row:
    """One delivery once more, whatever became of it, with its whole schedule; the job that stands for it."""
    found = await queries.delivery(tx, principal, id_)
    endpoint = await _open_endpoint(tx, principal, found["endpoint_id"])
    job_id = new_id()
    place = {"id": id_, "event_recorded_at": found["event_recorded_at"]}
    await ensure_messages(tx, endpoint, [(found["event_id"], found["event_recorded_at"])])
    await tx.run(AGAIN, **place, job_id=job_id, now=tx.now)
    done = {"status": "succeeded", "total": 1, "done": 1, "requested": 1, "started_at": tx.now, "finished_at": tx.now}
    return await _queue(tx, principal, endpoint["id"], "resend", {"delivery_id": id_}, request_id, id=job_id, **done)


async def recover(tx: Tx, principal: Principal, id_: UUID, body: WebhookRecover, request_id: str | None) -> Row:
    """Queues the job that makes failed and skipped deliveries again."""
    return await _over_time(tx, principal, id_, "recover", body, request_id)


async def replay_missing(tx: Tx, principal: Principal, id_: UUID, body: WebhookReplay, request_id: str | None) -> Row:
    """Queues the job that delivers what was never delivered here, also of the time before the endpoint."""
    return await _over_time(tx, principal, id_, "replay_missing", body, request_id)


async def _over_time(
    tx: Tx, principal: Principal, id_: UUID, kind: str, body: WebhookRecover | WebhookReplay, request_id: str | None
) -> Row:
    await _open_endpoint(tx, principal, id_)
    return await _queue(tx, principal, id_, kind, _within(tx, body.since, body.until), request_id)


def _within(tx: Tx, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    end = min(until, tx.now) if until is not None else tx.now
    if since is not None and since >= end:
        raise invalid("/since", "empty_period", "Nothing lies between since and until.")
    return {"since": since, "until": end}


async def _queue(
    tx: Tx,
    principal: Principal,
    endpoint_id: UUID,
    kind: str,
    parameters: dict[str, Any],
    request_id: str | None,
    **more: Any,
) -> Row:
    values = {
        "endpoint_id": endpoint_id,
        "kind": kind,
        "parameters": parameters,
        "created_by": principal.member_id,
        "request_id": request_id,
        **more,
    }
    return await resources.create(tx, JOBS, values)


async def cancel(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> Row:
    """Ends a job after the page under way; what it has asked for so far is delivered."""
    before = await resources.fetch(tx, principal, JOBS, id_, lock=True)
    check_if_match(if_match, before["version"])
    if before["status"] == "cancelled" or (before["cancel_requested"] and before["status"] not in ENDED):
        return before
    if before["status"] in ENDED:
        raise Conflict(f"The job has ended already: it {before['status']}.")
    changes: dict[str, Any] = {"cancel_requested": True}
    if before["status"] == "queued":
        changes |= {"status": "cancelled", "finished_at": tx.now}
    return await resources.change(tx, JOBS, before, changes, action="cancelled")
