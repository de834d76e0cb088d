"""Writing outcomes down: many at a time, each only by whoever still holds its delivery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from services.api.delivery.breaker import CLOSED, OPEN
from services.api.delivery.endpoints import Endpoint
from services.api.delivery.fanout import ENDPOINT
from services.api.delivery.outcomes import NOTED, Health, Outcome, Told, follow
from shared.db import Row, Tx, sql
from shared.effects import AuditEntry, Event

log = structlog.get_logger(__name__)

# The delivery is locked before its place in the queue, as by everybody who changes one.
SETTLE = sql(
    """
    WITH given AS (
      SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[]), CAST(:tokens AS uuid[]),
        CAST(:statuses AS text[]), CAST(:attempts AS int[]), CAST(:nexts AS timestamptz[]),
        CAST(:last_statuses AS int[]), CAST(:errors AS text[]), CAST(:ended AS timestamptz[]))
        AS g(id, event_recorded_at, token, status, attempts, next_attempt_at, last_status, error, ended_at)
    ), locked AS MATERIALIZED (
      SELECT d.id FROM given g JOIN events.webhook_deliveries d ON d.workspace_id = :workspace_id AND d.id = g.id
        AND d.event_recorded_at = g.event_recorded_at
      ORDER BY d.id FOR UPDATE OF d
    ), held AS MATERIALIZED (
      SELECT g.* FROM locked l JOIN given g ON g.id = l.id
      JOIN events.webhook_queue q ON q.workspace_id = :workspace_id AND q.delivery_id = l.id AND q.lease_token = g.token
      FOR UPDATE OF q
    )
    UPDATE events.webhook_deliveries d SET status = h.status, attempts = h.attempts,
      next_attempt_at = h.next_attempt_at, last_status = h.last_status, last_error = h.error,
      delivered_at = CASE WHEN h.status = 'delivered' THEN h.ended_at END, updated_at = h.ended_at
    FROM held h WHERE d.workspace_id = :workspace_id AND d.id = h.id AND d.event_recorded_at = h.event_recorded_at
    RETURNING d.id
    """
)
# An attempt was made even where its delivery has been taken up by another worker since. It may be there already,
# where the answer to a commit was lost.
RECORD = sql(
    """
    INSERT INTO events.webhook_attempts (workspace_id, id, delivery_id, endpoint_id, event_id, event_recorded_at, type,
      number, attempted_at, outcome, status_code, duration_ms, url, remote_ip, request_headers, response_headers,
      response_body, error)
    SELECT :workspace_id, a.* FROM unnest(CAST(:ids AS uuid[]), CAST(:delivery_ids AS uuid[]),
      CAST(:endpoint_ids AS uuid[]), CAST(:event_ids AS uuid[]), CAST(:event_times AS timestamptz[]),
      CAST(:types AS text[]), CAST(:numbers AS int[]), CAST(:times AS timestamptz[]), CAST(:outcomes AS text[]),
      CAST(:status_codes AS int[]), CAST(:durations AS int[]), CAST(:urls AS text[]), CAST(:ips AS text[]),
      CAST(:requests AS jsonb[]), CAST(:responses AS jsonb[]), CAST(:bodies AS bytea[]), CAST(:errors AS text[])) a
    ON CONFLICT DO NOTHING
    """
)
HEALTH = sql(
    """
    SELECT endpoint_id, failing_since, last_success_at, last_failure_at, alerted, breaker, breaker_until,
      breaker_openings, window_started_at, window_attempts, window_failures
    FROM events.webhook_endpoint_states WHERE workspace_id = :workspace_id
      AND endpoint_id = ANY (CAST(:ids AS uuid[])) ORDER BY endpoint_id FOR NO KEY UPDATE
    """
)
# Before anything of an endpoint is written: it may be disabled here, and may be changed or deleted meanwhile.
HOLD = sql(
    "SELECT id FROM events.webhook_endpoints WHERE workspace_id = :workspace_id AND id = ANY (CAST(:ids AS uuid[]))"
    " ORDER BY id FOR NO KEY UPDATE"
)
# Of endpoints that are still there.
KEEP_HEALTH = sql(
    """
    INSERT INTO events.webhook_endpoint_states AS s (workspace_id, endpoint_id, failing_since, last_success_at,
      last_failure_at, alerted, breaker, breaker_until, breaker_openings, window_started_at, window_attempts,
      window_failures, updated_at)
    SELECT :workspace_id, h.*, CAST(:now AS timestamptz) FROM unnest(CAST(:ids AS uuid[]),
      CAST(:failing_since AS timestamptz[]), CAST(:last_success_at AS timestamptz[]),
      CAST(:last_failure_at AS timestamptz[]), CAST(:alerted AS smallint[]), CAST(:breaker AS text[]),
      CAST(:breaker_until AS timestamptz[]), CAST(:breaker_openings AS int[]),
      CAST(:window_started_at AS timestamptz[]), CAST(:window_attempts AS int[]), CAST(:window_failures AS int[]))
      AS h(endpoint_id)
    WHERE EXISTS (SELECT FROM events.webhook_endpoints e WHERE e.workspace_id = :workspace_id AND e.id = h.endpoint_id)
    ORDER BY h.endpoint_id
    ON CONFLICT (workspace_id, endpoint_id) DO UPDATE SET failing_since = excluded.failing_since,
      last_success_at = excluded.last_success_at, last_failure_at = excluded.last_failure_at,
      alerted = excluded.alerted, breaker = excluded.breaker, breaker_until = excluded.breaker_until,
      breaker_openings = excluded.breaker_openings, window_started_at = excluded.window_started_at,
      window_attempts = excluded.window_attempts, window_failures = excluded.window_failures,
      updated_at = excluded.updated_at
    """
)
DISABLE = sql(
    """
    UPDATE events.webhook_endpoints e SET disabled = true, disabled_reason = g.reason, disabled_at = :now,
      version = e.version + 1, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[])) AS g(id, reason)
    WHERE e.workspace_id = :workspace_id AND e.id = g.id AND NOT e.disabled
    RETURNING e.id, e.version, e.disabled_reason
    """
)


async def settle(tx: Tx, outcomes: Sequence[Outcome]) -> int:
    """Writes what became of deliveries of one workspace; how many of them were still held by who tried them."""
    settled = await tx.rows(
        SETTLE,
        ids=[each.claimed.delivery_id for each in outcomes],
        times=[each.claimed.event_recorded_at for each in outcomes],
        tokens=[each.claimed.token for each in outcomes],
        statuses=[each.status for each in outcomes],
        attempts=[each.attempts for each in outcomes],
        nexts=[each.next_attempt_at for each in outcomes],
        last_statuses=[each.answer.status if each.answer else None for each in outcomes],
        errors=[each.error for each in outcomes],
        ended=[each.ended_at for each in outcomes],
    )
    made = [(each, each.answer) for each in outcomes if each.answer is not None]
    if made:
        await tx.run(
            RECORD,
            ids=[each.id for each, _ in made],
            delivery_ids=[each.claimed.delivery_id for each, _ in made],
            endpoint_ids=[each.claimed.endpoint_id for each, _ in made],
            event_ids=[each.claimed.event_id for each, _ in made],
            event_times=[each.claimed.event_recorded_at for each, _ in made],
            types=[each.claimed.type for each, _ in made],
            numbers=[each.attempts for each, _ in made],
            times=[each.at for each, _ in made],
            outcomes=[answer.outcome for _, answer in made],
            status_codes=[answer.status for _, answer in made],
            durations=[answer.duration_ms for _, answer in made],
            urls=[each.url for each, _ in made],
            ips=[answer.remote_ip for _, answer in made],
            requests=[dict(each.request_headers) for each, _ in made],
            responses=[None if answer.status is None else dict(answer.headers) for _, answer in made],
            bodies=[None if answer.status is None else answer.body for _, answer in made],
            errors=[each.error for each, _ in made],
        )
    return len(settled)


def by_endpoint(outcomes: Iterable[Outcome]) -> dict[UUID, list[Outcome]]:
    """Attempts that were made, by endpoint, in the order in which they ended."""
    found: dict[UUID, list[Outcome]] = {}
    for each in sorted(outcomes, key=lambda each: each.ended_at):
        if each.answer is not None:
            found.setdefault(each.claimed.endpoint_id, []).append(each)
    return found


def is_news(endpoint: Endpoint, outcomes: Sequence[Outcome], now: datetime) -> bool:
    """Whether an endpoint's health must be written: a success of one that is well says nothing new for a while."""
    if endpoint.failing or endpoint.breaker.state != CLOSED or any(not each.succeeded for each in outcomes):
        return True
    return endpoint.last_success_at is None or now - endpoint.last_success_at >= NOTED


async def hold_health(tx: Tx, endpoint_ids: Iterable[UUID]) -> dict[UUID, Row]:
    """Locks endpoints and then their states, which must come before their deliveries; the states that there are."""
    ids = sorted(endpoint_ids)
    await tx.run(HOLD, ids=ids)
    return {row["endpoint_id"]: row for row in await tx.rows(HEALTH, ids=ids)}


async def keep_health(
    tx: Tx, outcomes: Mapping[UUID, Sequence[Outcome]], unnoted: Mapping[UUID, int], rows: Mapping[UUID, Row]
) -> dict[UUID, Health]:
    """Brings the health of endpoints up to date, disables those that are given up, and emits what is told of them.

    `rows` are what `hold_health` gave. At most two statements, and one for the events.
    """
    healths: dict[UUID, Health] = {}
    reasons: dict[UUID, str] = {}
    for endpoint_id, ended in outcomes.items():
        health, told, reason = follow(Health.of(rows.get(endpoint_id)), ended, unnoted.get(endpoint_id, 0))
        healths[endpoint_id] = health
        for each in told:
            _tell(tx, endpoint_id, each)
        if reason is not None:
            reasons[endpoint_id] = reason
    breakers = [(each.breaker, each.breaker.state == CLOSED) for each in healths.values()]
    await tx.run(
        KEEP_HEALTH,
        now=tx.now,
        ids=list(healths),
        failing_since=[each.failing_since for each in healths.values()],
        last_success_at=[each.last_success_at for each in healths.values()],
        last_failure_at=[each.last_failure_at for each in healths.values()],
        alerted=[each.alerted for each in healths.values()],
        breaker=[CLOSED if closed else OPEN for _, closed in breakers],
        breaker_until=[each.until for each, _ in breakers],
        breaker_openings=[each.openings for each, _ in breakers],
        window_started_at=[each.window_started_at for each, _ in breakers],
        window_attempts=[each.attempts for each, _ in breakers],
        window_failures=[each.failures for each, _ in breakers],
    )
    if reasons:
        await _disable(tx, reasons)
    return healths


async def _disable(tx: Tx, reasons: Mapping[UUID, str]) -> None:
    for row in await tx.rows(DISABLE, ids=list(reasons), reasons=list(reasons.values()), now=tx.now):
        log.warning("endpoint_disabled", endpoint_id=str(row["id"]), reason=row["disabled_reason"])
        _tell(tx, row["id"], Told("endpoint.disabled", {"reason": row["disabled_reason"]}), row["version"])
        changes = {"disabled": [False, True], "disabled_reason": [None, row["disabled_reason"]]}
        tx.effects.audit.append(AuditEntry("endpoint.disabled", ENDPOINT, row["id"], row["version"], changes))


def _tell(tx: Tx, endpoint_id: UUID, told: Told, version: int | None = None) -> None:
    data = {"id": endpoint_id, **told.data}
    tx.effects.emit(Event(told.type, ENDPOINT, endpoint_id, tx.now, data, resource_version=version))
