"""One attempt at a delivery: composed, signed, sent, and judged by its answer."""

from __future__ import annotations

import random

import structlog

from services.api.delivery.claims import Claimed
from services.api.delivery.client import Answer, Client
from services.api.delivery.endpoints import Endpoint
from services.api.delivery.outcomes import Outcome, judge
from services.api.delivery.requests import compose, shown
from services.api.delivery.schedule import REFUSED, SUCCESS
from shared import telemetry
from shared.clock import Clock

log = structlog.get_logger(__name__)


async def attempt(client: Client, clock: Clock, endpoint: Endpoint, claimed: Claimed) -> Outcome:
    """Sends a delivery to its endpoint; whatever comes of it is an outcome."""
    at = clock.now()
    body = claimed.body or b""
    headers: dict[str, str] = {}
    try:
        if endpoint.trouble is not None:
            raise ValueError(endpoint.trouble)
        headers = compose(endpoint, claimed, at, body)
    except ValueError as error:
        answer = Answer(REFUSED, 0, error=f"Nothing could be signed: {error}.")
    else:
        if claimed.attempts == 0:
            telemetry.DELIVERY_LAG.observe(max(0.0, (at - claimed.event_recorded_at).total_seconds()))
        answer = await client.post(endpoint.id, endpoint.url, headers, body, endpoint.timeout_seconds)
    telemetry.DELIVERY_ATTEMPTS.labels(answer.outcome).inc()
    if answer.outcome != SUCCESS:
        log.info(
            "delivery_failed",
            workspace_id=str(claimed.workspace_id),
            endpoint_id=str(endpoint.id),
            delivery_id=str(claimed.delivery_id),
            traceparent=headers.get("traceparent"),
            outcome=answer.outcome,
            status=answer.status,
        )
    return judge(
        claimed,
        endpoint,
        answer,
        at=at,
        ended_at=clock.now(),
        chance=random.random(),  # noqa: S311 - spreads retries
        request_headers=shown(endpoint, headers),
    )
