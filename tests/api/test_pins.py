"""Pins, mutes and capacities: a rep's and a manager's say in the order, within limits (DOMAIN §9, §14)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.api.focus import capacity_schemas, pin_schemas
from services.api.pagination import Page
from shared.db import sql
from tests.conftest import Servers
from tests.focus.seller import in_days, make_seller, pin_of
from tests.support.caller import Caller

SET_POLICY = sql("UPDATE sales.policies SET document = :document WHERE workspace_id = :workspace_id")
EVENTS = sql(
    "SELECT type, subject_id, data FROM events.outbox WHERE workspace_id = CAST(:workspace_id AS uuid)"
    " AND type LIKE 'focus.%' AND type <> 'focus.moved' ORDER BY id"
)
AUDIT = sql(
    "SELECT action, changes FROM sales.audit_entries WHERE workspace_id = CAST(:workspace_id AS uuid) ORDER BY id"
)


async def test_a_pin_is_made_shown_listed_and_ended(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    response = await seller.rep.post("/v1/focus/pins", pin_of(seller.made["02"]))
    assert response.status_code == 201, response.text
    pin = response.json()
    pin_schemas.Pin.model_validate(pin)
    assert response.headers["location"] == f"/v1/focus/pins/{pin['id']}"
    assert response.headers["etag"] == '"1"'
    assert (pin["owner_id"], pin["created_by"], pin["active"]) == (
        str(seller.rep.member_id),
        str(seller.rep.member_id),
        True,
    )
    assert await seller.rep.ok("GET", response.headers["location"]) == pin
    assert (await seller.focus())["pending"] is True
    again = await seller.rep.post("/v1/focus/pins", pin_of(seller.made["02"], kind="mute", band=...))
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    path = response.headers["location"]
    assert (await seller.rep.delete(path, headers={"If-Match": '"7"'})).status_code == 412
    assert (await seller.rep.delete(path, headers={"If-Match": '"1"'})).status_code == 204
    assert (await seller.rep.delete(path)).status_code == 204
    listed = await seller.rep.ok("GET", "/v1/focus/pins")
    Page[pin_schemas.Pin].model_validate(listed)
    assert [(each["id"], each["active"], each["version"]) for each in listed["data"]] == [(pin["id"], False, 2)]
    assert (await seller.rep.ok("GET", "/v1/focus/pins?active=true"))["data"] == []
    assert len((await seller.rep.ok("GET", "/v1/focus/pins?active=false&kind=pin"))["data"]) == 1
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        events, audit = await tx.rows(EVENTS), await tx.rows(AUDIT)
    assert [event["type"] for event in events] == ["focus.pinned", "focus.pin_ended"]
    assert {str(event["subject_id"]) for event in events} == {seller.made["02"]}
    # Why a rep holds on to somebody is personal.
    assert "Mr Li" not in str([event["data"] for event in events]) + str([entry["changes"] for entry in audit])
    assert "pin.created" in [entry["action"] for entry in audit]


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"kind": "nail"}, "/kind", "value_error"),
        ({"band": ...}, "/band", "required"),
        ({"band": "backlog"}, "/band", "value_error"),
        ({"kind": "mute"}, "/band", "not_allowed"),
        ({"reason": " "}, "/reason", "string_too_short"),
        ({"reason": ...}, "/reason", "missing"),
        ({"expires_at": in_days(-1)}, "/expires_at", "in_the_past"),
        ({"expires_at": in_days(91)}, "/expires_at", "too_far"),
        ({"expires_at": "2026-11-22T10:00:00"}, "/expires_at", "value_error"),
        ({"subject_type": "customer", "band": "monitor"}, "/subject_id", "unknown_reference"),
        ({"subject_type": "contact"}, "/subject_type", "literal_error"),
        ({"colour": "red"}, "/colour", "unknown_field"),
    ],
)
async def test_a_wrong_pin_names_its_field(admin: Caller, fields: dict[str, Any], pointer: str, code: str) -> None:
    made = await admin.make_opportunity(owner_id=str(admin.member_id))
    response = await admin.post("/v1/focus/pins", pin_of(made["id"], **fields))
    assert response.status_code == 422, response.text
    assert (response.json()["errors"][0]["pointer"], response.json()["errors"][0]["code"]) == (pointer, code)


async def test_a_pin_needs_a_seat_to_hold(admin: Caller, other: Caller) -> None:
    rep, colleague = await admin.member("rep"), await admin.member("rep")
    lost = await rep.make_opportunity()
    await rep.transition(lost["id"], "lose", reason="price")
    queued = await admin.make_opportunity(owner_id=None)
    shared = await colleague.make_opportunity()
    member = {"member_id": str(rep.member_id), "role": "collaborator"}
    await admin.ok("POST", f"/v1/opportunities/{shared['id']}/members", member)
    foreign = await other.make_opportunity(owner_id=str(other.member_id))
    found = {}
    for name, caller, id_ in (
        ("lost", rep, lost["id"]),
        ("queued", admin, queued["id"]),
        ("shared", rep, shared["id"]),
        ("foreign", rep, foreign["id"]),
        ("foreign to an admin", admin, foreign["id"]),
    ):
        response = await caller.post("/v1/focus/pins", pin_of(id_))
        errors = response.json()["errors"]
        found[name] = (response.status_code, errors[0]["code"] if errors else response.json()["code"])
    assert found == {
        "lost": (422, "not_open"),
        "queued": (422, "no_owner"),
        "shared": (403, "forbidden"),
        "foreign": (422, "unknown_reference"),
        "foreign to an admin": (422, "unknown_reference"),
    }
    customer = await rep.make_customer()
    body = pin_of(customer["id"], subject_type="customer")
    assert (await rep.post("/v1/focus/pins", body)).json()["errors"][0]["code"] == "beyond_its_reach"
    assert (await rep.post("/v1/focus/pins", {**body, "band": "monitor"})).status_code == 201


async def test_others_pins_are_not_found(admin: Caller, other: Caller) -> None:
    rep, colleague, viewer = await admin.member("rep"), await admin.member("rep"), await admin.member("viewer")
    made = await rep.make_opportunity()
    pin = await rep.ok("POST", "/v1/focus/pins", pin_of(made["id"]))
    path = f"/v1/focus/pins/{pin['id']}"
    for caller in (colleague, other):
        assert (await caller.get(path)).status_code == 404
        assert (await caller.delete(path)).status_code == 404
        assert (await caller.ok("GET", "/v1/focus/pins"))["data"] == []
    assert (await viewer.get(path)).status_code == 200
    assert (await viewer.delete(path)).status_code == 403
    assert (await viewer.post("/v1/focus/pins", pin_of(made["id"]))).status_code == 403
    assert (await admin.delete(path)).status_code == 204


async def test_no_more_pins_than_allowed_however_many_come_at_once(admin: Caller) -> None:
    rep = await admin.member("rep")
    customer = await rep.make_customer()
    ids = [(await rep.make_opportunity(customer["id"]))["id"] for _ in range(8)]
    responses = await asyncio.gather(*(rep.post("/v1/focus/pins", pin_of(id_)) for id_ in ids))
    assert Counter(response.status_code for response in responses) == {201: 3, 409: 5}
    refused = next(response.json() for response in responses if response.status_code == 409)
    assert refused["code"] == "pin_limit_reached"
    assert (refused["limit"], refused["held"]) == (3, 3)
    held = (await rep.ok("GET", "/v1/focus/pins?active=true"))["data"]
    assert len(held) == 3
    # Another band has a limit of its own, a mute has none, and an ended pin makes room.
    free = [id_ for id_ in ids if id_ not in {pin["subject_id"] for pin in held}]
    assert (await rep.post("/v1/focus/pins", pin_of(free[0], band="track"))).status_code == 201
    assert (await rep.post("/v1/focus/pins", pin_of(free[1], kind="mute", band=...))).status_code == 201
    await rep.delete(f"/v1/focus/pins/{held[0]['id']}")
    assert (await rep.post("/v1/focus/pins", pin_of(free[2]))).status_code == 201


async def test_what_has_closed_uses_up_no_pin(admin: Caller) -> None:
    rep = await admin.member("rep")
    ids = [(await rep.make_opportunity())["id"] for _ in range(4)]
    for id_ in ids[:3]:
        await rep.ok("POST", "/v1/focus/pins", pin_of(id_))
    assert (await rep.post("/v1/focus/pins", pin_of(ids[3]))).status_code == 409
    await rep.transition(ids[0], "lose", reason="price")
    assert (await rep.post("/v1/focus/pins", pin_of(ids[3]))).status_code == 201


async def test_a_handover_and_a_pin_at_once_leave_no_pin_with_the_former_owner(admin: Caller) -> None:
    rep, successor = await admin.member("rep"), await admin.member("rep")
    for _ in range(5):
        made = await rep.make_opportunity()
        handover = {"owner_id": str(successor.member_id), "reason": "territory"}
        pinned, _ = await asyncio.gather(
            rep.post("/v1/focus/pins", pin_of(made["id"])),
            admin.ok("POST", f"/v1/opportunities/{made['id']}:reassign", handover),
        )
        assert pinned.status_code in {201, 422}
    assert (await admin.ok("GET", f"/v1/focus/pins?active=true&owner_id={rep.member_id}"))["data"] == []


async def test_the_workspace_sets_the_limit_of_pins(admin: Caller) -> None:
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.run(SET_POLICY, document={"pin_limit": 1, "capacities": {"engage": 8}})
    ids = [(await admin.make_opportunity(owner_id=str(admin.member_id)))["id"] for _ in range(2)]
    statuses = [(await admin.post("/v1/focus/pins", pin_of(id_))).status_code for id_ in ids]
    assert statuses == [201, 409]
    capacity = await admin.ok("GET", "/v1/focus/capacity")
    assert (capacity["engage"], capacity["track"], capacity["policy"]["engage"]) == (8, 100, 8)


async def test_a_pin_that_ran_out_makes_room_for_another(admin: Caller) -> None:
    made = await admin.make_opportunity(owner_id=str(admin.member_id))
    soon = pin_of(made["id"], expires_at=(datetime.now(UTC) + timedelta(milliseconds=400)).isoformat())
    first = await admin.ok("POST", "/v1/focus/pins", soon)
    await asyncio.sleep(0.5)
    assert (await admin.ok("GET", f"/v1/focus/pins/{first['id']}"))["active"] is False
    assert (await admin.post("/v1/focus/pins", pin_of(made["id"]))).status_code == 201


async def test_a_repeated_pin_is_the_same_pin(admin: Caller) -> None:
    made = await admin.make_opportunity(owner_id=str(admin.member_id))
    body, headers = pin_of(made["id"]), {"Idempotency-Key": "once"}
    first = await admin.post("/v1/focus/pins", body, headers=headers)
    second = await admin.post("/v1/focus/pins", body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    other = await admin.post("/v1/focus/pins", {**body, "reason": "another"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_capacities_are_a_managers_to_set_and_nested(admin: Caller, other: Caller) -> None:
    rep, colleague = await admin.member("rep"), await admin.member("rep")
    manager = await admin.manager_of(rep)
    path = f"/v1/focus/capacity?owner_id={rep.member_id}"
    before = await rep.ok("GET", path)
    capacity_schemas.Capacity.model_validate(before)
    assert (before["engage"], before["track"], before["monitor"]) == (16, 100, 400)
    assert before["own"] == {"engage": None, "track": None, "monitor": None}
    assert (await rep.put(path, {"engage": 20})).status_code == 403
    assert (await manager.put(f"/v1/focus/capacity?owner_id={colleague.member_id}", {"engage": 20})).status_code == 404
    assert (await other.put(path, {"engage": 20})).status_code == 404
    refused = {}
    for name, body in {
        "too few": {"engage": 20, "track": 10},
        "against the policy": {"engage": 500},
        "negative": {"engage": -1},
        "too many": {"monitor": 10_001},
        "no number": {"track": "many"},
        "unknown": {"backlog": 3},
    }.items():
        response = await manager.put(path, body)
        assert response.status_code == 422, name
        refused[name] = response.json()["errors"][0]["pointer"]
    assert refused == {
        "too few": "/track",
        "against the policy": "/track",
        "negative": "/engage",
        "too many": "/monitor",
        "no number": "/track",
        "unknown": "/backlog",
    }
    response = await manager.put(path, {"engage": 12, "monitor": 300}, headers={"If-Match": f'"{before["version"]}"'})
    assert response.status_code == 200, response.text
    after = response.json()
    assert (after["engage"], after["track"], after["monitor"]) == (12, 100, 300)
    assert after["own"] == {"engage": 12, "track": None, "monitor": 300}
    assert response.headers["etag"] == f'"{before["version"] + 1}"'
    assert (await manager.put(path, {"engage": 9}, headers={"If-Match": '"1"'})).status_code == 412
    # The same again changes nothing.
    assert (await manager.ok("PUT", path, {"engage": 12, "monitor": 300}))["version"] == after["version"]
    cleared = await manager.ok("PUT", path, {})
    assert (cleared["engage"], cleared["own"]["engage"]) == (16, None)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        events = await tx.rows(EVENTS)
    assert [event["type"] for event in events] == ["focus.capacity_changed"] * 2
    assert events[0]["data"]["before"] == {"engage": None, "track": None, "monitor": None}
