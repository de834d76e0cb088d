"""The api-worker: `python -m services.api.worker`. What is slow or faces outside: imports, exports, webhooks, time."""

from __future__ import annotations

import asyncio
import sys

from services.api.exports.attempt import Exporter
from services.api.imports.execution import Worker as Importer
from services.api.jobs.clockwork import OVERDUE_SECONDS, Clockwork, OverdueTasks
from services.api.jobs.deliveries import Deliveries
from services.api.jobs.exports import ExportSweep
from services.api.jobs.housekeeping import PARTITION_SECONDS, PURGE_SECONDS, Housekeeping
from services.api.jobs.imports import ImportSweep
from services.api.jobs.settings import WorkerSettings
from services.api.jobs.webhook_jobs import REENCRYPT_SECONDS, Reencryption, WebhookJobs
from services.api.webhooks.secrets import vault_of
from shared import worker
from shared.clock import SystemClock
from shared.duty import Duty
from shared.listener import Hints, Listener
from shared.queue import API_QUEUE, WORK
from shared.worker import Tools, Work

NAME = "api-worker"
# Of the seconds a stop may take, those in which attempts under way are recorded.
_RECORDING_SECONDS = 4


def assemble(settings: WorkerSettings, tools: Tools) -> Work:
    """All duties, and who wakes them."""
    database, nudger = tools.database, tools.nudger
    clock, seconds = SystemClock(), settings.sweep_seconds

    imports = ImportSweep(Importer(database, settings, clock, nudger))
    importing = Duty("imports", imports.work, seconds)
    imports.again = importing.wake
    exports = ExportSweep(Exporter(database, settings, clock, nudger))
    exporting = Duty("exports", exports.work, seconds)
    exports.again = exporting.wake
    deliveries = Deliveries(database, settings, clock, nudger)
    sending = deliveries.duties(seconds)
    relaying, sweeping = sending[0], sending[1]
    redeliveries = WebhookJobs(database, clock, sweeping.wake)
    redelivering = Duty("webhook jobs", redeliveries.work, seconds)
    redeliveries.beat = redelivering.beat

    def look() -> None:
        """Somebody has asked for something: an import, an export, a sample, a redelivery."""
        for duty in (importing, exporting, sweeping, redelivering):
            duty.wake()

    return Work(
        duties=[
            importing,
            exporting,
            *sending,
            redelivering,
            Duty("expired exports", exports.expire, PURGE_SECONDS),
            Duty("webhook keys", Reencryption(database, vault_of(settings)).work, REENCRYPT_SECONDS),
            *_clockwork(settings, tools),
        ],
        listeners=[
            Listener(settings.redis_url, API_QUEUE, {WORK: look}),
            Hints(settings.redis_url, lambda _: relaying.wake(), relaying.wake),
        ],
        endings=[
            imports.stop,
            exports.stop,
            lambda: deliveries.stop(settings.stop_seconds - _RECORDING_SECONDS),
        ],
    )


def _clockwork(settings: WorkerSettings, tools: Tools) -> list[Duty]:
    """What time itself asks for."""
    clockwork = Clockwork(tools.database, settings.due_batch)
    overdue = OverdueTasks(tools.database, SystemClock(), tools.nudger, min(settings.due_batch, 1_000))
    housekeeping = Housekeeping(tools.database, settings.event_days, settings.idempotency_hours)
    return [
        Duty("time", clockwork.work, settings.sweep_seconds),
        Duty("overdue tasks", overdue.work, OVERDUE_SECONDS),
        Duty("partitions", housekeeping.partitions, PARTITION_SECONDS),
        Duty("restored events", housekeeping.settle, PARTITION_SECONDS),
        Duty("idempotency keys", housekeeping.purge_keys, PURGE_SECONDS),
        Duty("old merges", housekeeping.forget_merges, PARTITION_SECONDS),
    ]


async def serve(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Works until `stop` is set. Raises NotReady when it can't begin, with what to do."""
    await worker.serve(NAME, settings, assemble, stop)


if __name__ == "__main__":
    sys.exit(worker.run(NAME, WorkerSettings, serve))
