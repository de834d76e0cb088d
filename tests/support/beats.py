"""How often a turn of a duty says that it gets on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.duty import Duty
from shared.probes import Heartbeat


class _Counted(Heartbeat):
    def __init__(self) -> None:
        super().__init__(60)
        self.beats = 0

    def beat(self) -> None:
        self.beats += 1
        super().beat()


async def beats_of(work: Callable[[], Awaitable[object]]) -> int:
    """Beats of one turn, beside the one that begins it."""
    heart = _Counted()

    async def once() -> bool:
        duty.stop()
        await work()
        return False

    duty = Duty("counted", once, 0.001, heart)
    await duty.run()
    assert duty.trouble is None
    return heart.beats - 1
