"""A sweep: finds work that waits in the database, and keeps a few attempts at it running side by side."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)


class Stoppable(Protocol):
    """What attempts of one kind share within a process. `stopping` ends each after the batch under way."""

    stopping: bool


W = TypeVar("W", bound=Stoppable)


def _nobody() -> None:
    """Nobody waits for the next one."""


class Sweep(ABC, Generic[W]):
    """Starts what is due; `work` is a duty. An attempt that ends looks for the next through `again`."""

    # As logs call it.
    name: ClassVar[str]

    def __init__(self, worker: W, at_once: int) -> None:
        self._worker = worker
        self._at_once = at_once
        self._running: dict[UUID, asyncio.Task[bool]] = {}
        self.again: Callable[[], None] = _nobody

    @abstractmethod
    async def _due(self) -> list[tuple[UUID, UUID]]:
        """(workspace, id) of what waits, oldest first, over all workspaces."""

    @abstractmethod
    async def _attempt(self, workspace_id: UUID, id_: UUID) -> bool:
        """Works on one; False where somebody else was faster."""

    def _place(self, workspace_id: UUID, id_: UUID) -> UUID:  # noqa: ARG002 - for those that ask for it
        """What only one attempt may run for at a time."""
        return id_

    async def work(self) -> bool:
        """Fills the free places; never more to do at once, for an attempt that ends wakes the duty."""
        free = self._at_once - len(self._running)
        if free <= 0 or self._worker.stopping:
            return False
        for workspace_id, id_ in await self._due():
            if free <= 0:
                break
            if self._place(workspace_id, id_) not in self._running:
                self._start(workspace_id, id_)
                free -= 1
        return False

    def _start(self, workspace_id: UUID, id_: UUID) -> None:
        task = asyncio.create_task(self._attempt(workspace_id, id_), name=f"{self.name} {id_}")
        place = self._place(workspace_id, id_)
        self._running[place] = task

        def ended(done: asyncio.Task[bool]) -> None:
            self._running.pop(place, None)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                log.error("attempt_left", of=self.name, id=str(id_), error=str(error), exc_info=error)
            elif not done.cancelled() and done.result():
                self.again()

        task.add_done_callback(ended)

    async def stop(self) -> None:
        """Lets running attempts end their batch."""
        self._worker.stopping = True
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
