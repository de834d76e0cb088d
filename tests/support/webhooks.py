"""Webhooks in tests: an endpoint, a delivery to it, and an attempt as the engine would have recorded it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import sql
from shared.ids import new_id
from tests.support.caller import Caller

ENDPOINTS = "/v1/webhook-endpoints"
URL = "https://hooks.example.com/sixteen"
ATTEMPT = sql(
    """
    INSERT INTO events.webhook_attempts (workspace_id, id, delivery_id, endpoint_id, event_id, event_recorded_at, type,
      number, attempted_at, outcome, status_code, duration_ms, url, remote_ip, request_headers, response_headers,
      response_body, error)
    SELECT d.workspace_id, :id, d.id, d.endpoint_id, d.event_id, d.event_recorded_at, d.type, :number, :at, :outcome,
      CAST(:status AS int), :duration, :url, '192.0.2.7', '{"webhook-id": "x"}', '{"server": "test"}', :body, NULL
    FROM events.webhook_deliveries d WHERE d.workspace_id = :workspace_id AND d.id = :delivery_id
    """
)


async def make_endpoint(admin: Caller, **fields: Any) -> dict[str, Any]:
    """A receiver of everything."""
    made: dict[str, Any] = await admin.ok("POST", ENDPOINTS, {"url": URL, "event_types": ["*"], **fields})
    return made


async def make_attempt(
    admin: Caller,
    delivery_id: str,
    *,
    at: datetime | None = None,
    outcome: str = "success",
    status: int | None = 200,
    number: int = 1,
    duration: int = 12,
) -> str:
    """Records an attempt at a delivery; its id."""
    id_ = new_id()
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        touched = await tx.run(
            ATTEMPT,
            id=id_,
            delivery_id=UUID(delivery_id),
            number=number,
            at=at or tx.now,
            outcome=outcome,
            status=status,
            duration=duration,
            url=URL,
            body=b"thanks \xff",
        )
    assert touched == 1
    return str(id_)


async def webhook_day(admin: Caller) -> dict[str, Any]:
    """Nearly everything that can be done with an endpoint; what was made, by name."""
    ok = admin.ok
    path = f"{ENDPOINTS}/{(await make_endpoint(admin))['id']}"
    endpoint = await ok("PATCH", path, {"disabled": True, "signatures": ["v1", "v1a"]})
    await ok("POST", f"{path}:enable")
    await ok("POST", f"{path}:rotate-secret", {"grace_period_seconds": 3600})
    await ok("GET", f"{path}/secret")
    delivery = await ok("POST", f"{path}:test", {"event_type": "opportunity.won"})
    attempt = await make_attempt(admin, delivery["id"])
    await ok("POST", f"{path}:recover", {"since": delivery["event_recorded_at"]})
    await ok("POST", f"/v1/webhook-deliveries/{delivery['id']}:resend")
    job = await ok("POST", f"{path}:replay-missing", {})
    await ok("POST", f"/v1/webhook-jobs/{job['id']}:cancel")
    return {"endpoint": endpoint, "delivery": delivery, "attempt": {"id": attempt}, "webhook_job": job}


def webhook_reads(made: dict[str, Any]) -> list[str]:
    """Every path that can be read, of what `webhook_day` made."""
    path = f"{ENDPOINTS}/{made['endpoint']['id']}"
    return [
        ENDPOINTS,
        *(f"{path}{part}" for part in ("", "/attempts", "/deliveries", "/stats", "/secret")),
        f"/v1/webhook-deliveries/{made['delivery']['id']}",
        f"/v1/webhook-attempts/{made['attempt']['id']}",
        "/v1/webhook-jobs",
        f"/v1/webhook-jobs/{made['webhook_job']['id']}",
    ]
