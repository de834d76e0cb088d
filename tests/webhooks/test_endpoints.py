"""Webhook endpoints: what one may be, who may have them, and what is kept of their secrets."""

from __future__ import annotations

from typing import Any


from tests.support.caller import Caller

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
