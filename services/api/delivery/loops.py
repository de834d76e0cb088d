"""A loop beside the attempts: it is woken, works, and outlives whatever goes wrong in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
import structlog

from shared.duty import LATE_SECONDS
from shared.probes import Heartbeat

log = structlog.get_logger(__name__)

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0


class Loop:
    """Calls `work` whenever `wake` is set; after an error again by itself, a little later each time.

    Work that may take long calls `beat` as it gets on: what is not heard of for a minute hangs.
    """

    def __init__(self, name: str, wake: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self.busy = False
        self._failure: str | None = None
        self._heartbeat = Heartbeat(LATE_SECONDS)
        self._wake = wake
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def beat(self) -> None:
        """The work under way has got on."""
        self._heartbeat.beat()

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, other than an outage."""
        if self.busy and not self._heartbeat.alive:
            return f"{self.name}: nothing heard of it for {self._heartbeat.age:.0f} s"
        return self._failure

    def start(self) -> None:
        """Begins to work."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Breaks off what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        wait = _FIRST_WAIT
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.beat()
            self.busy = True
            try:
                await self._work()
            except Exception as error:  # noqa: BLE001 - the loop outlives whatever its work raises
                self._report(error)
                self._wake.set()
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                wait = _FIRST_WAIT
                self._failure = None
            finally:
                self.busy = False

    def _report(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
            log.warning("delivery_waits", error=text)
        else:
            log.error("delivery_failed_unexpectedly", error=text, exc_info=error)
            self._failure = text
