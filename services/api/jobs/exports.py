"""The export sweep: finds exports that wait and files whose days are over, and keeps a few running side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from services.api.exports import attempt, lease

log = structlog.get_logger(__name__)

AT_ONCE = 2


def _nobody() -> None:
    """Nobody waits for the next export."""


class ExportSweep:
    """Starts what is due; `work` and `expire` are duties. An export that ends looks for the next through `again`."""

    def __init__(self, worker: attempt.Exporter) -> None:
        self._worker = worker
        self._running: dict[UUID, asyncio.Task[bool]] = {}
        self.again: Callable[[], None] = _nobody

    async def work(self) -> bool:
        """Fills the free places; never more to do at once, for an export that ends wakes the duty."""
        free = AT_ONCE - len(self._running)
        if free <= 0 or self._worker.stopping:
            return False
        for workspace_id, export_id in await lease.due(self._worker.database, lease.DUE):
            if free <= 0:
                break
            if export_id not in self._running:
                self._start(workspace_id, export_id)
                free -= 1
        return False

    async def expire(self) -> bool:
        """Lets files go, a hundred at a time."""
        found = await lease.due(self._worker.database, lease.EXPIRED)
        for workspace_id, export_id in found:
            await attempt.expire(self._worker, workspace_id, export_id)
        return len(found) == 100

    def _start(self, workspace_id: UUID, export_id: UUID) -> None:
        task = asyncio.create_task(attempt.run(self._worker, workspace_id, export_id), name=f"export {export_id}")
        self._running[export_id] = task

        def ended(done: asyncio.Task[bool]) -> None:
            self._running.pop(export_id, None)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                log.error("export_left", export_id=str(export_id), error=str(error), exc_info=error)
            elif not done.cancelled() and done.result():
                self.again()

        task.add_done_callback(ended)

    async def stop(self) -> None:
        """Lets running exports end their batch."""
        self._worker.stopping = True
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
