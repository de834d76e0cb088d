"""Draining all workspaces in turn, as the worker's duty."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from services.scoring.jobs.drain import Context, drain
from services.scoring.marks import depth_and_age, due_workspaces
from shared import telemetry
from shared.probes import Heartbeat

# Interactive work goes first, but a steady stream of it in one workspace must not stop bulk work in all others.
_BULK_SHARE_SECONDS: Final = 1.0
_MEASURE_SECONDS: Final = 2.0


class Drainer:
    """Drains all workspaces in turn until it is stopped."""

    def __init__(self, context: Context, heartbeat: Heartbeat, tell: Callable[[UUID], None] = lambda _: None) -> None:
        self._context = context
        self._heartbeat = heartbeat
        # Called after a commit: the workspace has new events.
        self._tell = tell
        self._stopping = False
        self._served: dict[UUID, float] = {}
        self._last_bulk = 0.0
        self._last_measure = 0.0

    def stop(self) -> None:
        """Ends after the drain under way."""
        self._stopping = True

    async def work(self) -> bool:
        """Drains all there is: a duty, which has then nothing more to do at once."""
        await self.drain_all()
        await self._measure()
        return False

    async def drain_all(self) -> int:
        """Drains every workspace that has due marks, in turns, until none has; how many drains that took."""
        drains = 0
        while not self._stopping:
            waiting = await due_workspaces(self._context.database)
            busy = 0
            for workspace_id in self._turn(waiting):
                self._heartbeat.beat()
                # Noted before, so that one that fails is not the first again.
                self._served[workspace_id] = time.monotonic()
                outcome = await drain(self._context, workspace_id)
                if not outcome.idle:
                    busy += 1
                    self._tell(workspace_id)
            drains += busy
            if not busy:
                break
        return drains

    def _turn(self, waiting: list[tuple[UUID, bool]]) -> list[UUID]:
        """Who is served in this turn: all with interactive work, longest unserved first, and now and then bulk work."""
        by_patience = sorted(waiting, key=lambda found: self._served.get(found[0], 0.0))
        interactive = [workspace for workspace, urgent in by_patience if urgent]
        bulk = [workspace for workspace, urgent in by_patience if not urgent]
        if interactive and time.monotonic() - self._last_bulk < _BULK_SHARE_SECONDS:
            return interactive
        if bulk:
            self._last_bulk = time.monotonic()
        return interactive + bulk[:1]

    async def _measure(self) -> None:
        if time.monotonic() - self._last_measure < _MEASURE_SECONDS:
            return
        self._last_measure = time.monotonic()
        depth, age = await depth_and_age(self._context.database)
        telemetry.DIRTY_DEPTH.set(depth)
        telemetry.DIRTY_AGE.set(age)
