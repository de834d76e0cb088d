"""Who is sent to next: fair shares of the slots, so that slow receivers, however many, hold up nobody but themselves.

Three lanes have slots of their own: `fast` for endpoints that answer well, `new` for those never heard of, `slow` for
those that fail or are slow to answer. Within a lane endpoints take turns, each with a few attempts under way at most.
Nobody holds a slot of the first two lanes for longer than a second: an attempt that takes longer moves to the slow
lane together with its endpoint, even beyond that lane's number, which then starts nothing new.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from math import ceil
from typing import Final

from services.api.delivery.breaker import CLOSED
from services.api.delivery.claims import Claimed
from services.api.delivery.endpoints import Endpoint

SLOW_SECONDS: Final = 1.0
# Two failures in a row: one may happen to anybody.
_STRIKES: Final = 2
_UNPROVEN_AT_ONCE: Final = 2
# Besides those under way so many of a good endpoint are held ready, so that claiming never holds it up.
_READY: Final = 3
_MOST_THROTTLED: Final = 500
_MADE_UP_SECONDS: Final = 0.05
# What is queued by somebody else, with a clock of their own or after a while, may be due before what was taken up.
_OUT_OF_STEP: Final = timedelta(seconds=5)
_LOOK_SECONDS: Final = 30.0


class Lane(IntEnum):
    """In the order in which they are served."""

    FAST = 0
    NEW = 1
    SLOW = 2


@dataclass(slots=True, eq=False)
class Line:
    """One endpoint's deliveries in this process. `more` says that PostgreSQL may hold further ones that are due."""

    endpoint: Endpoint
    lane: Lane
    waiting: deque[Claimed] = field(default_factory=deque)
    in_flight: int = 0
    queued: bool = False
    more: bool = False
    strikes: int = 0
    timer: asyncio.TimerHandle | None = None
    # A throttled endpoint is not sent to before, whatever was held up until now.
    not_before: float = 0.0
    # Attempts that ended and are not written down.
    unsettled: int = 0
    # Successes that were not written to its health.
    unnoted: int = 0
    used_at: float = 0.0
    # What was due before is taken up; and when everything was last looked at, by the event loop's time.
    floor: datetime | None = None
    looked_at: float = 0.0

    @classmethod
    def of(cls, endpoint: Endpoint) -> Line:
        """The line of an endpoint that this process has not met before."""
        lane = Lane.SLOW if endpoint.failing else Lane.FAST if endpoint.proven else Lane.NEW
        return cls(endpoint, lane)

    def at_once(self, most: int, now: datetime) -> int:
        """Attempts that may be under way together."""
        room = self.endpoint.breaker.room(now)
        usual = most if self.lane is Lane.FAST else min(most, _UNPROVEN_AT_ONCE)
        return usual if room is None else min(room, usual)

    def room(self, most: int, now: datetime) -> int:
        """How many more to claim."""
        at_once = self.at_once(most, now)
        rate = self.endpoint.throttle_rate
        if rate is not None and at_once:
            # The times for sending them are given away with the claim: about a second's worth.
            return 0 if self.waiting else min(ceil(rate), _MOST_THROTTLED)
        if self.lane is Lane.FAST and self.endpoint.breaker.state == CLOSED:
            return at_once * _READY - len(self.waiting) - self.in_flight
        # What the breaker makes of the last attempts is waited for.
        return at_once - len(self.waiting) - self.in_flight - self.unsettled

    def beginning(self, at: float) -> datetime | None:
        """From what time on to claim; None, which is everything, where nothing is known and now and then."""
        if self.floor is None or at - self.looked_at > _LOOK_SECONDS:
            self.looked_at = at
            return None
        return self.floor - _OUT_OF_STEP

    def take(self, claimed: Claimed) -> None:
        """One more that waits here; they come in the order in which they are due."""
        self.waiting.append(claimed)
        self.floor = claimed.due_at if self.floor is None else max(self.floor, claimed.due_at)

    def begun(self, now: float) -> None:
        """Puts the next sending off by the throttle's period; only a little of lost time is made up for."""
        if self.endpoint.throttle_rate is not None:
            self.not_before = max(self.not_before, now - _MADE_UP_SECONDS) + 1 / self.endpoint.throttle_rate

    def note(self, succeeded: bool, seconds: float) -> None:
        """Chooses the lane after an attempt."""
        self.strikes = 0 if succeeded else self.strikes + 1
        if seconds >= SLOW_SECONDS or self.strikes >= _STRIKES:
            self.lane = Lane.SLOW
        elif succeeded:
            self.lane = Lane.FAST


class Lanes:
    """Slots and turns. `slots` are the attempts that may be under way, by lane; `budget` all together."""

    def __init__(self, slots: dict[Lane, int], budget: int) -> None:
        self._slots = slots
        self._budget = budget
        self._turns: dict[Lane, deque[Line]] = {lane: deque() for lane in Lane}
        self.open = dict.fromkeys(Lane, 0)

    def ready(self, line: Line) -> None:
        """Gives a line its turn, once."""
        if not line.queued:
            line.queued = True
            self._turns[line.lane].append(line)

    def free(self, lane: Lane) -> int:
        """Attempts that may begin in a lane now."""
        reserved = 0 if lane is Lane.FAST else self._slots[Lane.FAST]
        within = self._budget - reserved - sum(self.open.values()) + (self.open[Lane.FAST] if reserved else 0)
        return max(0, min(self._slots[lane] - self.open[lane], within))

    def next(self) -> Line | None:
        """The line whose turn it is, in the first lane that has a free slot; None where there is none."""
        for lane in Lane:
            turns = self._turns[lane]
            while turns and self.free(lane):
                line = turns.popleft()
                line.queued = False
                if line.lane is lane:
                    return line
                self.ready(line)
                if line.lane < lane:
                    return self.next()
        return None
