"""Dirty marks as the scoring service reads and takes them away."""

from __future__ import annotations

from services.scoring import marks
from shared.ids import new_id
from tests.scoring.support import World


async def test_the_depth_of_the_queue_is_that_of_all_workspaces(world: World) -> None:
    before, _ = await marks.depth_and_age(world.context.database)
    await world.mark("opportunity", new_id(), new_id())
    depth, age = await marks.depth_and_age(world.context.database)
    assert depth == before + 2
    assert age >= 0


async def test_a_mark_made_again_after_its_deletion_is_another_one(world: World) -> None:
    """A second replica may hold what it read of the first one: it must not take away the new mark."""
    subject = new_id()
    await world.mark("opportunity", subject)
    async with world.context.database.transaction(world.id) as tx:
        read = await marks.take(tx, 10)
    await world.drain()
    await world.mark("opportunity", subject)
    async with world.context.database.transaction(world.id) as tx:
        assert await marks.delete(tx, read) == 0
        assert await marks.postpone(tx, read, 60) == 0
    assert await world.marks() == [("opportunity", subject)]
