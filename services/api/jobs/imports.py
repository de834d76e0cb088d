"""The import sweep: finds imports that wait, and keeps a few running side by side."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from uuid import UUID

import structlog

from services.api.imports import lease
from services.api.imports.attempt import run
from services.api.imports.execution import Worker

log = structlog.get_logger(__name__)

# Objects made before the cyclic collector looks for garbage. An import makes them by the hundred thousand, none of them
# in a cycle: at Python's own 700 a third of its time would go into looking.
COLLECT_AFTER = 200_000


def _nobody() -> None:
    """Nobody waits for the next import."""


class ImportSweep:
    """Starts what is due; `work` is a duty. An import that ends looks for the next through `again`."""

    def __init__(self, worker: Worker) -> None:
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 20)
        self._worker = worker
        self._running: dict[UUID, asyncio.Task[bool]] = {}
        self.again: Callable[[], None] = _nobody

    async def work(self) -> bool:
        """Fills the free places; never more to do at once, for an import that ends wakes the duty."""
        free = self._worker.settings.imports_at_once - len(self._running)
        if free <= 0 or self._worker.stopping:
            return False
        for workspace_id, import_id in await lease.due(self._worker.database):
            if free <= 0:
                break
            if workspace_id not in self._running:
                self._start(workspace_id, import_id)
                free -= 1
        return False

    def _start(self, workspace_id: UUID, import_id: UUID) -> None:
        task = asyncio.create_task(run(self._worker, workspace_id, import_id), name=f"import {import_id}")
        self._running[workspace_id] = task

        def ended(done: asyncio.Task[bool]) -> None:
            self._running.pop(workspace_id, None)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                log.error("import_left", import_id=str(import_id), error=str(error), exc_info=error)
            elif not done.cancelled() and done.result():
                self.again()

        task.add_done_callback(ended)

    async def stop(self) -> None:
        """Lets running imports end their batch."""
        self._worker.stopping = True
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
