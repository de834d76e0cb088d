"""What is judged of one opportunity, over HTTP."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from services.api.scores.schemas import Score
from tests.conftest import Servers
from tests.focus.seller import TODAY, make_seller
from tests.support.caller import Caller
from tests.support.scoring import drain
from tests.support.statements import statements


async def score_of(caller: Caller, id_: str, **headers: str) -> dict[str, Any]:
    found: dict[str, Any] = await caller.ok("GET", f"/v1/opportunities/{id_}/score", headers=headers)
    Score.model_validate(found)
    return found


async def test_not_judged_yet_is_said_and_not_guessed(admin: Caller) -> None:
    made = await admin.make_opportunity()
    score = await score_of(admin, made["id"])
    assert (score["status"], score["pending"], score["probability"], score["class"]) == ("pending", True, None, None)
    assert (score["contributions"], score["criteria"], score["version"]) == ([], [], 1)


@pytest.mark.parametrize("action", ["lose", "abandon"])
async def test_closed_has_an_outcome_and_no_estimate_at_once(admin: Caller, servers: Servers, action: str) -> None:
    made = await admin.make_opportunity()
    await drain(servers, admin.workspace_id)
    assert (await score_of(admin, made["id"]))["status"] == "judged"
    await admin.transition(made["id"], action, reason="price")
    for _ in range(2):
        score = await score_of(admin, made["id"])
        assert score["status"] == "closed"
        assert score["outcome"] == {"lose": "lost", "abandon": "abandoned"}[action]
        assert score["probability"] is score["priority"] is score["seat"] is None
        await drain(servers, admin.workspace_id)
    await admin.ok("POST", f"/v1/opportunities/{made['id']}/transitions", {"action": "reopen"})
    assert (await score_of(admin, made["id"]))["status"] == "pending"
    await drain(servers, admin.workspace_id)
    assert (await score_of(admin, made["id"]))["status"] == "judged"


async def test_every_push_adds_up_and_is_told(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 0)
    id_ = await seller.opportunity(
        "full",
        100_000,
        need="More presses",
        pain="Scrap",
        interest="firm",
        budget={"amount": "95000.00", "currency": "CNY"},
        budget_status="approved",
        fit_score=0.7,
        rival_fit_score=0.5,
        cost_to_deliver={"amount": "2000.00", "currency": "CNY"},
        delivery_risk=0.05,
        payment_risk=0.02,
    )
    await seller.drain()
    score = await score_of(seller.rep, id_)
    p = score["probability"]["value"]
    pushes = {each["code"]: each for each in score["contributions"]}
    assert sum(each["value"] for each in pushes.values()) == pytest.approx(math.log(p / (1 - p)), abs=1e-4)
    assert pushes["budget_cover"]["text"] == "The budget covers 95 % of our price"
    assert pushes["budget_firmness"]["text"] == "Budget: Approved"
    assert pushes["rival"]["text"] == "20 points ahead of the best rival"
    assert pushes["interest"]["value"] > 0
    assert pushes["handover"] == {"code": "handover", "label": "New owner", "value": 0.0, "text": "New owner"}
    criteria = {each["code"]: each["value"] for each in score["criteria"]}
    assert criteria["budget"] == pytest.approx(0.85 * 0.975, abs=1e-4)
    assert criteria["win_probability"] == pytest.approx(p, abs=1e-4)
    assert {"code": "fit_lead", "label": "Lead over the best rival", "value": pytest.approx(0.2)} in score["parts"]
    parts = score["priority"]["parts"]
    assert parts["margin"] == pytest.approx((30_000 - 2_000) * 0.95 * 0.98, abs=0.01)
    expected = parts["margin"] * p * parts["urgency"] / max(1.0, parts["hours"])
    assert score["priority"]["value"] == pytest.approx(expected, rel=1e-4)
    assert score["priority"]["currency"] == "CNY"
    assert {"confidence", "last_two_way_at"} <= {each["code"] for each in score["unknowns"]}
    assert score["next_due_at"] > score["scored_at"]
    chinese = await score_of(seller.rep, id_, **{"Accept-Language": "zh-Hans"})
    assert {each["code"]: each["text"] for each in chinese["contributions"]}["budget_firmness"] == "预算：已批准"


async def test_an_edit_that_says_nothing_about_winning_leaves_the_probability(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 1)
    id_ = seller.made["01"]
    before = await score_of(seller.rep, id_)
    await seller.rep.ok("PATCH", f"/v1/opportunities/{id_}", {"name": "Renamed", "notes": "about something else"})
    await seller.drain()
    after = await score_of(seller.rep, id_)
    assert after["probability"] == before["probability"]
    assert after["facts_version"] == before["facts_version"] + 1
    assert (after["stale"], after["pending"]) == (False, False)
    await seller.rep.transition(id_, "pass")
    await seller.drain()
    assert (await score_of(seller.rep, id_))["probability"]["value"] > after["probability"]["value"]


@pytest.mark.parametrize("hopeful", [True, False])
async def test_nothing_is_ever_certain(admin: Caller, servers: Servers, hopeful: bool) -> None:
    seller = await make_seller(admin, servers, 0)
    best = {"interest": "firm", "budget_status": "locked", "fit_score": 1.0, "rival_fit_score": 0.0}
    worst = {"interest": "none", "budget_status": "none", "fit_score": 0.0, "rival_fit_score": 1.0}
    day = TODAY + timedelta(days=200 if hopeful else -200)
    extreme: dict[str, Any] = {**(best if hopeful else worst), "purchase_date": day.isoformat()}
    if hopeful:
        extreme |= {"need": "yes", "pain": "yes", "purchase_date_firmness": "firm"}
    id_ = await seller.opportunity("extreme", 1_000, engaging=hopeful, **extreme)
    if hopeful:
        for _ in range(2):
            await seller.rep.transition(id_, "pass")
    await seller.drain()
    score = await score_of(seller.rep, id_)
    assert all(0.0 < value < 1.0 for value in score["probability"].values())
    seat = (await seller.focus())["data"][0]
    assert all(0.0 < value < 1.0 for value in seat["probability"].values())


async def test_a_score_is_seen_by_whoever_sees_the_opportunity(admin: Caller, other: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 1)
    path = f"/v1/opportunities/{seller.made['01']}/score"
    colleague = await admin.member("rep", "Colleague")
    assert (await colleague.get(path)).status_code == 404
    assert (await other.get(path)).status_code == 404
    assert (await admin.get("/v1/opportunities/not-an-id/score")).status_code == 404
    member = {"member_id": str(colleague.member_id), "role": "specialist"}
    await seller.rep.ok("POST", f"/v1/opportunities/{seller.made['01']}/members", member)
    assert (await colleague.get(path)).status_code == 200
    viewer = await admin.member("viewer")
    assert (await viewer.get(path)).status_code == 200
    assert (await admin.http.get(path)).status_code == 401
    with statements() as seen:
        await seller.rep.ok("GET", path)
    assert len([query for query in seen if "api_keys" not in query]) == 2
