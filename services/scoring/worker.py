"""The scoring worker: `python -m services.scoring.worker`.

One loop drains (it needs PostgreSQL alone), one listener wakes it (it needs Redis), one small server tells how they
are. Either of the two servers may go and come back while this process stays.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress

import asyncpg
import structlog
import uvloop
from pydantic import ValidationError

from services.scoring.jobs.drain import Context
from services.scoring.jobs.loop import Drainer
from services.scoring.settings import ScoringSettings
from shared import telemetry
from shared.clock import SystemClock
from shared.db import open_database
from shared.listener import Listener
from shared.probes import Heartbeat, Probes
from shared.queue import DRAIN, SCORING_QUEUE, Nudger
from shared.schema_check import NotReady, require_schema

log = structlog.get_logger(__name__)

# Longer than the longest statement and the longest pause after an error together.
_STALE_SECONDS = 60.0


async def serve(settings: ScoringSettings, stop: asyncio.Event) -> None:
    """Scores until `stop` is set. Raises NotReady when it can't begin, with what to do."""
    telemetry.expose("scoring")
    await require_schema(settings.database_url, settings.role)
    database = await open_database(
        settings.database_url,
        settings.role,
        size=settings.database_pool,
        statement_cache=settings.statement_cache,
        statement_timeout_ms=settings.statement_timeout_ms,
    )
    heartbeat = Heartbeat(_STALE_SECONDS)
    nudger = Nudger(settings.redis_url)
    nudger.start()
    drainer = Drainer(Context(database, settings, SystemClock()), heartbeat, nudger.tell)
    listener = Listener(settings.redis_url, SCORING_QUEUE, {DRAIN: drainer.wake})

    async def problems() -> list[str]:
        """Redis away makes this worker a little slower, not unready."""
        return [] if drainer.trouble is None else [drainer.trouble]

    # On one machine nobody outside it has to see them.
    probes = Probes(heartbeat, problems, host="127.0.0.1") if settings.embedded else Probes(heartbeat, problems)
    draining = asyncio.create_task(drainer.run(), name="drain")
    listening = asyncio.create_task(listener.run(), name="listen")
    try:
        if settings.metrics_port:
            await _open_probes(probes, settings.metrics_port)
        log.info("scoring_started")
        await stop.wait()
    finally:
        drainer.stop()
        listening.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(draining, return_exceptions=True), settings.stop_seconds)
        await asyncio.wait((listening,), timeout=settings.stop_seconds)
        await probes.close()
        await nudger.close()
        with suppress(asyncpg.InterfaceError, OSError, TimeoutError):
            await asyncio.wait_for(database.close(), 2)
        log.info("scoring_stopped")


async def _open_probes(probes: Probes, port: int) -> None:
    try:
        await probes.start(port)
    except OSError as error:
        raise NotReady(f"Port {port} for metrics can't be opened ({error}): set SIXTEEN_METRICS_PORT.") from error


async def run(settings: ScoringSettings) -> None:
    """`serve` until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main() -> int:
    """Runs the worker; the exit code: 0 stopped, 1 can't begin, 2 wrong settings."""
    try:
        settings = ScoringSettings()
    except ValidationError as error:
        for wrong in error.errors():
            place = "_".join(str(part) for part in wrong["loc"]).upper()
            sys.stderr.write(f"SIXTEEN_{place}: {wrong['msg']}\n" if place else f"{wrong['msg']}\n")
        return 2
    telemetry.configure_logging("scoring", settings.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except NotReady as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
