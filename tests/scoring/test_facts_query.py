"""What the facts query says about one opportunity, field by field."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from services.scoring.snapshots import Selection, read_facts
from services.scoring.workspace import days_of, read_workspace
from shared.ids import new_id
from tests.scoring.support import FACT, NOW, World

EPOCH = date(1970, 1, 1)


async def facts_of(world: World, *ids: UUID) -> dict[UUID, dict[str, Any]]:
    """The facts of open opportunities, read both ways, which must agree."""
    async with world.context.database.transaction(world.id) as tx:
        workspace = await read_workspace(tx, world.clock.now())
        assert workspace is not None
        few = await read_facts(tx, workspace, Selection(opportunities={key.bytes for key in ids}))
        padding = {new_id().bytes for _ in range(100)}
        many = await read_facts(tx, workspace, Selection(opportunities={key.bytes for key in ids} | padding))
    assert sorted(row.tobytes() for row in few) == sorted(row.tobytes() for row in many)
    names = [name for name in few.dtype.names if not name.endswith("#")]
    return {UUID(bytes=bytes(row["id"])): {name: row[name] for name in names} for row in few}


async def add_interaction(world: World, customer: UUID, at: datetime, **values: Any) -> None:
    row = {"id": new_id(), "customer_id": customer, "kind": "call", **FACT, "occurred_at": at, **values}
    await world.insert("sales.interactions", [row])


async def test_unknown_is_not_zero(world: World) -> None:
    rep = await world.member()
    (bare,) = await world.opportunities(
        rep, 1, amount=None, currency=None, margin_rate=None, purchase_date=None, historical=True
    )
    (fact,) = (await facts_of(world, bare)).values()
    for name in ("amount", "margin_rate", "purchase_date", "need_known", "interest", "two_way_count", "confidence"):
        assert math.isnan(fact[name]), name
    (fresh,) = await world.opportunities(rep, 1, need="", pain="too slow")
    (fact,) = (await facts_of(world, fresh)).values()
    assert (fact["two_way_count"], fact["need_known"], fact["pain_known"], fact["has_coach"]) == (0, 0, 1, 0)
    assert fact["facts_version"] == 1


async def test_interactions_count_for_their_opportunity_and_those_of_the_customer_for_all(world: World) -> None:
    rep = await world.member()
    customer = await world.customer(rep)
    first, second = await world.opportunities(rep, 2, customer=customer)
    days = [NOW - timedelta(days=age) for age in (1, 5, 100)]
    await add_interaction(world, customer, days[1], opportunity_id=first, kind="meeting", confidence=0.9)
    await add_interaction(world, customer, days[0], opportunity_id=first, confidence=0.2, signals=["asks_questions"])
    await add_interaction(world, customer, days[0], direction="outbound", signals=["goes_quiet", "finds_fault"])
    await add_interaction(world, customer, days[2], signals=["asks_questions"])
    await add_interaction(world, customer, days[0], opportunity_id=first, deleted_at=NOW)
    facts = await facts_of(world, first, second)
    one, two = facts[first], facts[second]
    assert (one["two_way_count"], one["meeting_count"], one["confidence"]) == (3, 1, 0.2)
    assert (two["two_way_count"], two["meeting_count"]) == (1, 0)
    assert math.isnan(two["confidence"])
    assert (one["positive_signals"], one["negative_signals"], two["positive_signals"]) == (2, 1, 1)
    assert one["last_two_way_at"] == one["quiet_signal_at"] == days_of(days[0])
    assert two["last_two_way_at"] == days_of(days[2])
    assert two["last_touch_at"] == days_of(days[0])


async def test_stages_ahead_contacts_and_promises(world: World) -> None:
    rep = await world.member()
    customer = await world.customer(rep)
    (opportunity,) = await world.opportunities(rep, 1, customer=customer, interest="firm", budget_status="approved")
    await world.move(opportunity, "pass", 0)
    await world.insert(
        "sales.contacts",
        [
            {"id": new_id(), "customer_id": customer, "name": "K", "sort_key": "k", "level": level, "is_coach": coach}
            | FACT
            for level, coach in (("executive", False), (None, True))
        ],
    )
    today = NOW.date()
    await world.insert(
        "sales.tasks",
        [
            {
                "id": new_id(), "kind": kind, "title": "T", "opportunity_id": opportunity, "status": status,
                "due_on": today + timedelta(days=due), "kept": kept, **FACT,
            }
            for kind, status, due, kept in (
                ("promise", "open", -1, None), ("promise", "done", -9, True), ("promise", "done", -9, False),
                ("next_step", "open", 4, None), ("greeting", "open", -30, None),
            )
        ],
    )  # fmt: skip
    (fact,) = (await facts_of(world, opportunity)).values()
    assert (fact["remaining_win_rate"], fact["remaining_days"], fact["remaining_hours"]) == (0.25, 20, 16)
    assert (fact["stage_position"], fact["stage_class"], fact["interest"], fact["budget_status"]) == (1, 2, 3, 3)
    assert (fact["contact_count"], fact["has_coach"], fact["has_executive"]) == (2, 1, 1)
    assert (fact["promises_kept"], fact["promises_broken"], fact["promises_overdue"]) == (1, 1, 1)
    assert fact["next_step_on"] == (today - timedelta(days=1) - EPOCH).days


async def test_the_day_is_the_workspaces(world: World) -> None:
    await world.write("UPDATE sales.workspaces SET time_zone = 'Asia/Shanghai' WHERE id = $1")
    async with world.context.database.transaction(world.id) as tx:
        late = await read_workspace(tx, NOW.replace(hour=17))
    assert late is not None
    assert (late.policy.utc_offset_hours, late.today) == (8.0, NOW.date() + timedelta(days=1))


async def test_what_is_closed_or_deleted_is_not_read(world: World) -> None:
    rep = await world.member()
    gone = await world.customer(rep, deleted_at=NOW)
    (orphan,) = await world.opportunities(rep, 1, customer=gone)
    (deleted,) = await world.opportunities(rep, 1, deleted_at=NOW)
    (lost,) = await world.opportunities(rep, 1)
    await world.move(lost, "lose")
    assert await facts_of(world, orphan, deleted, lost) == {}
