"""Every case of the triage's rules, on the demo as it stands after scoring. What changes it comes last."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from deploy.demo.world import FOCUS_REP, SMALL_BOOK_REP, SMALL_CAPACITY_REP
from services.api.opportunities import service, transitions
from services.api.opportunities.schemas import OpportunityPatch
from services.api.opportunities.transition_schemas import TransitionRequest
from shared.db import Tx, sql
from tests.demo.conftest import NOW, Demo

COUNTS = sql(
    "SELECT (SELECT count(*) FROM sales.customers WHERE workspace_id = :workspace_id) AS customers,"
    " (SELECT count(*) FROM sales.contacts WHERE workspace_id = :workspace_id) AS contacts,"
    " (SELECT count(*) FROM sales.interactions WHERE workspace_id = :workspace_id) AS interactions,"
    " (SELECT count(*) FROM sales.transitions WHERE workspace_id = :workspace_id AND action = 'pass') AS passages,"
    " (SELECT count(*) FROM sales.opportunities WHERE workspace_id = :workspace_id AND status = 'won') AS won,"
    " (SELECT count(*) FROM sales.opportunities WHERE workspace_id = :workspace_id AND status = 'lost') AS lost,"
    " (SELECT count(*) FROM sales.opportunities WHERE workspace_id = :workspace_id AND currency = 'USD') AS dollars,"
    " (SELECT min(recorded_at) FROM sales.audit_entries WHERE workspace_id = :workspace_id) AS audited_since,"
    " (SELECT min(recorded_at) FROM events.outbox WHERE workspace_id = :workspace_id) AS events_since"
)
HISTORY = sql(
    "SELECT t.action FROM sales.transitions t WHERE t.workspace_id = :workspace_id AND t.opportunity_id = :id"
    " ORDER BY t.recorded_at, t.id"
)
PIN = sql("SELECT * FROM sales.pins WHERE workspace_id = :workspace_id AND subject_id = :id AND ended_at IS NULL")
SHARED = sql("SELECT role FROM sales.opportunity_members WHERE workspace_id = :workspace_id AND opportunity_id = :id")
HANDED = sql(
    "SELECT changes FROM sales.audit_entries WHERE workspace_id = :workspace_id AND subject_id = :id"
    " AND action = 'opportunity.reassigned'"
)
MOVED = sql(
    "SELECT from_band, to_band, cause FROM scoring.moves WHERE workspace_id = :workspace_id AND subject_id = :id"
    " ORDER BY id DESC LIMIT 1"
)


async def test_the_year_is_there(demo: Demo) -> None:
    (counts,) = await demo.rows(COUNTS)
    assert counts["customers"] >= 1_800
    assert counts["contacts"] >= 700
    assert counts["interactions"] >= 3_500
    assert counts["passages"] >= 500
    assert counts["won"] >= 60
    assert counts["lost"] >= 120
    assert counts["dollars"] >= 10
    assert counts["audited_since"] < NOW - timedelta(days=364)
    assert NOW - timedelta(days=31) < counts["events_since"] < NOW - timedelta(days=25)


@pytest.mark.parametrize(
    ("record", "class_", "bands"),
    [
        ("class-a", "A", {"monitor"}),
        ("class-b", "B", {"track"}),
        ("class-c", "C", {"engage"}),
        ("fell-to-a", "A", {"monitor"}),
        ("gaps", "B", {"track"}),
        ("b-waits", "B", {"track"}),
        ("pinned", "C", {"engage"}),
        ("pinned-b", "B", {"track"}),
        ("muted", "C", {"muted"}),
        ("border", "C", {"track"}),
        ("closing", "C", {"engage"}),
        ("neglected", "C", {"engage"}),
        ("resting", "C", {"engage", "track"}),
    ],
)
async def test_class_and_band_of_a_case(demo: Demo, record: str, class_: str, bands: set[str]) -> None:
    case = await demo.case(record)
    assert case["class"] == class_
    assert case["band"] in bands


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("fell-to-a", {"interest_dead", "class_held_down"}),
        ("date-passed", {"purchase_date_overdue"}),
        ("loss", {"unprofitable"}),
        ("neglected", {"being_forgotten", "no_next_step"}),
        ("resting", {"resting"}),
        ("broken-promise", {"promise_overdue"}),
    ],
)
async def test_what_is_said_of_a_case(demo: Demo, record: str, said: set[str]) -> None:
    assert (await demo.case(record))["said"] >= said


async def test_signed_ones_and_those_of_nobody_hold_no_seat(demo: Demo) -> None:
    signed, queued = await demo.case("class-d"), await demo.case("queue")
    assert (signed["status"], signed["band"], signed["judged"]) == ("won", None, False)
    assert (queued["status"], queued["band"], queued["judged"]) == ("open", None, True)
    assert queued["owner_id"] is None


async def test_unanswered_questions_are_listed(demo: Demo) -> None:
    case = await demo.case("gaps")
    assert case["lacks"] >= {"rival_fit_score", "pain_known"}
    assert not case["lacks"] & {"fit_score", "need_known", "interest"}


async def test_the_big_book_fills_every_band(demo: Demo) -> None:
    counts = (await demo.load(FOCUS_REP))["counts"]
    assert counts["subjects"] >= 700
    assert counts["engage"] == 16
    assert 90 <= counts["engage"] + counts["track"] <= 100
    assert counts["engage"] + counts["track"] + counts["monitor"] == 400
    assert counts["backlog"] >= 200


async def test_the_sixteen_are_ordered_and_all_of_class_c(demo: Demo) -> None:
    seats = await demo.seats(FOCUS_REP, "engage")
    assert [seat["rank"] for seat in seats] == list(range(1, 17))
    assert {seat["class_code"] for seat in seats} == {2}
    pinned = (await demo.case("pinned"))["id"]
    ranked = [seat["priority"] for seat in seats if seat["subject_id"] != pinned]
    assert ranked == sorted(ranked, reverse=True)
    assert len(set(ranked)) == len(ranked)


async def test_capacities_of_ones_own(demo: Demo) -> None:
    counts = (await demo.load(SMALL_CAPACITY_REP))["counts"]
    assert counts["engage"] == 6
    assert counts["engage"] + counts["track"] <= 50
    assert counts["engage"] + counts["track"] + counts["monitor"] == 200
    assert counts["backlog"] > 0


async def test_an_engage_seat_stays_empty_rather_than_go_to_class_b(demo: Demo) -> None:
    waits = await demo.case("b-waits")
    engaged = await demo.seats(SMALL_BOOK_REP, "engage")
    assert len(engaged) < 16
    assert waits["priority"] > min(seat["priority"] for seat in engaged)


async def test_a_small_base_is_reported(demo: Demo) -> None:
    load = await demo.load(SMALL_BOOK_REP)
    assert load["counts"]["subjects"] <= 150
    assert load["shortages"]["vacant"]["monitor"] > 200
    assert load["shortages"]["lacking_class"]["engage"] > 0


async def test_priority_follows_its_parts(demo: Demo) -> None:
    near, far, loss, dollars = [await demo.case(record) for record in ("near", "far", "loss", "dollars")]
    assert near["margin"] == far["margin"]
    assert near["urgency"] > 2 * far["urgency"]
    assert near["priority"] > far["priority"]
    assert loss["priority"] == 0
    assert dollars["currency"] == "USD"
    assert dollars["margin"] > 64_000 * 0.34 * 2, "in CNY by the policy's rate"


async def test_pins_and_mutes_have_reasons_and_end(demo: Demo) -> None:
    engaged = await demo.seats(FOCUS_REP, "engage")
    tracked = await demo.seats(FOCUS_REP, "track")
    for record, kind in (("pinned", "pin"), ("pinned-b", "pin"), ("muted", "mute")):
        case = await demo.case(record)
        (pin,) = await demo.rows(PIN, id=case["id"])
        assert pin["kind"] == kind
        assert pin["reason"]
        assert pin["expires_at"] > pin["recorded_at"]
    pinned, muted = await demo.case("pinned"), await demo.case("muted")
    assert pinned["priority"] < tracked[0]["priority"]
    assert muted["priority"] > sorted(seat["priority"] for seat in engaged)[1]


async def test_shared_handed_over_gone_back_reopened(demo: Demo) -> None:
    shared, handed = await demo.case("shared"), await demo.case("handed-over")
    assert [row["role"] for row in await demo.rows(SHARED, id=shared["id"])] == ["specialist"]
    assert shared["owner_id"] == await demo.member("zhou.qiming")
    assert handed["owner_id"] == await demo.member("priya.menon")
    assert handed["owner_changed_at"] is not None
    assert handed["stage_position"] == 1
    (entry,) = await demo.rows(HANDED, id=handed["id"])
    assert entry["changes"]["owner_id"][1] == str(handed["owner_id"])
    back, reopened = await demo.case("gone-back"), await demo.case("reopened")
    assert [row["action"] for row in await demo.rows(HISTORY, id=back["id"])] == ["pass", "pass", "back"]
    assert back["stage_position"] == 1
    assert [row["action"] for row in await demo.rows(HISTORY, id=reopened["id"])] == ["pass", "lose", "reopen"]
    assert (reopened["status"], reopened["stage_position"]) == ("open", 1)


async def test_a_challenger_needs_a_tenth_more(demo: Demo) -> None:
    principal = await demo.manager()
    pinned = (await demo.case("pinned"))["id"]

    async def raised_to(times: float) -> dict[str, Any]:
        case = await demo.case("border")
        engaged = [seat for seat in await demo.seats(FOCUS_REP, "engage") if seat["subject_id"] != pinned]
        weakest = min(seat["priority"] for seat in engaged)
        factor = Decimal(times * weakest / case["priority"])
        columns = {"amount": "amount", "cost_to_deliver": "cost_to_deliver", "budget": "budget_amount"}
        money = {
            field: {"amount": f"{case[column] * factor:.4f}", "currency": "CNY"} for field, column in columns.items()
        }

        async def patch(tx: Tx) -> None:
            await service.patch(tx, principal, case["id"], OpportunityPatch.model_validate(money), None)

        await demo.act(patch)
        after = await demo.case("border")
        assert after["priority"] == pytest.approx(times * weakest, rel=1e-3)
        return after

    assert (await raised_to(1.05))["band"] == "track"
    assert (await raised_to(1.15))["band"] == "engage"
    (move,) = await demo.rows(MOVED, id=(await demo.case("border"))["id"])
    assert (move["from_band"], move["to_band"], move["cause"]["code"]) == ("track", "engage", "overtook")


async def test_winning_one_of_the_sixteen_lets_the_next_move_up(demo: Demo) -> None:
    principal = await demo.manager()
    closing = await demo.case("closing")
    before = {seat["subject_id"] for seat in await demo.seats(FOCUS_REP, "engage")}

    async def win(tx: Tx) -> None:
        await transitions.transition(tx, principal, closing["id"], TransitionRequest(action="pass"), None)

    await demo.act(win)
    after = {seat["subject_id"] for seat in await demo.seats(FOCUS_REP, "engage")}
    assert before - after == {closing["id"]}
    (risen,) = after - before
    (move,) = await demo.rows(MOVED, id=risen)
    assert (move["from_band"], move["to_band"], move["cause"]["code"]) == ("track", "engage", "seat_freed")
    assert (await demo.case("closing"))["status"] == "won"
