"""Webhook endpoints: what one may be, who may have them, and what is kept of their secrets."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.errors import Invalid
from services.api.webhooks.validation import check_url, rules_of
from shared.db import sql
from tests.support.caller import Caller
from tests.support.traces import traces

PATH = "/v1/webhook-endpoints"
URL = "https://hooks.example.com/sixteen"
BODY: dict[str, Any] = {"url": URL, "event_types": ["opportunity.*", "focus.moved"]}


async def make(admin: Caller, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await admin.ok("POST", PATH, {**BODY, **fields})
    return made


class TestLife:
    """Create, read, list, change, delete."""

    async def test_an_endpoint_is_made_read_and_listed(self, admin: Caller) -> None:
        response = await admin.post(PATH, {**BODY, "description": "ERP", "metadata": {"team": "north"}})
        made = response.json()
        assert (response.status_code, response.headers["etag"]) == (201, '"1"')
        assert response.headers["location"] == f"{PATH}/{made['id']}"
        assert response.headers["cache-control"] == "no-store"
        assert made["key"].startswith("whsec_")
        read = await admin.ok("GET", f"{PATH}/{made['id']}")
        assert read == {name: value for name, value in made.items() if name != "key"}
        assert read["notice"] is None
        assert (await admin.ok("GET", PATH))["data"] == [read]
        again = await admin.get(f"{PATH}/{made['id']}", headers={"If-None-Match": '"1"'})
        assert again.status_code == 304

    async def test_a_change_replaces_what_is_given_and_null_clears(self, admin: Caller) -> None:
        made = await make(admin, throttle_rate=10, retry_schedule=[5, 60], description="a")
        path = f"{PATH}/{made['id']}"
        changes = {"event_types": ["*"], "throttle_rate": None, "clear": ["description"], "thin": True}
        after = await admin.ok("PATCH", path, changes, headers={"If-Match": '"1"'})
        assert (after["event_types"], after["throttle_rate"], after["description"], after["thin"]) == (
            ["*"],
            None,
            None,
            True,
        )
        assert (after["retry_schedule"], after["version"]) == ([5, 60], 2)
        stale = await admin.patch(path, {"thin": False}, headers={"If-Match": '"1"'})
        assert stale.status_code == 412
        refused = await admin.patch(path, {"url": None})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/url")
        assert (await admin.ok("PATCH", path, {"thin": True}))["version"] == 2

    async def test_a_deleted_endpoint_is_gone_with_its_keys(self, admin: Caller) -> None:
        made = await make(admin)
        path = f"{PATH}/{made['id']}"
        assert (await admin.delete(path, headers={"If-Match": '"7"'})).status_code == 412
        assert (await admin.delete(path)).status_code == 204
        for gone in (path, f"{path}/secret"):
            assert (await admin.get(gone)).status_code == 404
        assert (await admin.delete(path)).status_code == 404

    async def test_it_is_held_and_let_go(self, admin: Caller) -> None:
        made = await make(admin)
        path = f"{PATH}/{made['id']}"
        held = await admin.ok("PATCH", path, {"disabled": True})
        assert (held["disabled"], held["disabled_reason"]) == (True, "requested")
        assert held["disabled_at"] is not None
        freed = await admin.ok("POST", f"{path}:enable")
        assert (freed["disabled"], freed["disabled_reason"], freed["disabled_at"]) == (False, None, None)
        assert (await admin.ok("POST", f"{path}:enable"))["version"] == freed["version"]

    async def test_a_workspace_has_so_many(self, admin: Caller) -> None:
        most = admin.state.settings.webhook_endpoints
        for _ in range(most):
            await make(admin)
        refused = await admin.post(PATH, BODY)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert str(most) in refused.json()["detail"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"url": "ftp://hooks.example.com"}, "/url", "url_not_allowed"),
    ({"url": "hooks.example.com"}, "/url", "url_not_allowed"),
    ({"url": "http://hooks.example.com"}, "/url", "url_not_allowed"),
    ({"url": "https://user:secret@hooks.example.com"}, "/url", "url_not_allowed"),
    ({"url": "https://hooks.example.com:25/"}, "/url", "url_not_allowed"),
    ({"url": "https://10.0.0.7/"}, "/url", "url_not_allowed"),
    ({"url": "https://[fe80::1]/"}, "/url", "url_not_allowed"),
    ({"url": "https://169.254.169.254/latest/meta-data"}, "/url", "url_not_allowed"),
    ({"url": "https://0xa9fea9fe/"}, "/url", "url_not_allowed"),
    ({"url": "https://hooks.example.com/#part"}, "/url", "malformed_url"),
    ({"url": "https://hooks.example.com/a b"}, "/url", "malformed_url"),
    ({"url": "https://höoks.example.com/"}, "/url", "malformed_url"),
    ({"event_types": ["opportunity.won", "opportunity.sold"]}, "/event_types/1", "unknown_event_type"),
    ({"event_types": ["opportunity*"]}, "/event_types/0", "unknown_event_type"),
    ({"event_types": []}, "/event_types", "too_short"),
    ({"headers": {"Webhook-Id": "x"}}, "/headers/Webhook-Id", "reserved_header"),
    ({"headers": {"Content-Length": "3"}}, "/headers/Content-Length", "reserved_header"),
    ({"headers": {"X-A": "a\r\nX-B: b"}}, "/headers/X-A", "malformed_header"),
    ({"headers": {"X A": "a"}}, "/headers/X A", "malformed_header"),
    ({"headers": {"X-A": "a", "x-a": "b"}}, "/headers/x-a", "duplicate_header"),
    ({"owner_ids": ["019c0de0-0000-7000-8000-000000000001"]}, "/owner_ids/0", "unknown_reference"),
    ({"opportunity_ids": ["019c0de0-0000-7000-8000-000000000001"]}, "/opportunity_ids/0", "unknown_reference"),
    ({"signatures": ["v2"]}, "/signatures/0", "value_error"),
    ({"timeout_seconds": 31}, "/timeout_seconds", "less_than_equal"),
    ({"throttle_rate": 0}, "/throttle_rate", "greater_than_equal"),
    ({"retry_schedule": [172_800] * 8}, "/retry_schedule", "value_error"),
    ({"api_version": "v9"}, "/api_version", "value_error"),
    ({"key": "whsec_AAAA"}, "/key", "malformed_key"),
    ({"key": "secret"}, "/key", "malformed_key"),
    ({"key": "whsk_" + "A" * 43 + "="}, "/key", "other_signature"),
    ({"colour": "red"}, "/colour", "unknown_field"),
]


@pytest.mark.parametrize(("fields", "pointer", "code"), WRONG)
async def test_what_is_wrong_is_named(admin: Caller, fields: dict[str, Any], pointer: str, code: str) -> None:
    response = await admin.post(PATH, {**BODY, **fields})
    assert response.status_code == 422, response.text
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in response.json()["errors"]}
    assert "secret@" not in response.text


async def test_a_receiver_on_this_machine_is_for_the_embedded_mode_alone(admin: Caller) -> None:
    for url in ("http://127.0.0.1:9000/hook", "http://localhost:9000/hook", "https://[::1]:9000/"):
        made = await make(admin, url=url)
        assert "embedded mode" in made["notice"]
    rules = rules_of(admin.state.settings.model_copy(update={"embedded": False}))
    for url in ("http://127.0.0.1:9000/hook", "https://127.0.0.1/", "https://localhost/", "https://a.localhost/"):
        with pytest.raises(Invalid):
            check_url(url, rules)
    check_url(URL, rules)


class TestWho:
    """Administrators and integrations; nobody else, and nobody of another workspace."""

    @pytest.mark.parametrize("role", ["manager", "rep", "viewer"])
    async def test_others_may_not_even_look(self, admin: Caller, role: str) -> None:
        made = await make(admin)
        caller = await admin.member(role)
        for call in (caller.get(PATH), caller.get(f"{PATH}/{made['id']}/secret"), caller.post(PATH, BODY)):
            response = await call
            assert (response.status_code, response.json()["code"]) == (403, "forbidden")

    async def test_an_integration_may(self, admin: Caller) -> None:
        caller = await admin.member("integration")
        made = await make(caller)
        assert made["created_by"] == str(caller.member_id)
        assert (await caller.get(f"{PATH}/{made['id']}/secret")).status_code == 200

    async def test_reading_does_not_show_the_secret(self, admin: Caller) -> None:
        key = await admin.ok("POST", "/v1/api-keys", {"name": "look", "scopes": ["webhooks:read"]})
        reader = Caller(admin.http, admin.state, admin.workspace_id, admin.member_id, key["key"])
        made = await make(admin)
        assert (await reader.get(f"{PATH}/{made['id']}")).status_code == 200
        assert (await reader.get(f"{PATH}/{made['id']}/secret")).status_code == 403

    async def test_nobody_refers_to_another_workspace(self, admin: Caller, other: Caller) -> None:
        theirs = await other.make_opportunity()
        body = {**BODY, "opportunity_ids": [theirs["id"]], "owner_ids": [str(other.member_id)]}
        response = await admin.post(PATH, body)
        pointers = {error["pointer"] for error in response.json()["errors"]}
        assert (response.status_code, pointers) == (422, {"/opportunity_ids/0", "/owner_ids/0"})


async def test_a_repeated_create_makes_one_and_does_not_keep_the_key(admin: Caller) -> None:
    headers = {"Idempotency-Key": "hook"}
    first = await admin.post(PATH, BODY, headers=headers)
    again = await admin.post(PATH, BODY, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["key"].startswith("whsec_")
    assert again.json() == {**first.json(), "key": None}
    assert len((await admin.ok("GET", PATH))["data"]) == 1


async def test_what_happens_to_endpoints_is_told_and_audited_without_secrets(admin: Caller) -> None:
    made = await make(admin, url=f"{URL}?token=canary-1", headers={"Authorization": "canary-2"})
    path = f"{PATH}/{made['id']}"
    await admin.ok("PATCH", path, {"disabled": True, "headers": {"Authorization": "canary-3"}})
    await admin.ok("POST", f"{path}:enable")
    await admin.ok("POST", f"{path}:rotate-secret", {})
    await admin.ok("GET", f"{path}/secret")
    await admin.delete(path)
    left = await traces(admin)
    told = [row for row in left.events.values() if row["type"].startswith("endpoint.")]
    assert [row["type"].removeprefix("endpoint.") for row in told] == [
        "created",
        "disabled",
        "enabled",
        "secret_rotated",
        "deleted",
    ]
    audited = [row for row in left.audit.values() if row["action"].startswith("endpoint.")]
    assert [row["action"].removeprefix("endpoint.") for row in audited] == [
        "created",
        "disabled",
        "enabled",
        "secret_rotated",
        "secret_read",
        "deleted",
    ]
    for row in [*told, *audited]:
        assert "canary" not in str(dict(row))
        assert made["key"] not in str(dict(row))
    shown = await admin.ok("GET", "/v1/audit")
    assert "canary" not in str(shown)


async def test_the_relay_begins_with_the_first_endpoint(admin: Caller) -> None:
    """What happened before is not handed out by itself; where somebody is told already nothing is passed over."""

    async def seen() -> Any:
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            return await tx.value(sql("SELECT seen FROM events.relay_positions WHERE workspace_id = :workspace_id"))

    assert await seen() is None
    first = await make(admin)
    began = await seen()
    assert began is not None
    await make(admin)
    assert await seen() == began
    for endpoint in (await admin.ok("GET", PATH))["data"]:
        await admin.ok("PATCH", f"{PATH}/{endpoint['id']}", {"disabled": True})
    await admin.ok("POST", f"{PATH}/{first['id']}:enable")
    assert await seen() != began
