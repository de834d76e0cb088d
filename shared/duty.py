"""A duty: something a worker does again and again, by itself or when it is woken.

It needs PostgreSQL alone. While that is away the duty waits, a little longer each time, and goes on where it was. Each
duty has a heart of its own: one that hangs is seen, however busily the others of its process go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Final

import structlog

from shared.probes import Heartbeat

log = structlog.get_logger(__name__)

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
# Longer than the longest statement and the longest pause after an error together.
LATE_SECONDS: Final = 60.0
_AT_WORK: ContextVar[Duty | None] = ContextVar("duty", default=None)


def beat() -> None:
    """The turn of the duty in which this is called has got on; nothing where it is called in none."""
    duty = _AT_WORK.get()
    if duty is not None:
        duty.beat()


class Duty:
    """Calls `work` every `seconds`, or sooner when woken; `work` says whether there is more to do at once.

    A turn of `work` that is not over `LATE_SECONDS` after the latest `beat` hangs: work that may take longer beats
    (by the function of that name, wherever it is).
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[bool]],
        seconds: float,
        heartbeat: Heartbeat | None = None,
        *,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._work = work
        self._seconds = seconds
        self._heartbeat = heartbeat or Heartbeat(LATE_SECONDS)
        self._working = False
        self._succeeded_at = time.monotonic()
        self._wake = asyncio.Event()
        self._stopping = False
        # Long work is told of the stop, so that it can end early.
        self._stop_work = stop
        self.trouble: str | None = None

    def beat(self) -> None:
        """The turn under way has got on."""
        self._heartbeat.beat()

    @property
    def late(self) -> str | None:
        """That the turn under way hangs, in words; None where none does."""
        if not self._working or self._heartbeat.alive:
            return None
        return f"{self.name}: nothing heard of its turn for {self._heartbeat.age:.0f} s"

    @property
    def age(self) -> float:
        """Seconds since a turn last ended well; before the first, since the beginning."""
        return time.monotonic() - self._succeeded_at

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
        _AT_WORK.set(self)
        while not self._stopping:
            self._wake.clear()
            self._heartbeat.beat()
            self._working = True
            try:
                more = await self._work()
            except Exception as error:  # noqa: BLE001 - the loop outlives whatever its work raises
                self._working = False
                self._report(error)
                await self._pause(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            self._working = False
            self._succeeded_at = time.monotonic()
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


class Duties:
    """The pulse of a worker: alive while none of its duties hangs."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._duties = duties

    @property
    def late(self) -> list[str]:
        """What hangs, in words."""
        return [late for duty in self._duties if (late := duty.late) is not None]

    @property
    def alive(self) -> bool:
        """Whether all come round."""
        return not self.late

    @property
    def words(self) -> str:
        """What hangs, or that nothing does."""
        return "\n".join(self.late) or f"{len(self._duties)} duties come round"

    @property
    def problems(self) -> list[str]:
        """What hangs, and what failed in its latest turn."""
        return [*self.late, *(duty.trouble for duty in self._duties if duty.trouble is not None)]
