"""The order of an import's batches: while one is written, the next is found and decided, and written beside it.

Batches are committed in the order of the file, so that one number tells how far an import has come. The next begins to
look for what its rows name when the one before has found all of its own, or has committed what it made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

# A batch that waits in a transaction holds what it has locked: it lets go where the one before takes long.
PATIENCE_SECONDS = 3.0


class TooEarly(Exception):
    """The batch before takes long: this one lets go and begins again when its turn has come."""


class Abandoned(Exception):
    """The batch before failed, and with it all that come after."""


class Turn:
    """One batch's place in the line."""

    def __init__(self, before: Turn | None, keys: frozenset[str]) -> None:
        self._before = before
        self._found = asyncio.Event()
        self._done = asyncio.Event()
        self.keys = keys
        self.failed = False

    def found(self) -> None:
        """What the rows name is found, and nothing was made that the next batch could name."""
        self._found.set()

    def end(self, *, failed: bool) -> None:
        self.failed = failed
        self._before = None
        self._found.set()
        self._done.set()

    async def seen(self) -> None:
        await self._found.wait()

    async def done(self) -> None:
        await self._done.wait()

    async def come(self, *, however_long: bool = False) -> None:
        """Waits until all batches before are committed; raises Abandoned, and TooEarly where that takes long."""
        before = self._before
        if before is None:
            return
        try:
            await asyncio.wait_for(before.done(), None if however_long else PATIENCE_SECONDS)
        except TimeoutError as error:
            raise TooEarly from error
        if before.failed:
            raise Abandoned


class Line:
    """The batches under way: one, or two where they may overlap."""

    def __init__(self, *, overlaps: bool) -> None:
        self._overlaps = overlaps
        self._turns: list[tuple[Turn, asyncio.Task[None]]] = []

    async def enter(self, keys: Iterable[str]) -> Turn:
        """The next batch's turn, when it may begin; raises what an earlier one raised."""
        own = frozenset(keys)
        while len(self._turns) > (1 if self._overlaps else 0):
            await self._first()
        if self._turns:
            before = self._turns[-1][0]
            await before.seen()
            if not own.isdisjoint(before.keys):
                await before.done()
            return Turn(before, own)
        return Turn(None, own)

    def begin(self, turn: Turn, work: Coroutine[Any, Any, None]) -> None:
        self._turns.append((turn, asyncio.create_task(self._work(turn, work))))

    async def _work(self, turn: Turn, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BaseException:
            turn.end(failed=True)
            raise
        turn.end(failed=False)

    async def _first(self) -> None:
        _, task = self._turns.pop(0)
        await task

    async def close(self) -> None:
        """Waits for all under way; raises what the first of them raised that failed."""
        while self._turns:
            await self._first()

    async def leave(self) -> None:
        """Lets all under way come to their end, whatever it is."""
        await asyncio.gather(*(task for _, task in self._turns), return_exceptions=True)
        self._turns.clear()
