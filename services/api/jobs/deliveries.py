"""Webhook deliveries as duties of the api-worker: relaying, sweeping, counting."""

from __future__ import annotations

import resource
from typing import Final

import structlog

from services.api.delivery.client import Client, Resolver
from services.api.delivery.endpoints import Endpoints
from services.api.delivery.engine import Engine
from services.api.delivery.relay import Relay
from services.api.jobs.settings import WorkerSettings
from services.api.webhooks.secrets import vault_of
from services.api.webhooks.validation import rules_of
from shared import telemetry
from shared.clock import Clock
from shared.db import Database
from shared.duty import Duty
from shared.queue import Nudger

log = structlog.get_logger(__name__)

COUNT_SECONDS: Final = 5.0
# Files that are no connections to receivers.
_OTHER_FILES: Final = 200
_DEPTH: Final = "SELECT depth, due, age, failing, paused FROM events.delivery_depth($1)"


class Deliveries:
    """The relay and the engine of one worker."""

    def __init__(self, database: Database, settings: WorkerSettings, clock: Clock, nudger: Nudger) -> None:
        self._database = database
        self._clock = clock
        self._nudger = nudger
        self._resolver = Resolver()
        client = Client(rules_of(settings), self._resolver)
        self.engine = Engine(database, settings, clock, client, Endpoints(vault_of(settings)))
        self.relay = Relay(database, clock, self.engine.hint)
        _allow_files(settings.delivery_sockets + _OTHER_FILES)
        if settings.embedded:
            log.info("loopback_receivers_allowed", why="embedded mode: webhooks may go to this machine")

    def duties(self, seconds: float) -> list[Duty]:
        """The duties; the first is to be woken by whatever leaves events behind."""
        relaying = Duty("webhook relay", self.relay.work, seconds)
        self.relay.beat = relaying.beat
        self.engine.told = self._nudger.tell
        self.engine.start()
        return [
            relaying,
            Duty("webhook deliveries", self.engine.sweep, seconds),
            Duty("webhook counts", self.count, COUNT_SECONDS),
        ]

    async def count(self) -> bool:
        """Feeds the metrics."""
        row = await self._database.fetchrow(_DEPTH, self._clock.now())
        if row is not None:
            telemetry.DELIVERIES_WAITING.set(row["depth"])
            telemetry.DELIVERIES_DUE.set(row["due"])
            telemetry.DELIVERY_AGE.set(row["age"])
            telemetry.WEBHOOK_ENDPOINTS.labels("failing").set(row["failing"])
            telemetry.WEBHOOK_ENDPOINTS.labels("paused").set(row["paused"])
        for lane, attempts in self.engine.in_flight().items():
            telemetry.DELIVERIES_IN_FLIGHT.labels(lane).set(attempts)
        return False

    async def stop(self, seconds: float) -> None:
        """Ends after the attempts under way, or after so long."""
        await self.engine.stop(seconds)
        self._resolver.close()


def _allow_files(wanted: int) -> None:
    """As many open files as connections need; many systems give a process 1,024 unless it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        log.warning("few_open_files", allowed=possible, wanted=wanted)
