"""The api-worker: `python -m services.api.worker`.

Loops do the work (they need PostgreSQL alone), one listener wakes them (it needs Redis), one small server tells how
they are. Either of the two servers may go and come back while this process stays.
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

from services.api.exports.attempt import Exporter
from services.api.imports.execution import Worker
from services.api.jobs.clockwork import Clockwork
from services.api.jobs.deliveries import Deliveries
from services.api.jobs.duty import Duty
from services.api.jobs.exports import ExportSweep
from services.api.jobs.housekeeping import PARTITION_SECONDS, PURGE_SECONDS, Housekeeping
from services.api.jobs.imports import ImportSweep
from services.api.jobs.settings import WorkerSettings
from services.api.jobs.webhook_jobs import REENCRYPT_SECONDS, Reencryption, WebhookJobs
from services.api.webhooks.secrets import vault_of
from shared import telemetry
from shared.clock import SystemClock
from shared.db import Database, open_database
from shared.listener import Hints, Listener
from shared.probes import Heartbeat, Probes
from shared.queue import API_QUEUE, WORK, Nudger
from shared.schema_check import NotReady, require_schema

log = structlog.get_logger(__name__)

# Longer than the longest statement and the longest pause after an error together.
_STALE_SECONDS = 60.0


async def serve(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Works until `stop` is set. Raises NotReady when it can't begin, with what to do."""
    telemetry.expose("api-worker")
    await require_schema(settings.database_url, settings.role)
    database = await open_database(
        settings.database_url,
        settings.role,
        size=settings.database_pool,
        statement_cache=settings.statement_cache,
        statement_timeout_ms=settings.statement_timeout_ms,
    )
    nudger = Nudger(settings.redis_url)
    nudger.start()
    heartbeat = Heartbeat(_STALE_SECONDS)
    sweep = ImportSweep(Worker(database, settings, SystemClock(), nudger))
    duties = _duties(settings, database, sweep, heartbeat)
    sweep.again = duties[0].wake
    exports = ExportSweep(Exporter(database, settings, SystemClock(), nudger))
    giving = Duty("exports", exports.work, settings.sweep_seconds, heartbeat)
    exports.again = giving.wake
    duties += [giving, Duty("expired exports", exports.expire, PURGE_SECONDS, heartbeat)]
    deliveries = Deliveries(database, settings, SystemClock(), nudger)
    sending = deliveries.duties(settings.sweep_seconds, heartbeat)
    duties += sending
    relaying, sweeping = sending[0], sending[1]
    asked = _webhook_duties(settings, database, sweeping, heartbeat)
    duties += asked

    def look() -> None:
        """Somebody has asked for something: an import, an export, a sample, a redelivery."""
        for duty in (duties[0], giving, sweeping, asked[0]):
            duty.wake()

    listener = Listener(settings.redis_url, API_QUEUE, {WORK: look})
    hints = Hints(settings.redis_url, lambda _: relaying.wake(), relaying.wake)

    async def problems() -> list[str]:
        """Redis away makes this worker a little slower, not unready."""
        return [duty.trouble for duty in duties if duty.trouble is not None]

    # On one machine nobody outside it has to see them.
    probes = Probes(heartbeat, problems, host="127.0.0.1") if settings.embedded else Probes(heartbeat, problems)
    working = [asyncio.create_task(duty.run(), name=duty.name) for duty in duties]
    listening = [asyncio.create_task(each.run(), name="listen") for each in (listener, hints)]
    try:
        if settings.metrics_port:
            await _open_probes(probes, settings.metrics_port)
        log.info("api_worker_started")
        await stop.wait()
    finally:
        for duty in duties:
            duty.stop()
        for task in listening:
            task.cancel()
        with suppress(TimeoutError):
            ending = asyncio.gather(
                sweep.stop(),
                exports.stop(),
                deliveries.stop(settings.stop_seconds - 4),
                *working,
                return_exceptions=True,
            )
            await asyncio.wait_for(ending, settings.stop_seconds)
        await asyncio.wait(listening, timeout=settings.stop_seconds)
        await probes.close()
        await nudger.close()
        with suppress(asyncpg.InterfaceError, OSError, TimeoutError):
            await asyncio.wait_for(database.close(), 2)
        log.info("api_worker_stopped")


def _duties(settings: WorkerSettings, database: Database, sweep: ImportSweep, heartbeat: Heartbeat) -> list[Duty]:
    clockwork = Clockwork(database, settings.due_batch)
    housekeeping = Housekeeping(database, settings.event_days, settings.idempotency_hours)
    return [
        Duty("imports", sweep.work, settings.sweep_seconds, heartbeat),
        Duty("time", clockwork.work, settings.sweep_seconds, heartbeat),
        Duty("partitions", housekeeping.partitions, PARTITION_SECONDS, heartbeat),
        Duty("restored events", housekeeping.settle, PARTITION_SECONDS, heartbeat),
        Duty("idempotency keys", housekeeping.purge_keys, PURGE_SECONDS, heartbeat),
    ]


def _webhook_duties(settings: WorkerSettings, database: Database, sweeping: Duty, heartbeat: Heartbeat) -> list[Duty]:
    jobs = WebhookJobs(database, SystemClock(), sweeping.wake)
    reencryption = Reencryption(database, vault_of(settings))
    return [
        Duty("webhook jobs", jobs.work, settings.sweep_seconds, heartbeat),
        Duty("webhook keys", reencryption.work, REENCRYPT_SECONDS, heartbeat),
    ]


async def _open_probes(probes: Probes, port: int) -> None:
    try:
        await probes.start(port)
    except OSError as error:
        raise NotReady(f"Port {port} for metrics can't be opened ({error}): set SIXTEEN_METRICS_PORT.") from error


async def run(settings: WorkerSettings) -> None:
    """`serve` until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main() -> int:
    """Runs the worker; the exit code: 0 stopped, 1 can't begin, 2 wrong settings."""
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        for wrong in error.errors():
            place = "_".join(str(part) for part in wrong["loc"]).upper()
            sys.stderr.write(f"SIXTEEN_{place}: {wrong['msg']}\n" if place else f"{wrong['msg']}\n")
        return 2
    telemetry.configure_logging("api-worker", settings.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except NotReady as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
