"""From an HTTP call to the top 16: what the triage promises (DOMAIN §9, §14), through the api and the real drain."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from services.api.focus import schemas
from services.api.pagination import Page
from services.api.scores.schemas import Score
from tests.conftest import Servers
from tests.focus.seller import TODAY, Seller, make_seller
from tests.support.caller import Caller, make_workspace
from tests.support.scoring import drain


@pytest.fixture
async def seller(admin: Caller, servers: Servers) -> Seller:
    """A rep with twenty opportunities that may be engaged."""
    return await make_seller(admin, servers, 20)


def places(*numbers: int) -> list[str]:
    return [f"{number:02}" for number in numbers]


async def test_the_sixteen_are_ranked_and_everything_about_them_is_shown(seller: Seller) -> None:
    page = await seller.focus()
    schemas.FocusPage.model_validate(page)
    assert [seat["subject"]["name"] for seat in page["data"]] == places(*range(1, 21))
    assert [seat["rank"] for seat in page["data"]] == list(range(1, 21))
    assert [seat["band"] for seat in page["data"]] == ["engage"] * 16 + ["track"] * 4
    assert page["counts"] == {"engage": 16, "track": 4, "monitor": 0, "backlog": 0, "muted": 0}
    assert page["capacities"] == {"engage": 16, "track": 100, "monitor": 400}
    assert page["shortages"]["vacant"] == {"engage": 0, "track": 80, "monitor": 380}
    assert page["base_deficit"]["below_capacity"] is True
    assert page["base_deficit"]["empty_seats"] == 380
    assert (page["pending"], page["currency"]) == (False, "CNY")
    first = page["data"][0]
    assert first["class"] == "C"
    assert first["subject"]["type"] == "opportunity"
    assert first["customer"]["name"] == "Customer of 01"
    assert first["stage"]["name"] == "Solution evaluation"
    assert first["amount"] == {"amount": "975000.00", "currency": "CNY"}
    parts = first["parts"]
    expected = parts["margin"] * parts["probability"] * parts["urgency"] / max(1.0, parts["hours"])
    assert first["priority"] == pytest.approx(expected, rel=1e-4)
    assert [c["code"] for c in first["criteria"]] == ["budget", "timeline", "fit", "worth", "win_probability"]
    assert first["criteria"][0] == {"code": "budget", "label": "Budget", "value": None}
    effects = [abs(reason["effect"]) for reason in first["reasons"]]
    assert len(effects) == 5
    assert effects == sorted(effects, reverse=True)
    assert "Expected margin 292,500 CNY" in [reason["text"] for reason in first["reasons"]]
    assert {"code": "budget_status", "label": "Status of the budget"} in first["unknowns"]
    assert "no_next_step" in [flag["code"] for flag in first["flags"]]


async def test_words_come_in_the_readers_language(seller: Seller) -> None:
    await seller.rep.ok(
        "PATCH",
        f"/v1/opportunities/{seller.made['01']}",
        {"purchase_date": (TODAY + timedelta(days=12)).isoformat()},
    )
    await seller.drain()
    response = await seller.rep.get("/v1/focus", params={"limit": 1}, headers={"Accept-Language": "zh-CN"})
    assert response.headers["content-language"] == "zh-Hans"
    chinese = response.json()["data"][0]
    assert chinese["stage"]["name"] == "方案定制评估"
    assert "12 天后采购：紧迫度 1" in [reason["text"] for reason in chinese["reasons"]]
    english = (await seller.focus(limit=1))["data"][0]
    assert "Purchase date in 12 days: urgency 1" in [reason["text"] for reason in english["reasons"]]


async def test_bands_leave_out_what_is_within(seller: Seller) -> None:
    assert await seller.names("engage") == places(*range(1, 17))
    assert await seller.names("track") == places(17, 18, 19, 20)
    within = await seller.focus(within="track")
    assert len(within["data"]) == 20
    assert len((await seller.focus(within="engage"))["data"]) == 16
    assert (await seller.focus(**{"class": "A"}))["data"] == []
    assert len((await seller.focus(**{"class": "C", "band": "track"}))["data"]) == 4


async def test_pages_follow_the_rank(seller: Seller) -> None:
    seen: list[str] = []
    cursor = None
    for _ in range(5):
        page = await seller.focus(limit=6, **({"cursor": cursor} if cursor else {}))
        seen += [seat["subject"]["name"] for seat in page["data"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert seen == places(*range(1, 21))


async def test_a_passed_milestone_moves_it_up_and_the_cause_is_named(seller: Seller) -> None:
    response = await seller.rep.transition(seller.made["20"], "pass")
    assert response.status_code == 200
    assert (await seller.focus())["pending"] is True
    await seller.drain()
    page = await seller.focus()
    assert page["pending"] is False
    engaged = await seller.names("engage")
    assert "20" in engaged
    assert "16" not in engaged
    up = (await seller.moves("20"))[0]
    assert (up["from"], up["to"]) == ("track", "engage")
    assert up["cause"]["code"] == "overtook"
    assert up["cause"]["text"] == "Overtook 16: a milestone was passed"
    assert up["cause"]["by"] == {"type": "opportunity", "id": seller.made["16"], "name": "16"}
    assert up["cause"]["event"]["type"] == "opportunity.milestone_passed"
    assert up["cause"]["event_id"]
    down = (await seller.moves("16"))[0]
    assert (down["from"], down["to"], down["cause"]["code"]) == ("engage", "track", "displaced")
    assert down["cause"]["by"]["name"] == "20"
    everything = await seller.rep.ok("GET", "/v1/focus/moves", params={"limit": 200})
    Page[schemas.Move].model_validate(everything)
    ids = [move["id"] for move in everything["data"]]
    assert ids == sorted(ids, reverse=True)


async def test_losing_one_of_the_sixteen_moves_the_next_up_at_once(seller: Seller) -> None:
    response = await seller.rep.transition(seller.made["03"], "lose", reason="price")
    assert response.status_code == 200, response.text
    await seller.drain()
    assert await seller.names("engage") == places(1, 2, *range(4, 18))
    move = (await seller.moves("17"))[0]
    assert (move["to"], move["cause"]["code"]) == ("engage", "seat_freed")
    assert move["cause"]["text"] == "Took the place of 03: it was lost"
    gone = (await seller.moves("03"))[0]
    assert (gone["from"], gone["to"], gone["cause"]["code"]) == ("engage", None, "closed")
    score = await seller.rep.ok("GET", f"/v1/opportunities/{seller.made['03']}/score")
    Score.model_validate(score)
    assert (score["status"], score["outcome"], score["probability"]) == ("closed", "lost", None)


async def test_winning_frees_the_seat_and_leaves_an_outcome_without_estimate(seller: Seller) -> None:
    for _ in range(3):
        assert (await seller.rep.transition(seller.made["01"], "pass")).status_code == 200
    score = await seller.rep.ok("GET", f"/v1/opportunities/{seller.made['01']}/score")
    assert (score["status"], score["outcome"], score["class"]) == ("closed", "won", "D")
    assert score["probability"] is None
    await seller.drain()
    assert await seller.names("engage") == places(*range(2, 18))
    assert (await seller.moves("17"))[0]["cause"]["text"] == "Took the place of 01: it was won"


async def test_reassigning_ranks_both_reps_again(seller: Seller) -> None:
    successor = await seller.admin.member("rep", "Successor")
    id_ = seller.made["02"]
    body = {"owner_id": str(successor.member_id), "reason": "territory"}
    await seller.admin.ok("POST", f"/v1/opportunities/{id_}:reassign", body)
    await seller.drain()
    assert "02" not in await seller.names("engage")
    assert "17" in await seller.names("engage")
    assert await seller.names("engage", successor) == ["02"]
    stage = (await seller.focus(successor))["data"][0]["stage"]
    assert stage["key"] == "solution_evaluation"
    # The old rep sees that it went, the new one that it came; neither sees the other's list.
    assert (await seller.moves("02"))[0]["to"] is None
    assert [move["to"] for move in await seller.moves("02", successor)] == ["engage"]


async def test_a_pin_holds_against_priority_and_a_mute_takes_out(seller: Seller) -> None:
    until = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    pin = {"kind": "pin", "subject_type": "opportunity", "band": "engage", "reason": "promised", "expires_at": until}
    made = await seller.rep.ok("POST", "/v1/focus/pins", {**pin, "subject_id": seller.made["20"]})
    mute = {"kind": "mute", "subject_type": "opportunity", "reason": "on leave", "expires_at": until}
    await seller.rep.ok("POST", "/v1/focus/pins", {**mute, "subject_id": seller.made["01"]})
    await seller.drain()
    seats = {seat["subject"]["name"]: seat for seat in (await seller.focus())["data"]}
    assert seats["20"]["band"] == "engage"
    assert seats["20"]["pinned"] is True
    assert seats["20"]["pin"]["id"] == made["id"]
    assert seats["02"]["pinned"] is False
    assert "01" not in seats
    muted = (await seller.focus(band="muted"))["data"]
    assert [(seat["subject"]["name"], seat["rank"]) for seat in muted] == [("01", None)]
    assert (await seller.moves("20"))[0]["cause"]["code"] == "pinned"
    assert (await seller.moves("01"))[0]["cause"]["text"] == "Muted"
    assert (await seller.rep.delete(f"/v1/focus/pins/{made['id']}")).status_code == 204
    await seller.drain()
    assert "20" not in await seller.names("engage")
    assert (await seller.moves("20"))[0]["cause"]["text"] == "Displaced by 17: a pin was ended"


async def test_a_pin_does_not_hold_against_the_class_and_falls_with_the_owner(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    lead = await seller.opportunity("lead", 9_000_000, engaging=False)
    pin = {
        "kind": "pin",
        "subject_type": "opportunity",
        "band": "engage",
        "reason": "hope",
        "expires_at": (datetime.now(UTC) + timedelta(days=10)).isoformat(),
    }
    made = await seller.rep.ok("POST", "/v1/focus/pins", {**pin, "subject_id": lead})
    await seller.rep.ok("POST", "/v1/focus/pins", {**pin, "subject_id": seller.made["02"]})
    await seller.drain()
    seats = {seat["subject"]["name"]: seat for seat in (await seller.focus())["data"]}
    assert (seats["lead"]["band"], seats["lead"]["pinned"], seats["lead"]["pin"]["id"]) == (
        "monitor",
        False,
        made["id"],
    )
    successor = await admin.member("rep", "Successor")
    body = {"owner_id": str(successor.member_id), "reason": "territory"}
    await admin.ok("POST", f"/v1/opportunities/{seller.made['02']}:reassign", body)
    await seller.drain()
    theirs = (await seller.focus(successor))["data"]
    assert [(seat["subject"]["name"], seat["pinned"], seat["pin"]) for seat in theirs] == [("02", False, None)]
    assert len((await seller.rep.ok("GET", "/v1/focus/pins?active=true"))["data"]) == 1


async def test_a_mute_ends_by_itself(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    until = datetime.now(UTC) + timedelta(days=2)
    mute = {"kind": "mute", "subject_type": "opportunity", "reason": "on leave", "expires_at": until.isoformat()}
    await seller.rep.ok("POST", "/v1/focus/pins", {**mute, "subject_id": seller.made["01"]})
    await seller.drain()
    assert await seller.names("engage") == places(2)
    # Whatever has the rep ranked again after that day finds the mute run out.
    await admin.ok("PUT", f"/v1/focus/capacity?owner_id={seller.rep.member_id}", {"engage": 15})
    await drain(servers, admin.workspace_id, now=until + timedelta(hours=1))
    assert await seller.names("engage") == places(1, 2)
    assert (await seller.moves("01"))[0]["cause"]["code"] == "mute_ended"


async def test_a_seat_stays_empty_rather_than_go_to_a_lower_class(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 3)
    await seller.opportunity("rich lead", 90_000_000, engaging=False)
    await seller.drain()
    page = await seller.focus()
    seats = {seat["subject"]["name"]: (seat["class"], seat["band"]) for seat in page["data"]}
    assert seats["rich lead"] == ("A", "monitor")
    assert page["counts"]["engage"] == 3
    assert page["shortages"]["vacant"]["engage"] == 13
    assert page["shortages"]["lacking_class"]["engage"] == 1


async def test_a_customer_without_an_opportunity_is_monitored(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 1)
    await seller.rep.make_customer("Quiet one")
    await seller.drain()
    monitored = (await seller.focus(band="monitor"))["data"]
    assert [seat["subject"]["name"] for seat in monitored] == ["Quiet one"]
    assert monitored[0]["subject"]["type"] == "customer"
    assert monitored[0]["probability"] is None
    assert [reason["code"] for reason in monitored[0]["reasons"]] == ["no_opportunity"]


async def test_fewer_seats_are_fewer_seats_at_once(seller: Seller) -> None:
    path = f"/v1/focus/capacity?owner_id={seller.rep.member_id}"
    await seller.admin.ok("PUT", path, {"engage": 4, "track": 10, "monitor": 12})
    await seller.drain()
    page = await seller.focus()
    assert page["counts"] == {"engage": 4, "track": 6, "monitor": 2, "backlog": 8, "muted": 0}
    assert page["capacities"] == {"engage": 4, "track": 10, "monitor": 12}
    assert (await seller.moves("05"))[0]["cause"]["code"] == "capacity_changed"


async def test_another_workspace_notices_nothing(seller: Seller, servers: Servers) -> None:
    stranger = await make_workspace(seller.admin.http, seller.admin.state, "Elsewhere")
    theirs = await make_seller(stranger, servers, 2)
    before = await theirs.focus()
    await seller.rep.transition(seller.made["01"], "lose", reason="price")
    await seller.drain()
    await theirs.drain()
    after = await theirs.focus()
    assert after["data"] == before["data"]
    assert not {seat["subject"]["id"] for seat in after["data"]} & set(seller.made.values())
    assert (await stranger.get(f"/v1/focus?owner_id={seller.rep.member_id}")).status_code == 404
    assert (await stranger.get(f"/v1/opportunities/{seller.made['02']}/score")).status_code == 404


async def test_the_score_adds_up(seller: Seller) -> None:
    id_ = seller.made["01"]
    score = await seller.rep.ok("GET", f"/v1/opportunities/{id_}/score")
    Score.model_validate(score)
    p = score["probability"]["value"]
    total = sum(each["value"] for each in score["contributions"])
    assert total == pytest.approx(math.log(p / (1 - p)), abs=1e-4)
    assert score["probability"]["low"] < p < score["probability"]["high"]
    assert score["contributions"][0]["code"] == "base_rate"
    assert score["contributions"][0]["text"].startswith("Base win rate of the remaining stages ")
    assert score["model"] == {"version": "prior-2", "regime": "prior"}
    assert score["seat"]["band"] == "engage"
    assert score["seat"]["rank"] == 1
    assert (score["stale"], score["pending"], score["facts_version"]) == (False, False, score["version"])
    await seller.rep.ok("PATCH", f"/v1/opportunities/{id_}", {"need": "More presses"})
    changed = await seller.rep.ok("GET", f"/v1/opportunities/{id_}/score")
    assert (changed["stale"], changed["pending"]) == (True, True)
