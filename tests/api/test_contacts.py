"""Contacts: people at a customer, of whom almost everything is personal (D3.3, D4)."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from shared.ids import new_id
from tests.api.test_interactions import effects, marked
from tests.support.caller import Caller
from tests.support.statements import statements

PERSON = {
    "name": "Wang Fang",
    "title": "Head of production",
    "function": "using",
    "level": "executive",
    "personality": "owl",
    "is_coach": True,
    "phone": "+86 21 5555",
    "email": "fang@example.com",
    "birthday": "1980-05-06",
    "notes": "Plays chess",
}


async def test_a_contact_is_kept_and_nothing_personal_leaves_it(admin: Caller, as_api: asyncpg.Connection) -> None:
    customer = await admin.make_customer()
    response = await admin.post("/v1/contacts", {"customer_id": customer["id"], **PERSON})
    made = response.json()
    assert response.status_code == 201, response.text
    assert {name: made[name] for name in PERSON} == PERSON
    assert made["is_external"] is False
    assert await admin.ok("GET", f"/v1/contacts/{made['id']}") == made
    await admin.ok("PATCH", f"/v1/contacts/{made['id']}", {"phone": "+86 21 7777", "level": "managerial"})
    assert ("customer", customer["id"]) in await marked(as_api, admin)
    happened = await effects(as_api, admin, "contact")
    assert [row["type"] for row in happened] == ["contact.created", "contact.updated"]
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        audited = await as_api.fetch("SELECT changes::text FROM sales.audit_entries WHERE subject_type = 'contact'")
    told = str([row["data"] for row in happened]) + str([row["changes"] for row in audited])
    assert '"function": "using"' in told
    assert '"changed": ["level", "phone"]' in told
    for value in ("Wang", "5555", "7777", "fang@", "1980", "chess", "owl"):
        assert value not in told


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"name": ""}, "/name", "string_too_short"),
        ({"name": "a\x00b"}, "/name", "value_error"),
        ({"level": "boss"}, "/level", "value_error"),
        ({"function": "sales"}, "/function", "value_error"),
        ({"personality": "lion"}, "/personality", "value_error"),
        ({"email": "nobody"}, "/email", "string_pattern_mismatch"),
        ({"birthday": "6 May"}, "/birthday", "date_from_datetime_parsing"),
        ({"is_coach": "maybe"}, "/is_coach", "bool_type"),
        ({"customer_id": str(new_id())}, "/customer_id", "unknown_reference"),
        ({"hobby": "chess"}, "/hobby", "unknown_field"),
        ({"external_id": "7"}, "/external_source", "required"),
    ],
)
async def test_a_wrong_contact_is_refused_with_its_place(
    admin: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    customer = await admin.make_customer()
    response = await admin.post("/v1/contacts", {"customer_id": customer["id"], "name": "Wang"} | change)
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]


async def test_changing_deleting_restoring(admin: Caller, as_api: asyncpg.Connection) -> None:
    customer = await admin.make_customer()
    made = await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], **PERSON})
    path = f"/v1/contacts/{made['id']}"
    after = await admin.ok("PATCH", path, {"is_coach": False, "clear": ["phone"]}, headers={"If-Match": '"1"'})
    assert (after["is_coach"], after["phone"], after["version"]) == (False, None, 2)
    assert (await admin.patch(path, {"title": "x"}, headers={"If-Match": '"1"'})).status_code == 412
    assert (await admin.patch(path, {"is_coach": None})).json()["errors"][0]["pointer"] == "/is_coach"
    assert (await admin.patch(path, {"customer_id": customer["id"]})).status_code == 422
    assert (await admin.delete(path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.get(path)).status_code == 404
    assert (await admin.ok("POST", f"{path}:restore"))["version"] == 4
    unchanged = await admin.get(path, headers={"If-None-Match": '"4"'})
    assert unchanged.status_code == 304


async def test_an_external_id_is_one_contact(admin: Caller) -> None:
    customer = await admin.make_customer()
    path = "/v1/contacts/by-external-id/crm/c-1"
    first = await admin.put(path, {"customer_id": customer["id"], **PERSON})
    again = await admin.put(path, {"customer_id": customer["id"], "name": "Wang Fen"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert (again.json()["name"], again.json()["phone"], again.json()["is_coach"]) == ("Wang Fen", None, False)
    elsewhere = await admin.make_customer()
    moved = await admin.put(path, {"customer_id": elsewhere["id"], "name": "Wang Fen"})
    assert moved.json()["errors"][0]["pointer"] == "/customer_id"
    taken = {"customer_id": customer["id"], "name": "X", "external_source": "crm", "external_id": "c-1"}
    assert (await admin.post("/v1/contacts", taken)).json()["errors"][0]["pointer"] == "/external_id"


async def test_lists_are_filtered_and_in_pinyin_order(admin: Caller) -> None:
    customer, elsewhere = await admin.make_customer(), await admin.make_customer()
    for name, fields in (
        ("张伟", {"level": "executive"}),
        ("Bob", {"is_coach": True}),
        ("王芳", {"function": "using"}),
        ("anna", {"is_external": True}),
    ):
        await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": name, **fields})
    await admin.ok("POST", "/v1/contacts", {"customer_id": elsewhere["id"], "name": "Zoe"})

    async def names(**params: Any) -> list[str]:
        page = await admin.ok("GET", "/v1/contacts", params={"sort": "name", **params})
        return [each["name"] for each in page["data"]]

    with statements() as many:
        assert await names() == ["anna", "Bob", "王芳", "张伟", "Zoe"]
    with statements() as few:
        assert await names(level="executive") == ["张伟"]
    assert len(many) == len(few)
    assert await names(is_coach="true") == ["Bob"]
    assert await names(is_external="true") == ["anna"]
    assert await names(function="using") == ["王芳"]
    assert await names(customer_id=elsewhere["id"]) == ["Zoe"]
    assert await names(name_prefix="wang") == ["王芳"]
    assert (await admin.get("/v1/contacts", params={"phone": "1"})).status_code == 400


async def test_who_sees_which_contacts(admin: Caller, other: Caller) -> None:
    rep, colleague, viewer = [await admin.member(role) for role in ("rep", "rep", "viewer")]
    manager = await admin.manager_of(rep)
    customer = await rep.make_customer()
    body = {"customer_id": customer["id"], "name": "Wang"}
    made = await rep.ok("POST", "/v1/contacts", body)
    path = f"/v1/contacts/{made['id']}"
    for stranger in (colleague, other):
        for response in (
            await stranger.get(path),
            await stranger.patch(path, {"title": "x"}),
            await stranger.delete(path),
            await stranger.post(f"{path}:restore"),
        ):
            assert response.status_code == 404
        assert (await stranger.post("/v1/contacts", body)).json()["errors"][0]["code"] == "unknown_reference"
    assert (await manager.patch(path, {"title": "x"})).status_code == 200
    assert (await viewer.get(path)).status_code == 200
    assert (await viewer.patch(path, {"title": "y"})).status_code == 403
