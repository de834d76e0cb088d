"""Keeps children alive: restart with back-off, one clear line for each death, an ordered stop."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

FIRST_DELAY = 0.2  # seconds
LONGEST_DELAY = 5.0
HEALTHY_AFTER = 10.0


class Child(Protocol):
    """What the supervisor needs to know of a process."""

    @property
    def pid(self) -> int | None: ...
    async def start(self) -> None: ...
    async def wait(self) -> int: ...
    async def stop(self) -> None: ...


@dataclass(slots=True)
class _Kept:
    name: str
    child: Child
    deaths: int = 0
    keeper: "asyncio.Task[None] | None" = None


class Supervisor:
    """Children in the order they were added; `stop` goes through them group by group.

    A child that dies is started again after 0.2 s, doubling up to 5 s; the delay starts over once a child has
    lived for 10 s. `say(name, line)` gets the lifecycle lines; `restarted` is called after each restart.
    """

    def __init__(self, say: Callable[[str, str], None], restarted: Callable[[], None] = lambda: None) -> None:
        self._say = say
        self._restarted = restarted
        self._kept: dict[str, _Kept] = {}

    def pids(self) -> dict[str, int]:
        return {name: kept.child.pid for name, kept in self._kept.items() if kept.child.pid}

    def deaths(self, name: str) -> int:
        """How often the child has died since it was added."""
        return self._kept[name].deaths

    async def add(self, name: str, child: Child) -> None:
        """Start `child` unless it already runs, and keep it running from now on."""
        kept = self._kept[name] = _Kept(name, child)
        if child.pid is None:
            await child.start()
        kept.keeper = asyncio.create_task(self._keep(kept), name=f"keep {name}")

    async def _keep(self, kept: _Kept) -> None:
        delay = FIRST_DELAY
        while True:
            started = time.monotonic()
            code = await kept.child.wait()
            kept.deaths += 1
            if time.monotonic() - started >= HEALTHY_AFTER:
                delay = FIRST_DELAY
            self._say(kept.name, f"died ({_describe(code)}){_reason(kept.child, code)}; restarting in {delay:.1f} s")
            delay = await self._start_again(kept, delay)

    async def _start_again(self, kept: _Kept, delay: float) -> float:
        """Start the child, however often it takes; return the delay before the next restart, in seconds."""
        while True:
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
            try:
                await kept.child.start()
            except Exception as error:  # noqa: BLE001  whatever it is, the answer is to say it and try again
                self._say(kept.name, f"could not be started: {error} Trying again in {delay:.1f} s")
            else:
                self._say(kept.name, f"is running again (process {kept.child.pid})")
                self._restarted()
                return delay

    async def stop(self, groups: Sequence[Sequence[str]]) -> None:
        """Stop the children named in each group together, one group after the other; none is restarted."""
        keepers = [kept.keeper for kept in self._kept.values() if kept.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for group in groups:
            children = [self._kept[name].child for name in group if name in self._kept]
            with contextlib.suppress(ProcessLookupError):
                await asyncio.gather(*(child.stop() for child in children))


def _describe(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _reason(child: Child, code: int) -> str:
    # Whoever was killed was busy with something else: its last words are not the cause.
    complaint = "" if code < 0 else getattr(child, "complaint", "")
    return f": {complaint}" if complaint else ""
