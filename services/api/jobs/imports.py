"""The import sweep: one import of a workspace at a time, a few workspaces side by side."""

from __future__ import annotations

import gc
from uuid import UUID

from services.api.imports import lease
from services.api.imports.attempt import run
from services.api.imports.execution import Worker
from services.api.jobs.sweep import Sweep

# Objects made before the cyclic collector looks for garbage. An import makes them by the hundred thousand, none of them
# in a cycle: at Python's own 700 a third of its time would go into looking.
COLLECT_AFTER = 200_000


class ImportSweep(Sweep[Worker]):
    """Imports that wait; `work` is a duty."""

    name = "import"

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker, worker.settings.imports_at_once)
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 20)

    async def _due(self) -> list[tuple[UUID, UUID]]:
        return await lease.due(self._worker.database)

    async def _attempt(self, workspace_id: UUID, id_: UUID) -> bool:
        return await run(self._worker, workspace_id, id_)

    def _place(self, workspace_id: UUID, id_: UUID) -> UUID:  # noqa: ARG002 - whichever it is
        return workspace_id
