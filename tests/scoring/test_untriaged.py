"""An import makes members whom no mark names: the drain of what it wrote finds them."""

from __future__ import annotations

from shared.effects import BULK, INTERACTIVE
from tests.scoring.support import World

LOADS = "SELECT owner_id, shortages FROM scoring.loads WHERE workspace_id = $1"


async def test_who_only_has_closed_deals_is_triaged_with_what_an_import_wrote(world: World) -> None:
    seller, agent = await world.member(), await world.member()
    boss = await world.member(role="admin")
    await world.member(role="viewer")
    await world.member(active=False)
    customer = await world.customer(seller)
    (deal,) = await world.opportunities(agent, 1, customer=customer)
    await world.move(deal, "lose")
    await world.mark("customer", customer, lane=BULK)
    await world.drain()
    found = {row["owner_id"]: row["shortages"]["needed_new_customers"] for row in await world.read(LOADS)}
    assert found.keys() == {seller, agent, boss}
    assert found[agent] == 400


async def test_interactive_work_looks_for_nobody(world: World) -> None:
    seller = await world.member()
    await world.member()
    customer = await world.customer(seller)
    await world.mark("customer", customer, lane=INTERACTIVE)
    await world.drain()
    assert [row["owner_id"] for row in await world.read(LOADS)] == [seller]
