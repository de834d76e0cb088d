"""The export sweep: exports that wait, and files whose days are over."""

from __future__ import annotations

from uuid import UUID

from services.api.exports import attempt, lease
from services.api.jobs.sweep import Sweep

AT_ONCE = 2


class ExportSweep(Sweep[attempt.Exporter]):
    """Exports that wait; `work` and `expire` are duties."""

    name = "export"

    def __init__(self, worker: attempt.Exporter) -> None:
        super().__init__(worker, AT_ONCE)

    async def _due(self) -> list[tuple[UUID, UUID]]:
        return await lease.due(self._worker.database, lease.DUE)

    async def _attempt(self, workspace_id: UUID, id_: UUID) -> bool:
        return await attempt.run(self._worker, workspace_id, id_)

    async def expire(self) -> bool:
        """Lets files go, a hundred at a time."""
        found = await lease.due(self._worker.database, lease.EXPIRED)
        for workspace_id, export_id in found:
            await attempt.expire(self._worker, workspace_id, export_id)
        return len(found) == 100
