"""From marks to seats, on a real database."""

from __future__ import annotations

from tests.scoring.support import World


async def test_a_marked_opportunity_is_scored_and_seated(world: World) -> None:
    rep = await world.member()
    (opportunity,) = await world.opportunities(rep, 1)
    await world.mark("opportunity", opportunity, event="opportunity.created")
    (outcome,) = await world.drain()
    assert (outcome.judged, outcome.marks, outcome.moves) == (1, 1, 1)
    assert await world.seats(rep) == {opportunity: ("monitor", 1)}
    assert await world.marks() == []
    (move,) = await world.moves()
    assert move["to_band"] == "monitor"
    assert move["cause"]["code"] == "arrived"
    assert move["cause"]["event"]["type"] == "opportunity.created"
