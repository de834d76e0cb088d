"""The ranked seats over HTTP: who may see what, every wrong input, pins and capacities within their limits."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.api.focus import schemas
from services.api.pagination import Page
from services.scoring.jobs.drain import drain as drain_once
from shared.db import sql
from shared.ids import new_id
from tests.conftest import Servers
from tests.focus.seller import make_seller
from tests.support.caller import Caller
from tests.support.scoring import drain, scoring
from tests.support.statements import statements

SET_POLICY = sql("UPDATE sales.policies SET document = :document WHERE workspace_id = :workspace_id")
WRITTEN = sql(
    "SELECT (SELECT array_agg(xmin::text ORDER BY opportunity_id) FROM scoring.scores"
    " WHERE workspace_id = CAST(:workspace_id AS uuid)) AS scores,"
    " (SELECT array_agg(xmin::text ORDER BY subject_id) FROM scoring.seats"
    " WHERE workspace_id = CAST(:workspace_id AS uuid)) AS seats,"
    " (SELECT count(*) FROM scoring.moves WHERE workspace_id = CAST(:workspace_id AS uuid)) AS moves,"
    " (SELECT count(*) FROM scoring.dirty_marks WHERE workspace_id = CAST(:workspace_id AS uuid)) AS marks,"
    " (SELECT count(*) FROM events.outbox WHERE workspace_id = CAST(:workspace_id AS uuid)) AS events,"
    " (SELECT count(*) FROM sales.audit_entries WHERE workspace_id = CAST(:workspace_id AS uuid)) AS audit"
)
EVENTS = sql(
    "SELECT type, subject_id, data FROM events.outbox WHERE workspace_id = CAST(:workspace_id AS uuid)"
    " AND type LIKE 'focus.%' AND type <> 'focus.moved' ORDER BY id"
)
AUDIT = sql(
    "SELECT action, changes FROM sales.audit_entries WHERE workspace_id = CAST(:workspace_id AS uuid) ORDER BY id"
)


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def pin_of(subject_id: Any, **fields: Any) -> dict[str, Any]:
    body = {
        "kind": "pin",
        "subject_type": "opportunity",
        "subject_id": str(subject_id),
        "band": "engage",
        "reason": "promised to Mr Li",
        "expires_at": in_days(10),
    }
    return {name: value for name, value in {**body, **fields}.items() if value is not ...}


async def test_before_anything_is_judged_every_seat_is_empty(admin: Caller) -> None:
    rep = await admin.member("rep")
    page = await rep.ok("GET", "/v1/focus")
    schemas.FocusPage.model_validate(page)
    assert (page["data"], page["has_more"], page["triaged_at"]) == ([], False, None)
    assert page["shortages"]["vacant"] == {"engage": 16, "track": 100, "monitor": 400}
    assert page["owner_id"] == str(rep.member_id)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("band=attack", "?band"),
        ("within=muted", "?within"),
        ("class=E", "?class"),
        ("limit=0", "?limit"),
        ("limit=many", "?limit"),
        ("owner_id=nobody", "?owner_id"),
        ("colour=red", "?colour"),
        ("band=track&within=track", "?"),
        ("cursor=abc", "?cursor"),
    ],
)
async def test_a_wrong_parameter_is_named(admin: Caller, query: str, pointer: str) -> None:
    response = await admin.get(f"/v1/focus?{query}")
    assert response.status_code == 400, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_a_cursor_belongs_to_its_own_list(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 3)
    cursor = (await seller.focus(limit=1))["next_cursor"]
    assert (await seller.rep.get("/v1/focus", params={"cursor": cursor, "within": "track"})).status_code == 400
    other_list = await seller.rep.get("/v1/focus/moves", params={"cursor": cursor})
    assert (other_list.status_code, other_list.json()["code"]) == (400, "invalid_cursor")


async def test_a_rep_sees_their_own_a_manager_the_teams_an_admin_all(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    rep, colleague = seller.rep, await admin.member("rep", "Colleague")
    manager = await admin.manager_of(rep)
    stranger = await admin.manager_of(colleague)
    viewer = await admin.member("viewer")
    paths = [
        f"/v1/focus?owner_id={rep.member_id}",
        f"/v1/focus/moves?owner_id={rep.member_id}",
        f"/v1/focus/capacity?owner_id={rep.member_id}",
    ]
    for path in paths:
        seen = {who.member_id: (await who.get(path)).status_code for who in (rep, manager, admin, viewer)}
        assert set(seen.values()) == {200}, path
        assert (await colleague.get(path)).status_code == 404, path
        assert (await stranger.get(path)).status_code == 404, path
    assert len((await seller.focus(manager, owner_id=str(rep.member_id)))["data"]) == 2
    # Without an owner the moves are those within reach: a manager's are the team's.
    assert len((await manager.ok("GET", "/v1/focus/moves"))["data"]) == 2
    assert len((await admin.ok("GET", "/v1/focus/moves"))["data"]) == 2
    assert (await stranger.ok("GET", "/v1/focus/moves"))["data"] == []
    assert (await colleague.ok("GET", "/v1/focus/moves"))["data"] == []
    assert (await admin.get(f"/v1/focus?owner_id={new_id()}")).status_code == 404


async def test_what_nobody_owns_is_on_no_list_of_ones_own(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 1)
    customer = await admin.make_customer("Waiting", owner_id=None)
    queued = await admin.make_opportunity(customer["id"], owner_id=None)
    await seller.drain()
    assert await seller.names("engage") == ["01"]
    assert [seat["subject"]["name"] for seat in (await seller.focus())["data"]] == ["01"]
    assert (await seller.rep.get(f"/v1/opportunities/{queued['id']}/score")).status_code == 404
    refused = await seller.rep.post("/v1/focus/pins", pin_of(queued["id"]))
    assert refused.json()["errors"][0]["code"] == "unknown_reference"


async def test_reading_writes_nothing(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 3)

    async def written() -> Any:
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            return dict(await tx.row(WRITTEN) or {})

    before = await written()
    paths = ["/v1/focus", "/v1/focus/moves", "/v1/focus/capacity", f"/v1/opportunities/{seller.made['01']}/score"]
    with statements() as seen:
        for path in [*paths, "/v1/focus/pins"]:
            await seller.rep.ok("GET", path)
        await admin.ok("GET", "/v1/focus/overview")
    asked = [query for query in seen if "UPDATE" in query or "INSERT" in query or "DELETE" in query]
    # Who is calling is noted at most once a minute; nothing else is.
    assert [query for query in asked if "sales.api_keys" not in query] == []
    assert await written() == before


async def test_the_number_of_statements_does_not_grow(admin: Caller, servers: Servers) -> None:
    one, many = await make_seller(admin, servers, 1), await make_seller(admin, servers, 12)
    for path, most in (("/v1/focus", 2), ("/v1/focus/moves", 1), ("/v1/focus/capacity", 1)):
        counts = []
        for seller in (one, many):
            with statements() as seen:
                await seller.rep.ok("GET", path)
            counts.append(len([query for query in seen if "api_keys" not in query]))
        assert counts == [most, most], path
    with statements() as seen:
        overview = await admin.ok("GET", "/v1/focus/overview")
    assert len(overview["data"]) == 2
    assert len([query for query in seen if "api_keys" not in query]) == 1


async def test_a_pin_is_made_shown_listed_and_ended(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    response = await seller.rep.post("/v1/focus/pins", pin_of(seller.made["02"]))
    assert response.status_code == 201, response.text
    pin = response.json()
    schemas.Pin.model_validate(pin)
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
    Page[schemas.Pin].model_validate(listed)
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
        ({"kind": "nail"}, "/kind", "literal_error"),
        ({"band": ...}, "/band", "required"),
        ({"band": "backlog"}, "/band", "literal_error"),
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
    schemas.Capacity.model_validate(before)
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


async def test_the_overview_shows_each_rep_and_what_is_neglected(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    await seller.opportunity("old", 2_000_000, occurred_at=in_days(-40))
    await seller.drain()
    manager = await admin.manager_of(seller.rep)
    page = await manager.ok("GET", "/v1/focus/overview")
    Page[schemas.RepOverview].model_validate(page)
    assert [rep["name"] for rep in page["data"]] == ["Rep"]
    rep = page["data"][0]
    assert rep["counts"]["engage"] == 3
    assert [seat["name"] for seat in rep["neglected"]] == ["old"]
    assert rep["base_deficit"] == {"below_capacity": True, "empty_seats": 397, "needed_new_customers": None}
    assert (await seller.rep.get("/v1/focus/overview")).status_code == 403
    await admin.member("rep", "Another")
    first = await admin.ok("GET", "/v1/focus/overview?limit=1")
    assert [each["name"] for each in first["data"]] == ["Another"]
    second = await admin.ok("GET", f"/v1/focus/overview?limit=1&cursor={first['next_cursor']}")
    assert ([each["name"] for each in second["data"]], second["has_more"]) == (["Rep"], False)


async def test_the_forgotten_timer_ignores_edits_and_respects_the_next_step(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 0)
    id_ = await seller.opportunity("old", 500_000, occurred_at=in_days(-40))

    async def forgotten() -> bool:
        await seller.drain()
        return "being_forgotten" in [flag["code"] for flag in (await seller.focus())["data"][0]["flags"]]

    assert await forgotten()
    opportunity = await seller.rep.ok("PATCH", f"/v1/opportunities/{id_}", {"name": "Edited", "notes": "an edit"})
    assert await forgotten()
    mail = {
        "customer_id": opportunity["customer_id"],
        "opportunity_id": id_,
        "kind": "email",
        "direction": "outbound",
    }
    await seller.rep.ok("POST", "/v1/interactions", mail)
    assert await forgotten()
    step = {"title": "Call about the drawings", "due_on": in_days(20)[:10]}
    await seller.rep.ok("POST", "/v1/interactions", {**mail, "next_step": step})
    assert not await forgotten()
    assert (await seller.focus())["data"][0]["next_step"] == step


async def test_capacity_holds_while_two_workers_and_many_requests_race(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 6)
    await admin.ok("PUT", f"/v1/focus/capacity?owner_id={seller.rep.member_id}", {"engage": 3})
    await seller.drain()
    seen: list[int] = []
    done = asyncio.Event()

    async def drain_on() -> None:
        async with scoring(servers) as context:
            while not done.is_set():
                await drain_once(context, admin.workspace_id)
                await asyncio.sleep(0)

    async def watch() -> None:
        while not done.is_set():
            page = await seller.focus(limit=50)
            seen.append(sum(seat["band"] == "engage" for seat in page["data"]))

    workers = [asyncio.create_task(drain_on()), asyncio.create_task(drain_on()), asyncio.create_task(watch())]
    for name in ("01", "04", "05"):
        await seller.rep.ok("POST", f"/v1/opportunities/{seller.made[name]}/transitions", {"action": "pass"})
        await seller.opportunity(f"late {name}", 3_000_000)
    await asyncio.sleep(0.3)
    done.set()
    await asyncio.gather(*workers)
    await drain(servers, admin.workspace_id)
    assert seen
    assert max(seen) == 3
    assert len(await seller.names("engage")) == 3
