"""Probes and metrics, outside /v1 and without a key."""

from __future__ import annotations

import asyncpg
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.api.state import State
from services.api.wire import answer
from shared import telemetry
from shared.schema_check import SCHEMA_REVISION

# Whoever watches must be told in time.
_SECONDS = 2.0

router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def livez() -> Response:
    """The event loop turns."""
    return answer({"status": "ok"})


@router.get("/startupz")
async def startupz(request: Request) -> Response:
    """The process has started."""
    state: State = request.app.state.sixteen
    return answer({"status": "ok" if state.ready else "starting"}, status=200 if state.ready else 503)


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """PostgreSQL answers with the right schema. Redis away is a degradation, not a reason to take no requests."""
    state: State = request.app.state.sixteen
    checks = {"accepting": "ok" if state.ready else "draining"}
    try:
        row = await state.database.ask("SELECT version_num FROM public.alembic_version", _SECONDS)
        found = row and row["version_num"]
        checks["database"] = "ok"
        checks["schema"] = "ok" if found == SCHEMA_REVISION else f"is {found}, needs {SCHEMA_REVISION}"
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        checks["database"] = f"unreachable: {str(error) or type(error).__name__}"
    checks["redis"] = "ok" if await state.nudger.reachable() else "degraded: workers are found by their sweepers"
    ready = all(text == "ok" for name, text in checks.items() if name != "redis")
    return answer({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus metrics of this process, and the depths of the queues in PostgreSQL."""
    state: State = request.app.state.sixteen
    try:
        row = await state.database.ask("SELECT *, events.horizon_age() FROM scoring.queue_depth()", _SECONDS)
        if row is not None:
            telemetry.DIRTY_DEPTH.set(row["depth"])
            telemetry.DIRTY_AGE.set(float(row["age"]))
            telemetry.OUTBOX_AGE.set(float(row["horizon_age"]))
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        # What can't be read is no number: the scrape itself must still answer.
        for gauge in (telemetry.DIRTY_DEPTH, telemetry.DIRTY_AGE, telemetry.OUTBOX_AGE):
            gauge.set(float("nan"))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
