"""Interactions: what each touch keeps, what it belongs to, and what follows from it (D8.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from shared.ids import new_id
from tests.support.caller import Caller
from tests.support.statements import statements


async def make_contact(caller: Caller, customer_id: str, name: str = "Wang Fang", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await caller.ok("POST", "/v1/contacts", {"customer_id": customer_id, "name": name, **fields})
    return made


async def effects(as_api: asyncpg.Connection, caller: Caller, subject_type: str) -> list[asyncpg.Record]:
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(caller.workspace_id))
        return await as_api.fetch(
            "SELECT type, data FROM events.outbox WHERE subject_type = $1 ORDER BY recorded_at, id", subject_type
        )


async def marked(as_api: asyncpg.Connection, caller: Caller) -> set[tuple[str, str]]:
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(caller.workspace_id))
        rows = await as_api.fetch("SELECT subject_type, subject_id, version FROM scoring.dirty_marks")
    return {(row["subject_type"], str(row["subject_id"])) for row in rows}


async def test_an_interaction_keeps_all_that_a_touch_gives(admin: Caller, as_api: asyncpg.Connection) -> None:
    deal = await admin.make_opportunity()
    contact = await make_contact(admin, deal["customer_id"])
    body = {
        "customer_id": deal["customer_id"],
        "opportunity_id": deal["id"],
        "contact_ids": [contact["id"], contact["id"]],
        "kind": "visit",
        "direction": "two_way",
        "occurred_at": "2026-05-04T09:30:00+08:00",
        "purpose": "Learn who decides",
        "purpose_reached": True,
        "summary": "Ms Wang decides with her brother",
        "place": "their canteen",
        "setting_quality": "fair",
        "minutes": 45,
        "cost": {"amount": "120.5", "currency": "CNY"},
        "signals": ["asks_questions", "finds_fault", "asks_questions"],
        "confidence": 0.6,
        "foreseen": "She will ask for a sample",
        "customer_rating": 8,
        "promises": [{"title": "Send the drawings", "due_on": "2026-05-06"}, {"title": "Call Mr Li"}],
        "next_step": {"title": "Bring a sample", "due_on": "2026-05-11"},
    }
    response = await admin.post("/v1/interactions", body)
    made = response.json()
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/v1/interactions/{made['id']}"
    kept = {name: value for name, value in body.items() if name not in {"promises", "next_step"}} | {
        "contact_ids": [contact["id"]],
        "signals": ["asks_questions", "finds_fault"],
        "cost": {"amount": "120.50", "currency": "CNY"},
        "occurred_at": "2026-05-04T01:30:00Z",
    }
    assert {name: made[name] for name in kept} == kept
    assert made["member_id"] == str(admin.member_id)
    assert await admin.ok("GET", f"/v1/interactions/{made['id']}") == made
    tasks = (await admin.ok("GET", "/v1/tasks", params={"interaction_id": made["id"]}))["data"]
    assert [(t["kind"], t["title"], t["due_on"], t["status"]) for t in tasks] == [
        ("promise", "Send the drawings", "2026-05-06", "open"),
        ("next_step", "Bring a sample", "2026-05-11", "open"),
        ("promise", "Call Mr Li", None, "open"),
    ]
    assert {(t["opportunity_id"], t["assignee_id"]) for t in tasks} == {(deal["id"], str(admin.member_id))}
    assert ("opportunity", deal["id"]) in await marked(as_api, admin)
    happened = [row for kind in ("interaction", "task") for row in await effects(as_api, admin, kind)]
    assert [row["type"] for row in happened] == ["interaction.created", *["task.created"] * 3]
    told = str([row["data"] for row in happened])
    assert contact["id"] in told
    assert not any(text in told for text in ("Wang", "canteen", "sample", "drawings", "decides"))


def _mistakes() -> list[tuple[dict[str, Any], str, str]]:
    ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return [
        ({"kind": "telepathy"}, "/kind", "value_error"),
        ({"direction": "sideways"}, "/direction", "value_error"),
        ({"occurred_at": ahead}, "/occurred_at", "in_future"),
        ({"occurred_at": "2026-05-04T09:30:00"}, "/occurred_at", "value_error"),
        ({"signals": ["yawns"]}, "/signals/0", "value_error"),
        ({"setting_quality": "loud"}, "/setting_quality", "value_error"),
        ({"confidence": 1.5}, "/confidence", "less_than_equal"),
        ({"customer_rating": 11}, "/customer_rating", "less_than_equal"),
        ({"customer_rating": 0}, "/customer_rating", "greater_than_equal"),
        ({"minutes": -1}, "/minutes", "greater_than_equal"),
        ({"cost": {"amount": 5, "currency": "CNY"}}, "/cost/amount", "value_error"),
        ({"promises": [{"due_on": "2026-05-06"}]}, "/promises/0/title", "missing"),
        ({"next_step": {"title": "Call"}}, "/next_step/due_on", "missing"),
        ({"customer_id": str(new_id())}, "/customer_id", "unknown_reference"),
        ({"opportunity_id": str(new_id())}, "/opportunity_id", "unknown_reference"),
        ({"contact_ids": [str(new_id())]}, "/contact_ids/0", "unknown_reference"),
        ({"member_id": str(new_id())}, "/member_id", "unknown_reference"),
        ({"mood": "fine"}, "/mood", "unknown_field"),
    ]


@pytest.mark.parametrize(("change", "pointer", "code"), _mistakes())
async def test_a_wrong_interaction_is_refused_with_its_place(
    admin: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    customer = await admin.make_customer()
    response = await admin.post("/v1/interactions", {"customer_id": customer["id"], "kind": "call"} | change)
    assert response.status_code == 422, response.text
    assert (pointer, code) in [(e["pointer"], e["code"]) for e in response.json()["errors"]]
    assert (await admin.ok("GET", "/v1/interactions"))["data"] == []


async def test_opportunity_and_contacts_must_be_the_customers(admin: Caller) -> None:
    here, deal = await admin.make_customer("Here"), await admin.make_opportunity()
    stranger = await make_contact(admin, deal["customer_id"])
    own = await make_contact(admin, here["id"], "Own")
    body = {
        "customer_id": here["id"],
        "opportunity_id": deal["id"],
        "contact_ids": [own["id"], stranger["id"]],
        "kind": "call",
    }
    errors = (await admin.post("/v1/interactions", body)).json()["errors"]
    assert [(e["pointer"], e["code"]) for e in errors] == [
        ("/opportunity_id", "other_customer"),
        ("/contact_ids/1", "unknown_reference"),
    ]


async def test_an_interaction_is_corrected_and_keeps_its_version(admin: Caller, as_api: asyncpg.Connection) -> None:
    deal = await admin.make_opportunity()
    one, two = [await make_contact(admin, deal["customer_id"], name) for name in ("One", "Two")]
    body = {"customer_id": deal["customer_id"], "kind": "call", "contact_ids": [one["id"]]}
    made = await admin.ok("POST", "/v1/interactions", body)
    path = f"/v1/interactions/{made['id']}"
    change = {"contact_ids": [two["id"]], "opportunity_id": deal["id"], "summary": "They agreed"}
    after = await admin.ok("PATCH", path, change, headers={"If-Match": '"1"'})
    assert (after["contact_ids"], after["opportunity_id"], after["version"]) == ([two["id"]], deal["id"], 2)
    assert ("opportunity", deal["id"]) in await marked(as_api, admin)
    regrouped = await admin.ok("PATCH", path, {"contact_ids": [one["id"], two["id"]]})
    assert (len(regrouped["contact_ids"]), regrouped["version"]) == (2, 3)
    same = await admin.ok("PATCH", path, {"contact_ids": [two["id"], one["id"]], "summary": "They agreed"})
    assert same["version"] == 3
    assert await admin.ok("GET", path) == same
    assert (await admin.patch(path, {"minutes": 5}, headers={"If-Match": '"1"'})).status_code == 412
    cleared = await admin.ok("PATCH", path, {"summary": None, "clear": ["opportunity_id"]})
    assert (cleared["summary"], cleared["opportunity_id"]) == (None, None)
    for change, pointer in (({"kind": None}, "/kind"), ({"customer_id": deal["customer_id"]}, "/customer_id")):
        assert (await admin.patch(path, change)).json()["errors"][0]["pointer"] == pointer
    assert (await admin.patch(path, {"contact_ids": [str(new_id())]})).status_code == 422


async def test_deleting_is_soft_and_restorable(admin: Caller) -> None:
    customer = await admin.make_customer()
    made = await admin.ok("POST", "/v1/interactions", {"customer_id": customer["id"], "kind": "call"})
    path = f"/v1/interactions/{made['id']}"
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.get(path)).status_code == 404
    tombstones = await admin.ok("GET", "/v1/interactions", params={"include_deleted": "true"})
    assert tombstones["data"][0]["deleted_at"] is not None
    restored = await admin.ok("POST", f"{path}:restore")
    assert (restored["deleted_at"], restored["version"]) == (None, 3)


async def test_an_external_id_is_one_interaction(admin: Caller) -> None:
    customer = await admin.make_customer()
    contact = await make_contact(admin, customer["id"])
    path = "/v1/interactions/by-external-id/pbx/call-1"
    body = {"customer_id": customer["id"], "kind": "call", "contact_ids": [contact["id"]], "minutes": 5}
    first = await admin.put(path, body)
    again = await admin.put(path, body | {"minutes": 7, "contact_ids": []})
    assert (first.status_code, again.status_code) == (201, 200)
    after = again.json()
    assert (after["id"], after["minutes"], after["contact_ids"]) == (first.json()["id"], 7, [])
    assert (await admin.put(path, body | {"minutes": 7, "contact_ids": []})).json()["version"] == after["version"]
    moved = await admin.put(path, body | {"customer_id": (await admin.make_customer())["id"]})
    assert moved.json()["errors"][0]["code"] == "immutable"
    assert (await admin.put(path, body | {"promises": []})).status_code == 422


async def test_lists_are_filtered_ordered_and_of_constant_cost(admin: Caller) -> None:
    deal = await admin.make_opportunity()
    contact = await make_contact(admin, deal["customer_id"])
    for day in range(1, 6):
        body = {
            "customer_id": deal["customer_id"],
            "kind": "visit" if day % 2 else "call",
            "occurred_at": f"2026-03-0{day}T08:00:00Z",
            "contact_ids": [contact["id"]] if day == 5 else [],
            **({"opportunity_id": deal["id"]} if day > 3 else {}),
        }
        await admin.ok("POST", "/v1/interactions", body)

    async def days(**params: Any) -> list[int]:
        page = await admin.ok("GET", "/v1/interactions", params=params)
        return [int(each["occurred_at"][8:10]) for each in page["data"]]

    with statements() as some:
        assert await days() == [5, 4, 3, 2, 1]
    with statements() as fewer:
        assert await days(limit=1) == [5]
    assert len(some) == len(fewer)
    assert await days(sort="occurred_at", kind="visit") == [1, 3, 5]
    assert await days(opportunity_id=deal["id"]) == [5, 4]
    assert await days(contact_id=contact["id"]) == [5]
    assert await days(occurred_after="2026-03-02T08:00:00Z", occurred_before="2026-03-05T08:00:00Z") == [4, 3]
    assert await days(member_id=str(new_id())) == []
    first = await admin.ok("GET", "/v1/interactions", params={"limit": 2})
    assert await days(limit=2, cursor=first["next_cursor"]) == [3, 2]
    assert (await admin.get("/v1/interactions", params={"kinds": "call"})).status_code == 400


async def test_recording_costs_the_same_whatever_was_agreed(admin: Caller) -> None:
    customer = await admin.make_customer()
    body = {"customer_id": customer["id"], "kind": "call", "promises": [{"title": "A"}]}
    with statements() as little:
        await admin.ok("POST", "/v1/interactions", body)
    with statements() as much:
        await admin.ok("POST", "/v1/interactions", body | {"promises": [{"title": f"P{n}"} for n in range(20)]})
    assert len(little) == len(much)


async def test_who_sees_and_records_what(admin: Caller, other: Caller) -> None:
    rep, colleague, viewer = [await admin.member(role) for role in ("rep", "rep", "viewer")]
    customer = await rep.make_customer()
    body = {"customer_id": customer["id"], "kind": "call"}
    made = await rep.ok("POST", "/v1/interactions", body)
    path = f"/v1/interactions/{made['id']}"
    assert made["member_id"] == str(rep.member_id)
    for stranger in (colleague, other):
        assert (await stranger.get(path)).status_code == 404
        assert (await stranger.patch(path, {"minutes": 1})).status_code == 404
        assert (await stranger.delete(path)).status_code == 404
        assert (await stranger.post(f"{path}:restore")).status_code == 404
        refused = await stranger.post("/v1/interactions", body)
        assert refused.json()["errors"][0] | {"message": ""} == {
            "pointer": "/customer_id", "code": "unknown_reference", "message": "",
        }  # fmt: skip
        assert (await stranger.ok("GET", "/v1/interactions"))["data"] == []
    assert (await viewer.get(path)).status_code == 200
    assert (await viewer.post("/v1/interactions", body)).status_code == 403
    assert (await rep.post("/v1/interactions", body | {"member_id": str(colleague.member_id)})).status_code == 403
    named = await admin.ok("POST", "/v1/interactions", body | {"member_id": str(colleague.member_id)})
    assert named["member_id"] == str(colleague.member_id)
