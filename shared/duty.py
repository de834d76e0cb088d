"""A duty: something a worker does again and again, by itself or when it is woken.

It needs PostgreSQL alone. While that is away the duty waits, a little longer each time, and goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from shared.probes import Heartbeat

log = structlog.get_logger(__name__)

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0


class Duty:
    """Calls `work` every `seconds`, or sooner when woken; `work` says whether there is more to do at once."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[bool]],
        seconds: float,
        heartbeat: Heartbeat,
        *,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._work = work
        self._seconds = seconds
        self._heartbeat = heartbeat
        self._wake = asyncio.Event()
        self._stopping = False
        # Long work is told of the stop, so that it can end early.
        self._stop_work = stop
        self.trouble: str | None = None

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def stop(self) -> None:
        """Ends the loop after the work under way."""
        self._stopping = True
        if self._stop_work is not None:
            self._stop_work()
        self._wake.set()

    async def run(self) -> None:
        """Works until stopped; whatever goes wrong is logged and tried again."""
        wait = _FIRST_WAIT
        while not self._stopping:
            self._wake.clear()
            self._heartbeat.beat()
            try:
                more = await self._work()
            except Exception as error:  # noqa: BLE001 - the loop outlives whatever its work raises
                self._report(error)
                await self._pause(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            wait = _FIRST_WAIT
            self.trouble = None
            if not more:
                await self._pause(self._seconds)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    def _report(self, error: Exception) -> None:
        """Says what is wrong, in full only when it is news."""
        text = f"{type(error).__name__}: {error}"
        if self.trouble == f"{self.name}: {text}":
            log.warning("duty_failed_again", duty=self.name, error=text)
        else:
            log.error("duty_failed", duty=self.name, error=text, exc_info=error)
        self.trouble = f"{self.name}: {text}"
