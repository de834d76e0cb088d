"""Taking deliveries up: a lease in PostgreSQL, and a token without which no outcome can be written.

Whoever takes a delivery up puts its next attempt to the end of the lease: if nothing is heard of it until then it is
due again, for any worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from services.api.delivery.endpoints import Endpoint, Endpoints
from services.api.webhooks import makers
from shared.db import Database, Row, Tx, sql
from shared.ids import new_id

# More than an attempt may take beyond its own limit: queueing here, and writing its outcome.
MARGIN_SECONDS: Final = 10
# A delivery that is taken up so often without an outcome kills who takes it up.
MOST_CLAIMS: Final = 8

# Before anything was due. (Never null: an expression that replaced it would keep the index from being entered there.)
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

DUE: Final = "SELECT workspace_id, endpoint_id FROM events.due_endpoints($1, $2, $3)"
CLAIM = sql(
    f"""
    WITH wanted AS (
      SELECT w.endpoint_id, e.id IS NOT NULL AS there,
        greatest(CAST(:lease AS float), coalesce(e.timeout_seconds, 0) + {MARGIN_SECONDS}) AS lease,
        CASE WHEN e.disabled OR NOT (m.active AND m.role = ANY(CAST(:keepers AS text[]))) THEN 0
          WHEN s.breaker IS NULL OR s.breaker = 'closed' THEN w.room
          WHEN s.breaker_until > CAST(:now AS timestamptz) THEN 0 ELSE least(w.room, 1) END AS room,
        w.floor
      FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:rooms AS int[]), CAST(:floors AS timestamptz[]))
        AS w(endpoint_id, room, floor)
      LEFT JOIN events.webhook_endpoints e ON e.workspace_id = :workspace_id AND e.id = w.endpoint_id
      LEFT JOIN sales.members m ON m.workspace_id = :workspace_id AND m.id = e.created_by
      LEFT JOIN events.webhook_endpoint_states s ON s.workspace_id = :workspace_id AND s.endpoint_id = w.endpoint_id
    ), taken AS MATERIALIZED (
      SELECT q.delivery_id, w.lease, q.next_attempt_at AS due_at FROM wanted w CROSS JOIN LATERAL (
        SELECT q.delivery_id, q.next_attempt_at FROM events.webhook_queue q
        WHERE q.workspace_id = :workspace_id AND q.endpoint_id = w.endpoint_id AND q.next_attempt_at <= :now
          AND q.next_attempt_at >= w.floor
        ORDER BY q.next_attempt_at LIMIT w.room FOR UPDATE SKIP LOCKED
      ) q
    ), claimed AS (
      UPDATE events.webhook_queue q SET lease_token = :token, claims = q.claims + 1,
        next_attempt_at = CAST(:now AS timestamptz) + make_interval(secs => t.lease)
      FROM taken t WHERE q.workspace_id = :workspace_id AND q.delivery_id = t.delivery_id
      RETURNING q.delivery_id, q.event_recorded_at, q.endpoint_id, q.attempts, q.claims, t.lease, t.due_at
    )
    SELECT c.*, d.event_id, d.type, d.test, d.traceparent, m.body FROM claimed c
    JOIN events.webhook_deliveries d ON d.workspace_id = :workspace_id AND d.id = c.delivery_id
      AND d.event_recorded_at = c.event_recorded_at
    LEFT JOIN events.webhook_endpoints e ON e.workspace_id = :workspace_id AND e.id = c.endpoint_id
    LEFT JOIN LATERAL (
      SELECT m.body FROM events.webhook_messages m WHERE m.workspace_id = :workspace_id AND m.event_id = d.event_id
        AND m.recorded_at = c.event_recorded_at AND m.api_version = e.api_version AND m.thin = e.thin LIMIT 1
    ) m ON true
    ORDER BY c.due_at, c.delivery_id
    """
)
# The queue turns over faster than anybody counts it: whatever is thought to be in it, it is read in the order of its
# index, from the first that is due to the last that is wanted.
PLANNED: Final = sql("SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)")
# Sending times of throttled endpoints, given away one after another, whichever worker asks.
RESERVE = sql(
    """
    INSERT INTO events.webhook_endpoint_states AS s (workspace_id, endpoint_id, throttled_until, updated_at)
    SELECT :workspace_id, g.endpoint_id, CAST(:now AS timestamptz) + make_interval(secs => g.seconds), :now
    FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:seconds AS float[])) AS g(endpoint_id, seconds)
    ORDER BY g.endpoint_id
    ON CONFLICT (workspace_id, endpoint_id) DO UPDATE SET throttled_until =
      greatest(s.throttled_until, CAST(:now AS timestamptz)) + (excluded.throttled_until - CAST(:now AS timestamptz))
    RETURNING endpoint_id, throttled_until
    """
)
# Given back untried: due as it was.
RELEASE = sql(
    """
    UPDATE events.webhook_queue q SET next_attempt_at = g.due_at, lease_token = NULL, claims = greatest(claims - 1, 0)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[]), CAST(:due_at AS timestamptz[])) AS g(id, token, due_at)
    WHERE q.workspace_id = :workspace_id AND q.delivery_id = g.id AND q.lease_token = g.token
    """
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours, of an example where `test`.

    `expires` and `start` are times of the event loop; `body` is None where it is gone.
    """

    workspace_id: UUID
    delivery_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_recorded_at: datetime
    type: str
    test: bool
    traceparent: str | None
    body: bytes | None
    attempts: int
    claims: int
    token: UUID
    due_at: datetime
    expires: float
    start: float


async def due(database: Database, now: datetime, resting: Sequence[UUID], most: int) -> list[tuple[UUID, UUID]]:
    """(workspace, endpoint) of those with something due, over all workspaces, longest waiting first."""
    rows = await database.fetch(DUE, now, list(resting), most)
    return [(row["workspace_id"], row["endpoint_id"]) for row in rows]


async def claim(
    tx: Tx,
    endpoints: Endpoints,
    rooms: Mapping[UUID, int],
    lease_seconds: float,
    floors: Mapping[UUID, datetime | None] | None = None,
) -> tuple[list[Claimed], dict[UUID, Endpoint]]:
    """At most `rooms` deliveries of each endpoint, in the order in which they are due, and the endpoints themselves.

    Nothing that was due before an endpoint's time in `floors` is looked for: what is done with there may lie about
    for as long as anybody's snapshot shows it, and would be stepped over at every claim. Deliveries of an endpoint
    that no longer exists come without it. What waits for one whose maker has left stays where it is.
    """
    token = new_id()
    read_at = asyncio.get_running_loop().time()
    await tx.run(PLANNED)
    rows = await tx.rows(
        CLAIM,
        endpoint_ids=list(rooms),
        rooms=list(rooms.values()),
        floors=[(floors or {}).get(endpoint_id) or EVER for endpoint_id in rooms],
        now=tx.now,
        lease=lease_seconds,
        token=token,
        keepers=makers.KEEPERS,
    )
    if not rows:
        return [], {}
    found = await endpoints.load(tx, list({row["endpoint_id"] for row in rows}))
    starts = await _starts(tx, rows, found, read_at)
    claimed = [
        Claimed(
            workspace_id=tx.workspace_id,
            delivery_id=row["delivery_id"],
            endpoint_id=row["endpoint_id"],
            event_id=row["event_id"],
            event_recorded_at=row["event_recorded_at"],
            type=row["type"],
            test=row["test"],
            traceparent=row["traceparent"],
            body=row["body"],
            attempts=row["attempts"],
            claims=row["claims"],
            token=token,
            due_at=row["due_at"],
            expires=read_at + row["lease"],
            start=start,
        )
        for row, start in zip(rows, starts, strict=True)
    ]
    return claimed, found


async def _starts(tx: Tx, rows: Sequence[Row], found: Mapping[UUID, Endpoint], read_at: float) -> list[float]:
    """When each may be sent, as a time of the event loop: at once, but for throttled endpoints."""
    counts: dict[UUID, int] = {}
    for row in rows:
        endpoint = found.get(row["endpoint_id"])
        if endpoint is not None and endpoint.throttle_rate is not None:
            counts[endpoint.id] = counts.get(endpoint.id, 0) + 1
    if not counts:
        return [read_at] * len(rows)
    periods = {id_: 1 / (found[id_].throttle_rate or 1) for id_ in counts}
    reserved = await tx.rows(
        RESERVE,
        endpoint_ids=list(counts),
        seconds=[counts[id_] * periods[id_] for id_ in counts],
        now=tx.now,
    )
    following = {
        row["endpoint_id"]: row["throttled_until"]
        - timedelta(seconds=counts[row["endpoint_id"]] * periods[row["endpoint_id"]])
        for row in reserved
    }
    starts = []
    for row in rows:
        at = following.get(row["endpoint_id"])
        if at is None:
            starts.append(read_at)
            continue
        starts.append(read_at + (at - tx.now).total_seconds())
        following[row["endpoint_id"]] = at + timedelta(seconds=periods[row["endpoint_id"]])
    return starts


async def release(database: Database, claimed: Sequence[Claimed]) -> None:
    """Gives deliveries back untried, at a stop."""
    by_workspace: dict[UUID, list[Claimed]] = {}
    for each in claimed:
        by_workspace.setdefault(each.workspace_id, []).append(each)
    for workspace_id, given in by_workspace.items():
        async with database.transaction(workspace_id, durable=False) as tx:
            await tx.run(
                RELEASE,
                ids=[each.delivery_id for each in given],
                tokens=[each.token for each in given],
                due_at=[each.due_at for each in given],
            )
