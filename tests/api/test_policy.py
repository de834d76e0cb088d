"""The policy: the constants of a workspace, within their ranges, for a whole workspace at once (DOMAIN §14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.api.test_interactions import marked
from tests.support.caller import Caller

PATH = "/v1/policy"


async def test_the_policy_is_complete_with_defaults(admin: Caller) -> None:
    response = await admin.get(PATH)
    policy = response.json()
    assert response.headers["etag"] == '"1"'
    assert policy["capacities"] == {"engage": 16, "track": 100, "monitor": 400}
    assert (policy["hysteresis_margin"], policy["pin_limit"], policy["reopen_days"]) == (1.1, 3, 90)
    assert policy["cadence_short_days"] == {"engage": 3, "track": 7, "monitor": 30, "backlog": 90}
    assert policy["rates"] == {}
    assert (await admin.get(PATH, headers={"If-None-Match": '"1"'})).status_code == 304


async def test_a_change_has_the_workspace_judged_again_behind_interactive_work(
    admin: Caller, as_api: asyncpg.Connection
) -> None:
    changed = await admin.ok("PATCH", PATH, {"capacities": {"engage": 8}, "rates": {"USD": "7.12", "EUR": "7.80"}})
    assert changed["capacities"] == {"engage": 8, "track": 100, "monitor": 400}
    assert (changed["rates"], changed["version"]) == ({"USD": "7.12", "EUR": "7.80"}, 2)
    assert await marked(as_api, admin) == {("workspace", str(admin.workspace_id))}
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        assert await as_api.fetchval("SELECT lane FROM scoring.dirty_marks") == 1
        stored = await as_api.fetchval("SELECT document::text FROM sales.policies")
    assert "pin_limit" not in stored
    same = await admin.ok("PATCH", PATH, {"capacities": {"engage": 8}})
    assert same["version"] == 2
    assert await admin.ok("GET", PATH) == same


async def test_null_and_clear_set_the_default_again(admin: Caller) -> None:
    given = {"pin_limit": 5, "reopen_days": 30, "rates": {"USD": "7.12", "EUR": "7.80"}, "capacities": {"track": 50}}
    await admin.ok("PATCH", PATH, given)
    after = await admin.ok("PATCH", PATH, {"pin_limit": None, "rates": {"USD": None}, "clear": ["capacities.track"]})
    assert (after["pin_limit"], after["reopen_days"], after["rates"]) == (3, 30, {"EUR": "7.80"})
    assert after["capacities"]["track"] == 100
    replaced = await admin.ok("PUT", PATH, {"pin_limit": 1})
    assert (replaced["pin_limit"], replaced["reopen_days"], replaced["rates"]) == (1, 90, {})
    document = await admin.ok("GET", "/openapi.json")
    assert "rates of exchange that are" in document["paths"][PATH]["put"]["description"]
    assert (await admin.patch(PATH, {"clear": ["colour"]})).json()["errors"][0]["pointer"] == "/clear"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"hysteresis_margin": 0.9}, "/hysteresis_margin", "greater_than_equal"),
        ({"pin_limit": 2.5}, "/pin_limit", "int_from_float"),
        ({"capacities": {"engage": 500}}, "/capacities", "not_nested"),
        ({"capacities": {"engage": -1}}, "/capacities/engage", "greater_than_equal"),
        ({"capacities": {"backlog": 1}}, "/capacities/backlog", "unknown_field"),
        ({"cadence_short_days": {"engage": 0}}, "/cadence_short_days/engage", "greater_than_equal"),
        ({"qualified_fit": 1.2}, "/qualified_fit", "less_than_equal"),
        ({"rates": {"USD": "0"}}, "/rates/USD", "greater_than"),
        ({"rates": {"USD": 7.1}}, "/rates/USD", "value_error"),
        ({"utc_offset_hours": 8}, "/utc_offset_hours", "unknown_field"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_constant_out_of_range_is_refused_with_its_place(
    admin: Caller, method: str, change: dict[str, Any], pointer: str, code: str
) -> None:
    response = await admin.request(method, PATH, json=change)
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]
    assert (await admin.ok("GET", PATH))["version"] == 1


async def test_who_sets_the_policy(admin: Caller, other: Caller) -> None:
    for role, status in (("integration", 200), ("manager", 403), ("rep", 403), ("viewer", 403)):
        caller = await admin.member(role)
        assert (await caller.get(PATH)).status_code == 200
        assert (await caller.patch(PATH, {"pin_limit": 2})).status_code == status
    stale = await admin.patch(PATH, {"pin_limit": 4}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await other.ok("GET", PATH))["pin_limit"] == 3


async def test_the_days_to_reopen_are_the_policys(admin: Caller) -> None:
    now = datetime.now(UTC)
    deal = await admin.make_opportunity(occurred_at=(now - timedelta(days=20)).isoformat())
    closed_at = (now - timedelta(days=10)).isoformat()
    await admin.transition(deal["id"], "lose", reason="price", occurred_at=closed_at)
    await admin.ok("PATCH", PATH, {"reopen_days": 9})
    refused = await admin.transition(deal["id"], "reopen")
    assert (refused.status_code, refused.json()["code"]) == (409, "transition_not_allowed")
    await admin.ok("PATCH", PATH, {"reopen_days": 11})
    assert (await admin.transition(deal["id"], "reopen")).status_code == 200
