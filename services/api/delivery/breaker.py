"""The circuit breaker of an endpoint: when most attempts fail, sending pauses and the queue is kept.

After the pause one attempt probes. If it succeeds everything flows again; if not, the pause is twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

CLOSED: Final = "closed"
OPEN: Final = "open"
WINDOW: Final = timedelta(minutes=5)
LEAST_ATTEMPTS: Final = 10
SHARE: Final = 0.7
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Breaker:
    """`until` ends the pause while it is open, the `openings`-th in a row; then one probe at a time is let by."""

    state: str = CLOSED
    until: datetime | None = None
    openings: int = 0
    window_started_at: datetime | None = None
    attempts: int = 0
    failures: int = 0

    def room(self, now: datetime) -> int | None:
        """Attempts that may be under way: None for any number, 0 during a pause, 1 for the probe."""
        if self.state == CLOSED:
            return None
        return 0 if self.until is not None and now < self.until else 1

    def after(self, succeeded: int, failed: int, now: datetime) -> Breaker:
        """The breaker after that many outcomes, all seen at `now`."""
        if self.state == OPEN:
            if succeeded:
                return Breaker()
            if failed and self.room(now):
                return replace(self, openings=self.openings + 1, until=now + pause_of(self.openings + 1))
            # Attempts that were under way when it opened tell nothing new.
            return self
        started = self.window_started_at
        fresh = started is None or not timedelta(0) <= now - started < WINDOW
        attempts = succeeded + failed + (0 if fresh else self.attempts)
        failures = failed + (0 if fresh else self.failures)
        if attempts >= LEAST_ATTEMPTS and failures >= SHARE * attempts and failed:
            return Breaker(OPEN, now + pause_of(1), 1)
        return Breaker(CLOSED, None, 0, now if fresh else started, attempts, failures)


def pause_of(openings: int) -> timedelta:
    """How long it pauses the `openings`-th time in a row."""
    return min(FIRST_PAUSE * (1 << min(openings - 1, 10)), LONGEST_PAUSE)
