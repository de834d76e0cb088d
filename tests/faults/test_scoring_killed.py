"""The scoring worker killed in the middle of thousands of marks: what it leaves is what an undisturbed one leaves."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from shared.effects import BULK
from shared.ids import new_id
from tests.faults.installation import Installation, eventually, open_installation
from tests.scoring.support import NOW, World, open_world

pytestmark = pytest.mark.faults

OWNERS = 10
EACH = 300
KILLS = 4
# What moves with the time of judging alone.
TIMED = {"urgency", "priority", "slack_days", "next_due_at", "parts"}
_MOVES = "SELECT id, owner_id, subject_id, from_band, to_band FROM scoring.moves WHERE workspace_id = $1 ORDER BY id"
_MOVED = "SELECT data FROM events.outbox WHERE workspace_id = $1 AND type = 'focus.moved'"


@pytest.fixture
async def lone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """A scoring worker that takes few marks at a time, so that it can be killed between and within its transactions."""
    async with open_installation(tmp_path_factory.mktemp("scoring"), SIXTEEN_DRAIN_BATCH="100") as made:
        yield made


@pytest.fixture
async def world(lone: Installation) -> AsyncIterator[World]:
    made = await open_world(lone.servers.database_url, lone.servers.redis_url)
    await made.found()
    yield made
    await made.api.close()
    await made.context.database.close()


async def pass_first_milestone(world: World, opportunities: list[UUID]) -> None:
    """All come to the stage from which class C is evidenced, so that they compete for the 16."""
    await world.insert(
        "sales.transitions",
        [
            {
                "id": new_id(),
                "opportunity_id": opportunity,
                "action": "pass",
                "stage_id": world.stages[0],
                "occurred_at": NOW,
                "recorded_at": NOW,
            }
            for opportunity in opportunities
        ],
    )


async def untimed(world: World) -> list[dict[str, Any]]:
    """Scores and seats, without what a moment changes."""
    return [{name: value for name, value in row.items() if name not in TIMED} for row in await world.judged()]


async def sessions(lone: Installation) -> int:
    """How many sessions of ours are in a statement or a transaction."""
    superuser = await lone.superuser()
    try:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sixteen' AND pid <> pg_backend_pid()"
            " AND state <> 'idle'"
        )
        found: int = await superuser.fetchval(query)
        return found
    finally:
        await superuser.close()


async def chains(world: World) -> dict[UUID, str | None]:
    """Where the moves have led each subject; no move may be there twice or be missing between two others."""
    stand: dict[UUID, str | None] = defaultdict(lambda: None)
    for move in await world.read(_MOVES):
        assert move["from_band"] == stand[move["subject_id"]], "each move begins where the one before it ended"
        assert move["to_band"] != move["from_band"]
        stand[move["subject_id"]] = move["to_band"]
    return stand


async def test_killed_again_and_again_in_thousands_of_marks(lone: Installation, world: World) -> None:
    owners = [await world.member() for _ in range(OWNERS)]
    made = [await world.opportunities(owner, EACH, seed=place) for place, owner in enumerate(owners)]
    marked = [opportunity for opportunities in made for opportunity in opportunities]
    await pass_first_milestone(world, marked)
    chance = random.Random(16)
    chance.shuffle(marked)
    await world.mark("opportunity", *marked)
    await lone.start("scoring")

    left = len(marked)
    for kills in range(1, KILLS + 1):

        async def further(before: int = left) -> bool:
            return len(await world.marks()) < before

        async def dead(kills: int = kills) -> bool:
            return lone.supervisor.deaths("scoring") == kills and not await sessions(lone)

        await eventually(further)
        await asyncio.sleep(chance.random() * 0.1)
        lone.kill("scoring")
        # What it had sent before its end, the server still does.
        await eventually(dead)
        left = len(await world.marks())
        assert left > 0, "killed in the middle"
    await lone.settled(world.id, 60)
    assert lone.supervisor.deaths("scoring") == KILLS

    stand = await chains(world)
    for owner, opportunities in zip(owners, made, strict=True):
        seats = await world.seats(owner)
        assert {subject for subject in seats if subject in set(opportunities)} == set(opportunities)
        assert {subject: band for subject, (band, _) in seats.items()} == {subject: stand[subject] for subject in seats}
        assert sorted(rank for _, rank in seats.values()) == list(range(1, len(seats) + 1))
    moves = await world.read(_MOVES)
    assert {"engage", "track", "monitor"} <= {move["to_band"] for move in moves}
    assert len(await world.read(_MOVED)) == len(moves), "each move has its one event"

    before = await untimed(world)
    await world.mark("workspace", lane=BULK)
    await lone.settled(world.id, 60)
    assert await untimed(world) == before, "a full recomputation finds nothing to mend"
    assert await world.read(_MOVES) == moves
