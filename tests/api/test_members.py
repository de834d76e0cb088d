"""Members and teams: who works here, and whose records a manager sees (DOMAIN §13)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import pytest

from shared.ids import new_id
from tests.api.test_interactions import effects, marked
from tests.support.caller import Caller
from tests.support.statements import statements

REP = {"name": "Li Na", "email": "na@example.com", "role": "rep", "engage_capacity": 8, "monitor_capacity": 200}


async def test_a_member_is_taken_in_and_nothing_personal_leaves(admin: Caller, as_api: asyncpg.Connection) -> None:
    response = await admin.post("/v1/members", REP)
    made = response.json()
    assert response.status_code == 201, response.text
    assert {name: made[name] for name in REP} == REP
    assert (made["active"], made["track_capacity"]) == (True, None)
    assert await admin.ok("GET", f"/v1/members/{made['id']}") == made
    told = str([row["data"] for row in await effects(as_api, admin, "member")])
    assert "rep" in told
    assert not any(text in told for text in ("Li Na", "na@example.com"))
    again = await admin.post("/v1/members", REP | {"email": "NA@example.com"})
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (409, "/email")


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"role": "boss"}, "/role", "value_error"),
        ({"email": "nobody"}, "/email", "string_pattern_mismatch"),
        ({"engage_capacity": -1}, "/engage_capacity", "greater_than_equal"),
        ({"track_capacity": 4}, "/track_capacity", "not_nested"),
        ({"monitor_capacity": 7}, "/monitor_capacity", "not_nested"),
        ({"salary": 1}, "/salary", "unknown_field"),
    ],
)
async def test_a_wrong_member_is_refused_with_its_place(
    admin: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    response = await admin.post("/v1/members", REP | change)
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]


async def test_a_change_of_capacity_has_the_seats_filled_again(admin: Caller, as_api: asyncpg.Connection) -> None:
    member_id = str((await admin.member("rep")).member_id)  # as they are when all is judged
    path = f"/v1/members/{member_id}"
    assert (await admin.ok("PATCH", path, {"name": "Li Nan"}))["version"] == 2
    assert ("owner", member_id) not in await marked(as_api, admin)
    assert (await admin.ok("PATCH", path, {"engage_capacity": 8}))["engage_capacity"] == 8
    assert ("owner", member_id) in await marked(as_api, admin)
    await admin.ok("PATCH", path, {"monitor_capacity": 200})
    nested = await admin.patch(path, {"track_capacity": 300})
    assert nested.json()["errors"][0]["code"] == "not_nested"
    assert (await admin.patch(path, {"name": "x"}, headers={"If-Match": '"1"'})).status_code == 412


async def test_the_last_active_administrator_stays(admin: Caller) -> None:
    path = f"/v1/members/{admin.member_id}"
    for change in ({"role": "manager"}, {"active": False}):
        refused = await admin.patch(path, change)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    second = await admin.member("admin", "Second")
    demotions = (admin.patch(path, {"role": "rep"}), second.patch(f"/v1/members/{second.member_id}", {"role": "rep"}))
    answers = await asyncio.gather(*demotions)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 1}


async def test_who_is_shut_out_can_do_nothing_and_keeps_their_records(admin: Caller) -> None:
    rep = await admin.member("rep")
    deal = await rep.make_opportunity((await rep.make_customer())["id"])
    lonely = await admin.patch(f"/v1/members/{rep.member_id}", {"release": True})
    assert lonely.json()["errors"][0]["pointer"] == "/release"
    await admin.ok("PATCH", f"/v1/members/{rep.member_id}", {"active": False})
    assert (await rep.get("/v1/me")).status_code == 401
    assert (await admin.ok("GET", f"/v1/opportunities/{deal['id']}"))["owner_id"] == str(rep.member_id)
    refused = await admin.post("/v1/customers", {"name": "C", "owner_id": str(rep.member_id)})
    assert refused.json()["errors"][0]["pointer"] == "/owner_id"


async def test_releasing_puts_open_opportunities_into_the_queue(admin: Caller, as_api: asyncpg.Connection) -> None:
    rep = await admin.member("rep")
    customer = await rep.make_customer()
    deals = [await rep.make_opportunity(customer["id"]) for _ in range(3)]
    await rep.transition(deals[0]["id"], "lose", reason="price")
    await rep.transition(deals[1]["id"], "pass")
    with statements() as ran:
        await admin.ok("PATCH", f"/v1/members/{rep.member_id}", {"active": False, "release": True})
    assert len([text for text in ran if "UPDATE sales.opportunities" in text]) == 1
    after = [await admin.ok("GET", f"/v1/opportunities/{deal['id']}") for deal in deals]
    assert [each["owner_id"] for each in after] == [str(rep.member_id), None, None]
    assert after[1]["stage_position"] == 1
    assert {("opportunity", deals[1]["id"]), ("owner", str(rep.member_id))} <= await marked(as_api, admin)
    happened = [row["type"] for row in await effects(as_api, admin, "opportunity")]
    assert happened.count("opportunity.reassigned") == 2


async def test_an_external_id_is_one_member(admin: Caller) -> None:
    path = "/v1/members/by-external-id/hr/7"
    first = await admin.put(path, {"name": "Li Na", "role": "rep"})
    again = await admin.put(path, {"name": "Li Na", "role": "manager"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["id"], again.json()["role"]) == (first.json()["id"], "manager")


async def test_only_administrators_change_members(admin: Caller, other: Caller) -> None:
    made = await admin.ok("POST", "/v1/members", REP)
    path = f"/v1/members/{made['id']}"
    for role in ("manager", "rep", "viewer", "integration"):
        caller = await admin.member(role)
        assert (await caller.get(path)).status_code == 200
        assert (await caller.post("/v1/members", {"name": "X", "role": "admin"})).status_code == 403
        assert (await caller.patch(f"/v1/members/{caller.member_id}", {"role": "admin"})).status_code == 403
    assert (await other.get(path)).status_code == 404
    assert (await other.patch(path, {"role": "viewer"})).status_code == 404
    listed = await admin.ok("GET", "/v1/members", params={"role": "rep", "active": "true", "sort": "-name"})
    assert [each["name"] for each in listed["data"]] == ["Somebody", "Li Na"]
    assert (await admin.get("/v1/members", params={"name": "x"})).status_code == 400


async def test_a_manager_sees_the_records_of_the_teams_members(admin: Caller) -> None:
    rep, stranger, manager = [await admin.member(role) for role in ("rep", "rep", "manager")]
    deal = await rep.make_opportunity((await rep.make_customer())["id"])
    path = f"/v1/opportunities/{deal['id']}"
    assert (await manager.get(path)).status_code == 404
    body = {"name": "North", "manager_id": str(manager.member_id), "member_ids": [str(rep.member_id)]}
    response = await admin.post("/v1/teams", body)
    team = response.json()
    assert response.status_code == 201
    assert (team["member_ids"], team["manager_id"]) == (body["member_ids"], body["manager_id"])
    assert (await manager.get(path)).status_code == 200
    team_path = f"/v1/teams/{team['id']}"
    moved = await admin.ok("PATCH", team_path, {"member_ids": [str(stranger.member_id)]}, headers={"If-Match": '"1"'})
    assert (moved["member_ids"], moved["version"]) == ([str(stranger.member_id)], 2)
    assert (await manager.get(path)).status_code == 404
    assert await admin.ok("GET", team_path) == moved
    assert (await admin.ok("PATCH", team_path, {"name": "North"}))["version"] == 2
    assert (await admin.patch(team_path, {"name": "x"}, headers={"If-Match": '"1"'})).status_code == 412
    assert (await admin.delete(team_path)).status_code == 204
    assert (await admin.get(team_path)).status_code == 404


async def test_a_wrong_team_is_refused_with_its_place(admin: Caller, other: Caller) -> None:
    rep = await admin.member("rep")
    for change, pointer in (
        ({"manager_id": str(rep.member_id)}, "/manager_id"),
        ({"manager_id": str(other.member_id)}, "/manager_id"),
        ({"member_ids": [str(rep.member_id), str(other.member_id)]}, "/member_ids/1"),
        ({"member_ids": [str(new_id())]}, "/member_ids/0"),
        ({"name": ""}, "/name"),
        ({"colour": "red"}, "/colour"),
    ):
        response = await admin.post("/v1/teams", {"name": "North"} | change)
        assert response.status_code == 422
        assert [e["pointer"] for e in response.json()["errors"]] == [pointer]
    team = await admin.ok("POST", "/v1/teams", {"name": "North"})
    taken = await admin.post("/v1/teams", {"name": "NORTH"})
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "/name")
    assert (await rep.post("/v1/teams", {"name": "South"})).status_code == 403
    assert (await rep.get(f"/v1/teams/{team['id']}")).status_code == 200
    for response in (
        await other.get(f"/v1/teams/{team['id']}"),
        await other.patch(f"/v1/teams/{team['id']}", {"name": "x"}),
        await other.delete(f"/v1/teams/{team['id']}"),
    ):
        assert response.status_code == 404


async def test_teams_are_listed_with_their_members_at_constant_cost(admin: Caller) -> None:
    reps = [str((await admin.member("rep")).member_id) for _ in range(3)]
    for n in range(3):
        await admin.ok("POST", "/v1/teams", {"name": f"T{n}", "member_ids": reps[: n + 1]})
    with statements() as many:
        everything = (await admin.ok("GET", "/v1/teams"))["data"]
    with statements() as few:
        await admin.ok("GET", "/v1/teams", params={"limit": 1})
    assert len(many) == len(few)
    assert [(team["name"], len(team["member_ids"])) for team in everything] == [("T0", 1), ("T1", 2), ("T2", 3)]
    of_last = await admin.ok("GET", "/v1/teams", params={"member_id": reps[2]})
    assert [team["name"] for team in of_last["data"]] == ["T2"]
