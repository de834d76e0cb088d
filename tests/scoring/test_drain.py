"""From marks to seats, on a real database: what is judged, who moves, and why."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from services.scoring import ranking
from services.scoring.core.facts import OpportunityFacts
from services.scoring.core.judge import Judgement, judge
from services.scoring.jobs.drain import drain
from shared.ids import new_id
from tests.scoring.support import NOW, World

CLOSED_AS_LOST = "opportunity.lost"


async def engaged_world(world: World, count: int = 20) -> tuple[UUID, list[UUID]]:
    """A rep whose `count` opportunities stand in a stage that evidences class C: 16 of them are engaged."""
    rep = await world.member()
    opportunities = await world.opportunities(rep, count)
    for opportunity in opportunities:
        await world.move(opportunity, "pass", 0)
    await world.drain()
    return rep, opportunities


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
    events = await world.read("SELECT type, request_id, data FROM events.outbox WHERE workspace_id = $1 ORDER BY type")
    assert [event["type"] for event in events] == ["focus.moved", "opportunity.scored"]
    assert {event["request_id"] for event in events} == {"request-1"}


async def test_a_thousand_marks_cost_one_judgement(world: World) -> None:
    rep = await world.member()
    (opportunity,) = await world.opportunities(rep, 1)
    for _ in range(1_000):
        await world.mark("opportunity", opportunity)
    outcomes = await world.drain()
    assert [outcome.judged for outcome in outcomes] == [1]
    assert await world.marks() == []


async def test_what_moves_while_it_is_judged_stays_marked(world: World) -> None:
    rep = await world.member()
    (opportunity,) = await world.opportunities(rep, 1)
    await world.mark("opportunity", opportunity)
    pending: list[Any] = []

    def judge_late(*given: Any) -> Judgement:
        # The statement is sent now and runs beside the drain, as a request would.
        if not pending:
            pending.append(asyncio.get_running_loop().create_task(world.mark("opportunity", opportunity)))
        return judge(*given)

    world.context.judge = judge_late
    await drain(world.context, world.id)
    await pending[0]
    assert await world.marks() == [("opportunity", opportunity)]
    (outcome,) = await world.drain()
    assert outcome.judged == 1
    assert await world.marks() == []


async def test_sixteen_are_engaged_and_a_closed_one_is_replaced_at_once(world: World) -> None:
    rep, _ = await engaged_world(world)
    engaged = await world.band(rep, "engage")
    tracked = await world.band(rep, "track")
    assert (len(engaged), len(tracked)) == (16, 4)
    await world.move(engaged[3], "lose")
    await world.drain()
    assert tracked[0] in await world.band(rep, "engage")
    assert engaged[3] not in await world.seats(rep)
    assert (
        await world.read("SELECT 1 FROM scoring.scores WHERE workspace_id = $1 AND opportunity_id = $2", engaged[3])
        == []
    )
    move = (await world.moves(tracked[0]))[-1]
    assert (move["from_band"], move["to_band"]) == ("track", "engage")
    assert move["cause"]["code"] == "seat_freed"
    assert move["cause"]["by"] == {"type": "opportunity", "id": str(engaged[3]), "event": CLOSED_AS_LOST}
    assert move["cause"]["event_id"]
    left = (await world.moves(engaged[3]))[-1]
    assert (left["from_band"], left["to_band"], left["cause"]["code"]) == ("engage", None, "closed")


async def test_a_customer_takes_a_seat_when_its_last_opportunity_is_lost_but_not_when_it_is_won(world: World) -> None:
    rep = await world.member()
    losing, winning = await world.customer(rep), await world.customer(rep)
    (lost,) = await world.opportunities(rep, 1, customer=losing)
    (won,) = await world.opportunities(rep, 1, customer=winning)
    await world.mark("opportunity", lost, won)
    await world.drain()
    await world.move(lost, "lose")
    for stage in range(3):
        await world.move(won, "pass", stage)
    await world.drain()
    assert await world.seats(rep) == {losing: ("monitor", 1)}
    (again,) = await world.opportunities(rep, 1, customer=losing)
    await world.mark("opportunity", again, event="opportunity.created")
    await world.drain()
    assert list(await world.seats(rep)) == [again]
    assert (await world.moves(losing))[-1]["cause"]["code"] == "opportunity_opened"


async def test_reassignment_ranks_both_owners(world: World) -> None:
    rep, _ = await engaged_world(world)
    other = await world.member()
    engaged = await world.band(rep, "engage")
    tracked = await world.band(rep, "track")
    await world.write(
        "UPDATE sales.opportunities SET owner_id = $3, version = version + 1 WHERE workspace_id = $1 AND id = $2",
        engaged[0],
        other,
    )
    await world.mark("opportunity", engaged[0], event="opportunity.reassigned")
    await world.drain()
    assert await world.seats(other) == {engaged[0]: ("engage", 1)}
    assert tracked[0] in await world.band(rep, "engage")
    causes = {
        (move["owner_id"], move["to_band"]): move["cause"]["code"] for move in (await world.moves(engaged[0]))[-2:]
    }
    assert causes == {(other, "engage"): "reassigned", (rep, None): "reassigned"}


async def test_without_an_owner_there_is_a_score_and_no_seat(world: World) -> None:
    (opportunity,) = await world.opportunities(None, 1)
    await world.mark("opportunity", opportunity)
    await world.drain()
    (score,) = await world.read("SELECT owner_id FROM scoring.scores WHERE workspace_id = $1")
    assert score["owner_id"] is None
    assert await world.read("SELECT 1 FROM scoring.seats WHERE workspace_id = $1") == []


async def test_pins_and_mutes_take_hold_and_end(world: World) -> None:
    rep, _ = await engaged_world(world)
    muted = (await world.band(rep, "engage"))[0]
    await world.write(
        "INSERT INTO sales.pins (workspace_id, id, kind, owner_id, subject_type, subject_id, reason, expires_at,"
        " occurred_at, recorded_at, updated_at) VALUES ($1, gen_random_uuid(), 'mute', $2, 'opportunity', $3, 'later',"
        " $4::timestamptz + interval '2 days', $4, $4, $4)",
        rep,
        muted,
        NOW,
    )
    await world.mark("owner", rep, event="focus.muted")
    await world.drain()
    assert (await world.seats(rep))[muted] == ("muted", 0)
    (seat,) = await world.read("SELECT next_due_at FROM scoring.seats WHERE workspace_id = $1 AND band = 'muted'")
    assert seat["next_due_at"] == NOW + timedelta(days=2)
    world.clock.set(NOW + timedelta(days=3))
    await world.mark("opportunity", muted)
    await world.drain()
    assert (await world.seats(rep))[muted][0] != "muted"


async def test_own_capacities_bound_the_bands(world: World) -> None:
    rep, _ = await engaged_world(world)
    await world.write("UPDATE sales.members SET engage_capacity = 5 WHERE workspace_id = $1 AND id = $2", rep)
    await world.mark("owner", rep)
    await world.drain()
    assert len(await world.band(rep, "engage")) == 5
    (load,) = await world.read("SELECT counts, shortages FROM scoring.loads WHERE workspace_id = $1")
    assert (load["counts"]["engage"], load["counts"]["track"], load["counts"]["subjects"]) == (5, 15, 20)


async def test_amounts_in_another_currency_are_converted_and_unknown_without_a_rate(world: World) -> None:
    await world.write("UPDATE sales.policies SET document = $2 WHERE workspace_id = $1", {"rates": {"EUR": 8.0}})
    rep = await world.member()
    own, converted, unknown = [
        (await world.opportunities(rep, 1, amount=amount, currency=currency, purchase_date=date(2026, 6, 1)))[0]
        for amount, currency in ((800, "CNY"), (100, "EUR"), (100, "USD"))
    ]
    await world.mark("opportunity", own, converted, unknown)
    await world.drain()
    rows = await world.read("SELECT opportunity_id, margin, unknowns FROM scoring.scores WHERE workspace_id = $1")
    margin = {row["opportunity_id"]: row["margin"] for row in rows}
    assert margin[own] == pytest.approx(margin[converted])
    assert {row["opportunity_id"] for row in rows if row["unknowns"] & 1} == {unknown}


async def test_the_number_of_statements_does_not_grow_with_the_batch(world: World) -> None:
    rep = await world.member()
    opportunities = await world.opportunities(rep, 120)
    await world.mark("opportunity", *opportunities)
    await world.drain()
    counts = []
    for size in (1, 5, 120):
        await world.mark("opportunity", *opportunities[:size])
        (outcome,) = await world.drain()
        assert outcome.judged == size
        counts.append(outcome.statements)
    assert len(set(counts)) == 1
    assert counts[0] <= 20


async def test_one_that_can_not_be_judged_stops_no_other(world: World) -> None:
    rep = await world.member()
    opportunities = await world.opportunities(rep, 9)
    bad = opportunities[4]

    def judge_most(facts: OpportunityFacts, *given: Any) -> Judgement:
        if np.any(facts.uuids("id") == np.void(bad.bytes)):
            raise FloatingPointError("bad number")
        return judge(facts, *given)

    world.context.judge = judge_most
    await world.mark("opportunity", *opportunities)
    outcomes = await world.drain()
    assert sum(outcome.poisoned for outcome in outcomes) == 1
    assert set(await world.seats(rep)) == set(opportunities) - {bad}
    assert await world.marks() == [("opportunity", bad)]
    (mark,) = await world.read(
        "SELECT lane, marked_at > now() AS rests FROM scoring.dirty_marks WHERE workspace_id = $1"
    )
    assert (mark["lane"], mark["rests"]) == (1, True)


async def test_an_owner_that_can_not_be_ranked_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rep, ill = await world.member(), await world.member()
    (fine,) = await world.opportunities(rep, 1)
    (spoiled,) = await world.opportunities(ill, 1)
    real = ranking.triage

    def triage(subjects: Any, *given: Any) -> Any:
        if np.any(subjects.id == np.void(spoiled.bytes)):
            raise ValueError("can't be ranked")
        return real(subjects, *given)

    monkeypatch.setattr(ranking, "triage", triage)
    await world.mark("opportunity", fine, spoiled)
    await world.drain()
    assert list(await world.seats(rep)) == [fine]
    assert await world.marks() == [("opportunity", spoiled)]
    await world.mark("workspace", lane=1)
    await world.drain()
    assert ("workspace", world.id) not in await world.marks()
    assert list(await world.seats(rep)) == [fine]


async def test_a_stream_of_changes_comes_to_the_same_as_judging_all_at_once(world: World) -> None:
    """Scores and seats depend on facts and on the seats before, not on how the changes were batched."""
    chance = random.Random(7)
    reps = [await world.member(engage_capacity=3, track_capacity=8, monitor_capacity=20) for _ in range(3)]
    opportunities = [key for rep in reps for key in await world.opportunities(rep, 12, seed=chance.randrange(99))]
    await world.mark("opportunity", *opportunities)
    await world.drain()
    for step in range(40):
        world.clock.set(NOW + timedelta(hours=step / 10))
        chosen = chance.sample(opportunities, 3)
        await world.write(
            "UPDATE sales.opportunities SET amount = $3, version = version + 1"
            " WHERE workspace_id = $1 AND id = ANY($2)",
            chosen[:2],
            chance.randrange(1_000, 200_000),
        )
        await world.write(
            "UPDATE sales.opportunities SET owner_id = $3, version = version + 1 WHERE workspace_id = $1 AND id = $2",
            chosen[2],
            chance.choice(reps),
        )
        await world.mark("opportunity", *chosen)
        if chance.random() < 0.7:
            await world.drain()
    await world.drain()
    incremental = await world.judged()
    await world.mark("workspace", lane=1)
    outcomes = await world.drain()
    assert sum(outcome.judged for outcome in outcomes) == len(opportunities)
    assert sum(outcome.moves for outcome in outcomes) == 0
    assert await world.judged() == incremental


async def test_marks_on_what_has_nothing_are_simply_done(world: World) -> None:
    idle = await world.member()
    await world.mark("owner", idle, new_id())
    await world.mark("customer", await world.customer(None), new_id())
    await world.mark("opportunity", new_id())
    await world.mark("workspace")
    await world.drain()
    assert await world.marks() == []
    assert await world.seats(idle) == {}
