"""The engine: takes up what is due, sends it side by side, and writes down how it went.

Everything that matters stands in PostgreSQL; what is in memory are leases and turns. Three loops run beside the
attempts: one claims, one writes outcomes, and a sweep (a duty of the worker) finds what nobody hinted at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from services.api.delivery import claims
from services.api.delivery.attempts import attempt
from services.api.delivery.claims import Claimed
from services.api.delivery.client import Client
from services.api.delivery.endpoints import Endpoint, Endpoints
from services.api.delivery.lanes import SLOW_SECONDS, Lane, Lanes, Line
from services.api.delivery.loops import Loop
from services.api.delivery.outcomes import Health, Outcome, untried
from services.api.delivery.recorder import Recorder
from services.api.jobs.settings import WorkerSettings
from shared.clock import Clock
from shared.db import Database

log = structlog.get_logger(__name__)

# Retries that are due sooner than a sweep or two are waited for here, to the moment.
_AWAITED_SECONDS: Final = 120.0
_FORGET_SECONDS: Final = 120.0


class Engine:
    """Delivers for one process."""

    def __init__(
        self, database: Database, settings: WorkerSettings, clock: Clock, client: Client, endpoints: Endpoints
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._client = client
        self._endpoints = endpoints
        self._lanes = Lanes(
            {
                Lane.FAST: settings.delivery_fast_slots,
                Lane.NEW: settings.delivery_new_slots,
                Lane.SLOW: settings.delivery_slow_slots,
            },
            settings.delivery_sockets,
        )
        self._lines: dict[UUID, Line] = {}
        self._wanted: dict[UUID, set[UUID]] = {}
        self._want = asyncio.Event()
        self._recorder = Recorder(database, clock, self)
        self._attempts: set[asyncio.Task[None]] = set()
        self._claiming = Loop("claim deliveries", self._want, self._claim_wanted)
        self._writing = Loop("write deliveries", self._recorder.wake, self._recorder.work)
        self._recorder.beat = self._writing.beat
        self._loops = (self._claiming, self._writing)
        self._stopping = False

    def start(self) -> None:
        """Begins to claim and to write."""
        for loop in self._loops:
            loop.start()

    # Claiming.

    def hint(self, workspace_id: UUID, endpoint_ids: Iterable[UUID]) -> None:
        """Something is due, or may be: it is looked for at once where there is room."""
        self._wanted.setdefault(workspace_id, set()).update(endpoint_ids)
        self._want.set()

    async def sweep(self) -> bool:
        """A duty: finds what is due and was not hinted at: after a crash, a pause, or by another worker's doing."""
        if self._stopping:
            return False
        now, at = self._clock.now(), asyncio.get_running_loop().time()
        self._client.tidy()
        self._forget(at)
        resting = [id_ for id_, line in self._lines.items() if self._room(line, now) <= 0]
        most = sum(self._lanes.free(lane) for lane in Lane)
        if most:
            for workspace_id, endpoint_id in await claims.due(self._database, now, resting, most):
                self._look_anew(endpoint_id)
                self.hint(workspace_id, (endpoint_id,))
        trouble = [loop.trouble for loop in self._loops if loop.trouble is not None]
        if trouble:
            # The duty reports it: the loops are none.
            raise RuntimeError("; ".join(trouble))
        return False

    def _look_anew(self, endpoint_id: UUID) -> None:
        """Something is due where nothing is under way: it may be due since long ago."""
        line = self._lines.get(endpoint_id)
        if line is not None and not line.waiting and not line.in_flight:
            line.floor = None

    def _room(self, line: Line, now: datetime) -> int:
        if line.lane is not Lane.FAST and not self._lanes.free(line.lane):
            return 0
        return line.room(self._settings.delivery_endpoint_slots, now)

    def _forget(self, at: float) -> None:
        for id_, line in list(self._lines.items()):
            if not line.waiting and not line.in_flight and not line.queued and at - line.used_at > _FORGET_SECONDS:
                del self._lines[id_]

    async def _claim_wanted(self) -> None:
        wanted, self._wanted = self._wanted, {}
        now = self._clock.now()
        try:
            while wanted and not self._stopping:
                self._claiming.beat()
                workspace_id, endpoint_ids = wanted.popitem()
                rooms: dict[UUID, int] = {}
                for endpoint_id in endpoint_ids:
                    line = self._lines.get(endpoint_id)
                    rooms[endpoint_id] = room = 2 if line is None else self._room(line, now)
                    if line is not None and room <= 0:
                        line.more = True
                try:
                    await self._claim(workspace_id, {id_: room for id_, room in rooms.items() if room > 0})
                except BaseException:
                    self._wanted.setdefault(workspace_id, set()).update(endpoint_ids)
                    raise
        finally:
            for workspace_id, endpoint_ids in wanted.items():
                self._wanted.setdefault(workspace_id, set()).update(endpoint_ids)

    async def _claim(self, workspace_id: UUID, rooms: dict[UUID, int]) -> None:
        if not rooms:
            return
        at = asyncio.get_running_loop().time()
        floors = {id_: line.beginning(at) for id_ in rooms if (line := self._lines.get(id_)) is not None}
        async with self._database.transaction(workspace_id, self._clock.now(), durable=False) as tx:
            lease = self._settings.delivery_lease_seconds
            claimed, found = await claims.claim(tx, self._endpoints, rooms, lease, floors)
        counts = dict.fromkeys(rooms, 0)
        for each in claimed:
            counts[each.endpoint_id] += 1
            self._take(each, found.get(each.endpoint_id))
        for endpoint_id, room in rooms.items():
            line = self._lines.get(endpoint_id)
            if line is not None:
                line.more = counts[endpoint_id] >= room
                if line.more:
                    self._refill(line)
        self._pump()

    def _take(self, claimed: Claimed, endpoint: Endpoint | None) -> None:
        hopeless = untried(claimed, endpoint, self._clock.now())
        if hopeless is not None or endpoint is None:
            if hopeless is not None:
                self._end(None, hopeless)
            return
        line = self._lines.get(endpoint.id)
        if line is None:
            line = self._lines[endpoint.id] = Line.of(endpoint)
        line.endpoint = endpoint
        line.take(claimed)
        self._lanes.ready(line)

    # Sending.

    def _pump(self) -> None:
        """Begins whatever may begin."""
        loop = asyncio.get_running_loop()
        now = self._clock.now()
        while not self._stopping and (line := self._lanes.next()) is not None:
            at_once = line.at_once(self._settings.delivery_endpoint_slots, now)
            if not at_once:
                self._give_back(line)
            if not line.waiting or line.in_flight >= at_once:
                continue
            claimed = line.waiting[0]
            start = max(claimed.start, line.not_before)
            if start > loop.time() + 0.001:
                self._wait(line, start)
                continue
            line.waiting.popleft()
            if claimed.expires - loop.time() > line.endpoint.timeout_seconds + 5:
                self._begin(line, claimed)
            else:
                # It could outlive its lease: it is due again for whoever finds it.
                self._recorder.give_back((claimed,))
                line.floor = None
            if line.waiting:
                self._lanes.ready(line)

    def _wait(self, line: Line, until: float) -> None:
        def turn() -> None:
            line.timer = None
            self._lanes.ready(line)
            self._pump()

        if line.timer is None:
            line.timer = asyncio.get_running_loop().call_at(until, turn)

    def _give_back(self, line: Line) -> None:
        """The breaker has opened: what was taken up waits in its queue with all the rest."""
        self._recorder.give_back(line.waiting)
        line.waiting.clear()
        line.floor = None

    def _begin(self, line: Line, claimed: Claimed) -> None:
        line.in_flight += 1
        line.begun(asyncio.get_running_loop().time())
        self._lanes.open[line.lane] += 1
        task = asyncio.create_task(self._attempt(line, claimed, line.lane))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _attempt(self, line: Line, claimed: Claimed, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        started, held = loop.time(), [lane]

        def move_over() -> None:
            """It takes long: its slot is for others, and its endpoint is a slow one."""
            self._lanes.open[held[0]] -= 1
            held[0] = line.lane = Lane.SLOW
            self._lanes.open[Lane.SLOW] += 1
            self._pump()

        timer = loop.call_later(SLOW_SECONDS, move_over)
        try:
            outcome = await attempt(self._client, self._clock, line.endpoint, claimed)
        finally:
            timer.cancel()
            self._lanes.open[held[0]] -= 1
            line.in_flight -= 1
            line.used_at = loop.time()
        line.note(outcome.succeeded, loop.time() - started)
        self._end(line, outcome)
        if line.waiting:
            self._lanes.ready(line)
        self._refill(line)
        self._pump()

    def _refill(self, line: Line) -> None:
        if line.more and self._room(line, self._clock.now()) > 0:
            line.more = False
            self.hint(line.endpoint.workspace_id, (line.endpoint.id,))

    def _end(self, line: Line | None, outcome: Outcome) -> None:
        self._recorder.add(line, outcome)

    def learn(self, line: Line, health: Health) -> None:
        """What an endpoint's health means for its line."""
        line.unnoted = 0
        line.endpoint = replace(
            line.endpoint,
            breaker=health.breaker,
            failing=health.failing_since is not None,
            last_success_at=health.last_success_at,
        )
        if health.breaker.until is not None:
            self.later(line.endpoint.workspace_id, line.endpoint.id, health.breaker.until)
        if line.waiting:
            self._lanes.ready(line)
            self._pump()

    def settled(self, line: Line) -> None:
        """What was tried is written: there may be room for more."""
        self._refill(line)

    def later(self, workspace_id: UUID, endpoint_id: UUID, at: datetime) -> None:
        """Looks again when something is due, where a sweep would be late."""
        seconds = (at - self._clock.now()).total_seconds()
        if seconds <= _AWAITED_SECONDS:
            asyncio.get_running_loop().call_later(max(0.0, seconds) + 0.002, self.hint, workspace_id, (endpoint_id,))

    # Running.

    @property
    def told(self) -> Callable[[UUID], None]:
        """Called after a commit that left events in a workspace."""
        return self._recorder.told

    @told.setter
    def told(self, told: Callable[[UUID], None]) -> None:
        self._recorder.told = told

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, waiting in memory, or to be written."""
        waiting = any(line.waiting or line.in_flight for line in self._lines.values())
        pending = self._wanted or self._want.is_set() or not self._recorder.idle
        return not (waiting or pending or self._attempts or any(loop.busy for loop in self._loops))

    def in_flight(self) -> dict[str, int]:
        """Attempts under way, by lane."""
        return {lane.name.lower(): count for lane, count in self._lanes.open.items()}

    async def stop(self, seconds: float) -> None:
        """Begins nothing more, lets attempts end for so long, gives the rest back."""
        self._stopping = True
        if self._attempts:
            await asyncio.wait(set(self._attempts), timeout=max(0.0, seconds))
        for loop in self._loops:
            await loop.stop()
        for task in self._attempts:
            task.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        for line in self._lines.values():
            if line.timer is not None:
                line.timer.cancel()
            self._recorder.give_back(line.waiting)
            line.waiting.clear()
        try:
            async with asyncio.timeout(3):
                await self._recorder.work()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("deliveries_left", error=str(error))
        await self._client.close()
