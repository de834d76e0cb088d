"""API keys, the workspace, and who is calling."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.api.state import State
from tests.api.test_interactions import marked
from tests.support.caller import Caller


def with_key(caller: Caller, key: str) -> Caller:
    return replace(caller, key=key)


async def test_a_key_opens_what_its_holder_may_do_and_is_shown_once(admin: Caller) -> None:
    rep = await admin.member("rep")
    response = await rep.post("/v1/api-keys", {"name": "Phone"})
    made = response.json()
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/v1/api-keys/{made['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert (made["member_id"], made["scopes"], made["last4"]) == (str(rep.member_id), [], made["key"][-4:])
    phone = with_key(rep, made["key"])
    assert (await phone.ok("GET", "/v1/me"))["api_key_id"] == made["id"]
    listed = (await rep.ok("GET", "/v1/api-keys"))["data"]
    assert listed[0]["id"] == made["id"]
    assert all("key" not in key and "secret_hash" not in key for key in listed)
    assert listed[0]["last_used_at"] is not None


async def test_a_repeated_call_makes_one_key_and_keeps_no_secret(admin: Caller, as_api: asyncpg.Connection) -> None:
    headers = {"Idempotency-Key": "once"}
    first = (await admin.post("/v1/api-keys", {"name": "Sync"}, headers=headers)).json()
    again = await admin.post("/v1/api-keys", {"name": "Sync"}, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first | {"key": None}
    secret = first["key"].rsplit("_", 1)[1]
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        kept = [
            str(await as_api.fetch(f"SELECT t::text FROM {table} t"))
            for table in ("sales.api_keys", "sales.audit_entries", "events.outbox")
        ]
        bodies = await as_api.fetch("SELECT convert_from(body, 'UTF8') FROM sales.idempotency_keys WHERE body <> ''")
    assert first["id"] in kept[0]
    assert secret not in "".join([*kept, str(bodies)])


async def test_nobody_gives_more_than_they_hold(admin: Caller, other: Caller) -> None:
    rep, viewer = await admin.member("rep"), await admin.member("viewer")
    over = await rep.post("/v1/api-keys", {"name": "K", "scopes": ["customers:read", "members:write"]})
    assert [(e["pointer"], e["code"]) for e in over.json()["errors"]] == [("/scopes/1", "not_held")]
    narrow = await rep.ok("POST", "/v1/api-keys", {"name": "K", "scopes": ["api_keys:write", "customers:read"]})
    narrowed = with_key(rep, narrow["key"])
    assert (await narrowed.post("/v1/customers", {"name": "C"})).status_code == 403
    assert (await narrowed.get("/v1/customers")).status_code == 200
    wider = await narrowed.ok("POST", "/v1/api-keys", {"name": "Wider?"})
    assert wider["scopes"] == ["api_keys:write", "customers:read"]
    assert (await narrowed.post("/v1/api-keys", {"name": "W", "scopes": ["customers:write"]})).status_code == 422
    for_other = {"name": "K", "member_id": str(viewer.member_id)}
    assert (await rep.post("/v1/api-keys", for_other)).status_code == 403
    made = await admin.ok("POST", "/v1/api-keys", for_other)
    assert (await with_key(viewer, made["key"]).ok("GET", "/v1/me"))["role"] == "viewer"
    too_much = await admin.post("/v1/api-keys", for_other | {"scopes": ["customers:write"]})
    assert too_much.json()["errors"][0]["code"] == "not_held"
    foreign = await other.post("/v1/api-keys", for_other)
    assert foreign.json()["errors"][0]["pointer"] == "/member_id"
    assert (await viewer.post("/v1/api-keys", {"name": "K"})).status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "K", "scopes": []}, "/scopes"),
        ({"name": "K", "scopes": ["everything"]}, "/scopes/0"),
        ({"name": "K", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "K", "key": "mine"}, "/key"),
    ],
)
async def test_a_wrong_key_is_refused_with_its_place(admin: Caller, body: dict[str, Any], pointer: str) -> None:
    response = await admin.post("/v1/api-keys", body)
    assert response.status_code == 422
    assert [e["pointer"] for e in response.json()["errors"]] == [pointer]


async def test_a_revoked_or_expired_key_opens_nothing(admin: Caller, state: State) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = await admin.ok("POST", "/v1/api-keys", {"name": "K", "expires_at": soon})
    caller = with_key(admin, made["key"])
    assert (await caller.get("/v1/me")).status_code == 200
    assert (await admin.delete(f"/v1/api-keys/{made['id']}", headers={"If-Match": '"9"'})).status_code == 412
    assert (await admin.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    assert (await caller.get("/v1/me")).status_code == 401
    assert (await admin.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    kept = await admin.ok("GET", f"/v1/api-keys/{made['id']}")
    assert kept["revoked_at"] is not None
    live = (await admin.ok("GET", "/v1/api-keys", params={"live": "true"}))["data"]
    assert made["id"] not in [key["id"] for key in live]
    async with state.database.transaction(admin.workspace_id) as tx:
        await tx.connection.execute("UPDATE sales.api_keys SET revoked_at = NULL, expires_at = now()")
    assert (await caller.get("/v1/me")).status_code == 401


async def test_keys_are_their_holders_and_the_administrators(admin: Caller, other: Caller) -> None:
    rep, manager = await admin.member("rep"), await admin.member("manager")
    made = await rep.ok("POST", "/v1/api-keys", {"name": "K"})
    path = f"/v1/api-keys/{made['id']}"
    for stranger in (manager, other):
        assert (await stranger.get(path)).status_code == 404
        assert (await stranger.delete(path)).status_code == 404
        listed = (await stranger.ok("GET", "/v1/api-keys", params={"member_id": str(rep.member_id)}))["data"]
        assert made["id"] not in [key["id"] for key in listed]
    of_rep = (await admin.ok("GET", "/v1/api-keys", params={"member_id": str(rep.member_id)}))["data"]
    assert len(of_rep) == 2
    assert (await admin.delete(path)).status_code == 204


async def test_me_says_who_is_calling_and_what_they_may(admin: Caller) -> None:
    rep = await admin.member("rep", "Li Na")
    manager = await admin.manager_of(rep)
    me = await rep.ok("GET", "/v1/me")
    assert (me["member"]["name"], me["role"], me["reach"]) == ("Li Na", "rep", "own")
    assert me["workspace"]["id"] == str(admin.workspace_id)
    assert "customers:write" in me["scopes"]
    assert "members:write" not in me["scopes"]
    managers = await manager.ok("GET", "/v1/me")
    assert managers["reach"] == "team"
    assert set(managers["owner_ids"]) == {str(manager.member_id), str(rep.member_id)}
    assert (await with_key(rep, rep.key[:-1] + "?").get("/v1/me")).status_code == 401


async def test_the_workspace_is_changed_by_administrators(
    admin: Caller, other: Caller, as_api: asyncpg.Connection
) -> None:
    response = await admin.get("/v1/workspace")
    before = response.json()
    assert (before["currency"], before["time_zone"], response.headers["etag"]) == ("CNY", "UTC", '"1"')
    renamed = await admin.ok("PATCH", "/v1/workspace", {"name": "North"}, headers={"If-Match": '"1"'})
    assert (renamed["name"], renamed["version"]) == ("North", 2)
    assert ("workspace", before["id"]) not in await marked(as_api, admin)
    moved = await admin.ok("PATCH", "/v1/workspace", {"time_zone": "Asia/Shanghai", "locale": "zh-Hans"})
    assert (moved["time_zone"], moved["locale"], moved["version"]) == ("Asia/Shanghai", "zh-Hans", 3)
    assert ("workspace", before["id"]) in await marked(as_api, admin)
    assert (await admin.ok("PATCH", "/v1/workspace", {"name": "North"}))["version"] == 3
    assert (await admin.patch("/v1/workspace", {"name": "x"}, headers={"If-Match": '"1"'})).status_code == 412
    for change, pointer in (
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"locale": "fr"}, "/locale"),
        ({"currency": "USD"}, "/currency"),
        ({"name": None}, "/name"),
    ):
        refused = await admin.patch("/v1/workspace", change)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (await other.ok("GET", "/v1/workspace"))["name"] == "Other"
    for role in ("manager", "rep", "viewer", "integration"):
        caller = await admin.member(role)
        assert (await caller.get("/v1/workspace")).status_code == 200
        assert (await caller.patch("/v1/workspace", {"name": "Mine"})).status_code == 403
