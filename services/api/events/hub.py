"""One reader a workspace for all its live streams in this process.

A channel reads each new event once, as soon as a hint says that there is one and at least every second, and keeps the
latest in memory for its streams to tell. It holds no connection while it waits. Streams that are further behind read
for themselves. So a thousand clients cost one statement per change, and a hint that is lost costs a second at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from services.api.auth.identity import Identities
from services.api.errors import TooManyRequests, Unavailable
from services.api.events import queries
from services.api.events.places import Places
from services.api.events.wire import frame
from services.api.pagination import Cursors
from shared import telemetry
from shared.db import Database, Row, sql
from shared.feed import HORIZON, NIL, Position
from shared.tenancy import Principal

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 1.0
KEPT, KEPT_BYTES = 1_000, 2_000_000
_BATCH: Final = 200
_FIRST_HELD, _LONGEST_HELD, _LONG_HELD = 0.01, 0.05, 0.25
_PATIENCE: Final = 100
# What changes who may see what: whoever listens is asked again who they are.
_PEOPLE: Final = ("api_key.", "member.", "team.")
# What tells one database cluster from another.
CLUSTER: Final = "SELECT system_identifier FROM pg_control_system()"
_NOW: Final = sql(f"SELECT {HORIZON}")
OUTAGES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Told:
    """An event with its place and its bytes on the wire."""

    position: Position
    row: Row
    bytes: bytes


class Channel:
    """The latest events of one workspace. `start` is the place before the oldest kept, `position` that of the last."""

    def __init__(self, database: Database, identities: Identities, workspace_id: UUID, places: Places) -> None:
        self.workspace_id = workspace_id
        self.places = places
        self.start = self.position = Position(0, NIL)
        self.streams = 0
        self.people = 0
        self._database = database
        self._identities = identities
        self._kept: deque[Told] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self.ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"events of {workspace_id}")

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def after(self, position: Position) -> list[Told]:
        """What is kept beyond a place, in order."""
        found: list[Told] = []
        for told in reversed(self._kept):
            if told.position <= position:
                break
            found.append(told)
        found.reverse()
        return found

    def news(self) -> asyncio.Event:
        """Set once there is something after the present position."""
        return self._news

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        held = 0
        while True:
            self._wake.clear()
            wait = POLL_SECONDS
            try:
                more, waiting = await self._read()
                held = held + 1 if waiting else 0
                wait = 0.0 if more else _held_wait(held) if waiting else POLL_SECONDS
            except OUTAGES as error:
                log.warning("events_not_read", workspace_id=str(self.workspace_id), error=str(error))
            except Exception:  # a channel that ended would leave its streams with heartbeats and no events
                log.exception("events_not_read", workspace_id=str(self.workspace_id))
            if wait:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()

    async def _read(self) -> tuple[bool, bool]:
        """Reads once; whether there is more at once, and whether events wait for an older transaction."""
        async with self._database.transaction(self.workspace_id) as tx:
            if not self.ready.is_set():
                self.start = self.position = Position(await tx.value(_NOW), NIL)
                self.ready.set()
            batch = await queries.read_page(tx, self.position, _BATCH, audience=True)
        for row in batch.rows:
            told = Told(Position(row["xid"], row["id"]), row, frame(row, self.places.of_row(row)))
            self._kept.append(told)
            if row["type"].startswith(_PEOPLE):
                self._identities.forget(self.workspace_id)
                self.people += 1
            self._bytes += len(told.bytes)
        while len(self._kept) > KEPT or self._bytes > KEPT_BYTES:
            gone = self._kept.popleft()
            self._bytes -= len(gone.bytes)
            self.start = gone.position
        self.position = batch.position
        if batch.rows:
            news, self._news = self._news, asyncio.Event()
            news.set()
        return batch.more, batch.held


def _held_wait(times: int) -> float:
    """Soon at first; where a long transaction holds events back, not so often."""
    if times > _PATIENCE:
        return _LONG_HELD
    return float(min(_FIRST_HELD * 1.5 ** (times - 1), _LONGEST_HELD))


class Hub:
    """The channels of this process, and how many streams there are."""

    def __init__(
        self,
        database: Database,
        identities: Identities,
        cursors: Cursors,
        *,
        cluster: int,
        event_days: int,
        most: int,
        most_per_caller: int,
    ) -> None:
        self.database = database
        self.catching_up = asyncio.Semaphore(2)
        self.closing = asyncio.Event()
        self._identities = identities
        self._cursors = cursors
        self._cluster = cluster
        self._event_days = event_days
        self._most = most
        self._most_per_caller = most_per_caller
        self._channels: dict[UUID, Channel] = {}
        self._callers: Counter[UUID] = Counter()

    @property
    def streams(self) -> int:
        return self._callers.total()

    def places(self, workspace_id: UUID) -> Places:
        return Places(self._cursors, workspace_id, self._event_days, self._cluster)

    def tell(self, workspace_id: UUID) -> None:
        """Something was committed there."""
        channel = self._channels.get(workspace_id)
        if channel is not None:
            channel.wake()

    def tell_all(self) -> None:
        """Hints may have been missed."""
        for channel in self._channels.values():
            channel.wake()

    def admit(self, principal: Principal) -> Channel:
        """Counts a stream in; raises where there are too many. Whoever is admitted leaves by `leave`."""
        if self.closing.is_set() or self.streams >= self._most:
            raise Unavailable("This process holds as many live streams as it can: try again in a moment.")
        caller = _caller(principal)
        if self._callers[caller] >= self._most_per_caller:
            words = f"A caller may hold {self._most_per_caller} live streams at once: close one first."
            raise TooManyRequests(words, headers={"Retry-After": "5"})
        self._callers[caller] += 1
        telemetry.STREAMS.inc()
        channel = self._channels.get(principal.workspace_id)
        if channel is None:
            places = self.places(principal.workspace_id)
            channel = Channel(self.database, self._identities, principal.workspace_id, places)
            self._channels[principal.workspace_id] = channel
        channel.streams += 1
        return channel

    async def leave(self, principal: Principal, channel: Channel) -> None:
        """Counts a stream out; the last one takes its channel along."""
        caller = _caller(principal)
        self._callers[caller] -= 1
        telemetry.STREAMS.dec()
        if not self._callers[caller]:
            del self._callers[caller]
        channel.streams -= 1
        if not channel.streams and self._channels.get(channel.workspace_id) is channel:
            del self._channels[channel.workspace_id]
            await channel.close()

    def stop(self) -> None:
        """Ends every stream: their clients resume elsewhere."""
        self.closing.set()

    async def close(self) -> None:
        self.stop()
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))


def _caller(principal: Principal) -> UUID:
    return principal.key_id or principal.member_id
