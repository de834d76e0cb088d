"""Processes, their editions, and the default that a workspace always has (DOMAIN §7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.statements import statements


def stage(key: str, **fields: Any) -> dict[str, Any]:
    return {
        "key": key,
        "name": {"en": key.title(), "zh_hans": "阶段"},
        "milestone": {"en": f"{key} reached"},
        "irreversible": True,
        "typical_days": 5,
        "typical_hours": 2,
        "base_win_rate": 0.5,
        **fields,
    }


def process(key: str = "trade", **fields: Any) -> dict[str, Any]:
    stages = [stage("first"), stage("last", wins=True)]
    return {"key": key, "name": {"en": "Trade", "zh_hans": "贸易"}, "stages": stages, **fields}


async def test_a_process_keeps_its_stages_in_order(admin: Caller) -> None:
    response = await admin.post("/v1/processes", process())
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/processes/{made['id']}"
    assert response.headers["etag"] == '"1"'
    assert (made["key"], made["edition"], made["is_default"], made["active"]) == ("trade", 1, False, True)
    assert made["name"] == {"en": "Trade", "zh_hans": "贸易"}
    assert [(s["position"], s["key"], s["wins"]) for s in made["stages"]] == [(0, "first", False), (1, "last", True)]
    assert made["stages"][0]["milestone"] == {"en": "first reached", "zh_hans": None}
    assert await admin.ok("GET", f"/v1/processes/{made['id']}") == made


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"stages": []}, "/stages", "too_short"),
        ({"stages": [stage("only")]}, "/stages", "required"),
        ({"stages": [stage("a", wins=True), stage("b", wins=True)]}, "/stages/1/wins", "contradiction"),
        ({"stages": [stage("a"), stage("a", wins=True)]}, "/stages/1/key", "taken"),
        ({"stages": [stage("a", wins=True, skippable=True)]}, "/stages/0/skippable", "contradiction"),
        ({"stages": [stage("a", wins=True, base_win_rate=0)]}, "/stages/0/base_win_rate", "greater_than"),
        ({"stages": [stage("a", wins=True, side="theirs")]}, "/stages/0/side", "value_error"),
        ({"stages": [stage("a", wins=True, evidences_class="D")]}, "/stages/0/evidences_class", "value_error"),
        ({"stages": [stage("a", wins=True, colour="red")]}, "/stages/0/colour", "unknown_field"),
        ({"stages": [stage(f"s{n}", wins=n == 60) for n in range(61)]}, "/stages", "too_long"),
        ({"key": "Trade 1"}, "/key", "string_pattern_mismatch"),
        ({"name": None}, "/name", "required"),
        ({"template": "complex_sale"}, "/stages", "contradiction"),
        ({"stages": None}, "/stages", "contradiction"),
        ({"stages": None, "template": "six"}, "/template", "value_error"),
    ],
)
async def test_a_wrong_process_is_refused_with_its_place(
    admin: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    response = await admin.post("/v1/processes", process() | change)
    assert response.status_code == 422, response.text
    assert {"pointer": pointer, "code": code} in [
        {"pointer": e["pointer"], "code": e["code"]} for e in response.json()["errors"]
    ]
    assert len((await admin.ok("GET", "/v1/processes"))["data"]) == 2


async def test_a_template_makes_a_process(admin: Caller) -> None:
    templates = (await admin.ok("GET", "/v1/processes/templates"))["data"]
    assert [template["key"] for template in templates] == ["complex_sale", "cash_and_carry"]
    made = await admin.ok("POST", "/v1/processes", {"key": "counter", "template": "cash_and_carry"})
    assert (made["template"], made["name"]["zh_hans"]) == ("cash_and_carry", "现款现货")
    assert [{k: v for k, v in s.items() if k != "id"} for s in made["stages"]] == templates[1]["stages"]


async def test_the_same_key_makes_the_next_edition_and_live_opportunities_stay(admin: Caller) -> None:
    first = await admin.ok("POST", "/v1/processes", process(is_default=True))
    old = await admin.make_opportunity()
    # The former first stage now wins: what stands in it has won nothing by that.
    won_at_once = [stage("first", wins=True), stage("last")]
    second = await admin.ok("POST", "/v1/processes", process(stages=won_at_once))
    assert (second["edition"], second["is_default"]) == (2, True)
    assert not (await admin.ok("GET", f"/v1/processes/{first['id']}"))["is_default"]
    after = await admin.ok("GET", f"/v1/opportunities/{old['id']}")
    assert (after["process_id"], after["stage_id"], after["status"]) == (first["id"], first["stages"][0]["id"], "open")
    passed = (await admin.transition(old["id"], "pass")).json()["opportunity"]
    assert (passed["status"], passed["stage_position"]) == ("open", 1)
    new = await admin.make_opportunity()
    assert new["process_id"] == second["id"]
    third = await admin.ok("POST", "/v1/processes", process(is_default=False))
    assert (third["edition"], third["is_default"]) == (3, False)


async def test_nothing_depends_on_english_names(admin: Caller) -> None:
    chinese = [stage("a", name={"en": "谈判"}), stage("b", name={"en": "签约"}, wins=True)]
    made = await admin.ok("POST", "/v1/processes", process(name={"en": "流程"}, stages=chinese))
    deal = await admin.make_opportunity(process_id=made["id"])
    for _ in range(2):
        deal = (await admin.transition(deal["id"], "pass")).json()["opportunity"]
    assert deal["status"] == "won"


async def test_a_workspace_is_never_without_a_default(admin: Caller) -> None:
    listed = (await admin.ok("GET", "/v1/processes", params={"is_default": "true"}))["data"]
    assert [each["key"] for each in listed] == ["complex_sale"]
    path = f"/v1/processes/{listed[0]['id']}"
    for change in ({"is_default": False}, {"active": False}):
        refused = await admin.patch(path, change)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    made = await admin.ok("POST", "/v1/processes", process())
    sleeping = await admin.ok("PATCH", f"/v1/processes/{made['id']}", {"active": False})
    assert (sleeping["active"], sleeping["version"]) == (False, 2)
    assert (await admin.patch(f"/v1/processes/{made['id']}", {"is_default": True})).status_code == 409
    taken = await admin.ok("PATCH", f"/v1/processes/{made['id']}", {"is_default": True, "active": True})
    assert taken["is_default"]
    assert taken["stages"] == made["stages"]
    assert not (await admin.ok("GET", path))["is_default"]
    assert (await admin.patch(path, {"active": False})).status_code == 200
    inactive = await admin.post(
        "/v1/opportunities",
        {"name": "Deal", "customer_id": (await admin.make_customer())["id"], "process_id": listed[0]["id"]},
    )
    assert inactive.json()["errors"][0]["pointer"] == "/process_id"


async def test_stages_and_names_of_an_edition_never_change(admin: Caller) -> None:
    made = await admin.ok("POST", "/v1/processes", process())
    for change in ({"stages": []}, {"name": {"en": "New"}}, {"key": "other"}, {"edition": 5}):
        refused = await admin.patch(f"/v1/processes/{made['id']}", change)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "unknown_field")
    cleared = await admin.patch(f"/v1/processes/{made['id']}", {"active": None})
    assert cleared.json()["errors"][0] == {
        "pointer": "/active",
        "code": "required",
        "message": "active can't be empty.",
    }
    stale = await admin.patch(f"/v1/processes/{made['id']}", {"active": False}, headers={"If-Match": '"7"'})
    assert stale.status_code == 412


async def test_lists_are_paged_filtered_and_of_constant_cost(admin: Caller) -> None:
    for n in range(5):
        await admin.ok("POST", "/v1/processes", process(f"p{n}"))
    with statements() as few:
        first = await admin.ok("GET", "/v1/processes", params={"limit": 2})
    with statements() as many:
        everything = await admin.ok("GET", "/v1/processes")
    assert len(few) == len(many)
    assert len([s for s in many if "sales.processes" in s]) == 1
    assert [each["key"] for each in everything["data"]] == [
        "cash_and_carry",
        "complex_sale",
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
    ]
    assert all(len(each["stages"]) >= 1 for each in everything["data"])
    second = await admin.ok("GET", "/v1/processes", params={"limit": 2, "cursor": first["next_cursor"]})
    assert [each["key"] for each in second["data"]] == ["p0", "p1"]
    only = await admin.ok("GET", "/v1/processes", params={"key": "p3"})
    assert [each["key"] for each in only["data"]] == ["p3"]
    unknown = await admin.get("/v1/processes", params={"color": "red"})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "invalid_parameter")


async def test_only_those_who_may_make_processes(admin: Caller, other: Caller) -> None:
    for role, status in (("manager", 403), ("rep", 403), ("viewer", 403), ("integration", 201)):
        caller = await admin.member(role)
        assert (await caller.post("/v1/processes", process(f"by_{role}"))).status_code == status
        assert (await caller.get("/v1/processes")).status_code == 200
    made = await admin.ok("POST", "/v1/processes", process())
    assert (await other.get(f"/v1/processes/{made['id']}")).status_code == 404
    assert (await other.patch(f"/v1/processes/{made['id']}", {"active": False})).status_code == 404
    deal = {"name": "Deal", "customer_id": (await other.make_customer())["id"], "process_id": made["id"]}
    refused = await other.post("/v1/opportunities", deal)
    assert refused.json()["errors"][0]["code"] == "unknown_reference"


async def test_a_repeated_call_with_its_key_makes_one_edition(admin: Caller) -> None:
    headers = {"Idempotency-Key": "the-one"}
    first = await admin.post("/v1/processes", process(), headers=headers)
    again = await admin.post("/v1/processes", process(), headers=headers)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await admin.ok("GET", "/v1/processes", params={"key": "trade"}))["data"]) == 1
