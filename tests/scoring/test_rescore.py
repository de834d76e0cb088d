"""Whole re-scores: in parts, behind interactive work, and never behind it for ever."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from services.scoring.jobs.drain import drain
from tests.scoring.support import World


async def test_a_whole_rescore_waits_for_interactive_work_and_reaches_everything(world: World) -> None:
    world.context.settings = world.context.settings.model_copy(update={"rescore_batch": 3})
    reps = [await world.member() for _ in range(3)]
    owned = [opportunity for rep in reps for opportunity in await world.opportunities(rep, 4)]
    ownerless = await world.opportunities(None, 4)
    await world.mark("workspace", lane=1, event="policy.updated")
    await world.mark("opportunity", owned[-1], event="opportunity.updated")
    outcomes = await world.drain()
    assert (outcomes[0].judged, outcomes[0].marks) == (1, 1)
    assert len(outcomes) > 4
    scored = await world.read("SELECT opportunity_id FROM scoring.scores WHERE workspace_id = $1")
    assert {row["opportunity_id"] for row in scored} == {*owned, *ownerless}
    assert await world.marks() == []


@pytest.mark.parametrize("drain_batch", [1, 1_000])
async def test_a_whole_rescore_gets_its_turns_amid_steady_interactive_work(world: World, drain_batch: int) -> None:
    world.context.settings = world.context.settings.model_copy(
        update={"drain_batch": drain_batch, "rescore_wait_seconds": 0.1, "rescore_contested_batch": 4}
    )
    reps = [await world.member() for _ in range(3)]
    owned = [opportunity for rep in reps for opportunity in await world.opportunities(rep, 4)]
    await world.mark("workspace", lane=1, event="policy.updated")
    judged = []
    async with asyncio.timeout(20):
        while ("workspace", world.id) in await world.marks():
            await world.mark("opportunity", owned[0], owned[1])
            judged.append((await drain(world.context, world.id)).judged)
    scored = await world.read("SELECT opportunity_id FROM scoring.scores WHERE workspace_id = $1")
    assert {row["opportunity_id"] for row in scored} == set(owned)
    parts = [place for place, count in enumerate(judged) if count == 4]
    assert len(parts) == 3, "interactive work shrinks the parts to one owner each"
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(parts)), "no two parts in a row"


async def test_a_policy_changed_during_a_rescore_begins_it_again(world: World) -> None:
    world.context.settings = world.context.settings.model_copy(update={"rescore_batch": 1})
    reps = sorted([await world.member() for _ in range(2)])
    for rep in reps:
        await world.opportunities(rep, 2)
    await world.mark("workspace", lane=1)
    await drain(world.context, world.id)
    await world.mark("workspace", lane=1)
    outcomes = await world.drain()
    assert sum(outcome.judged for outcome in outcomes) == 4
    assert await world.marks() == []
