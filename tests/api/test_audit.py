"""The audit trail: every change, by whom, without personal values, never altered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from tests.support.caller import Caller
from tests.support.statements import statements


async def actions(caller: Caller, **params: Any) -> list[str]:
    page = await caller.ok("GET", "/v1/audit", params=params)
    return [entry["action"] for entry in page["data"]]


async def test_every_change_is_in_the_trail(admin: Caller) -> None:
    deal = await admin.make_opportunity()
    started = datetime.now(UTC).isoformat()
    headers = {"X-Request-Id": "call-17"}
    await admin.ok("PATCH", f"/v1/opportunities/{deal['id']}", {"name": "New", "notes": "Secret"}, headers=headers)
    await admin.transition(deal["id"], "pass")
    assert await actions(admin, subject_id=deal["id"]) == [
        "opportunity.pass",
        "opportunity.updated",
        "opportunity.created",
    ]
    entry = (await admin.ok("GET", "/v1/audit", params={"request_id": "call-17"}))["data"][0]
    assert (entry["actor_id"], entry["subject_type"], entry["version"]) == (str(admin.member_id), "opportunity", 2)
    assert entry["changes"] == {"name": ["Deal", "New"], "notes": None}
    assert await actions(admin, action="customer.created") == ["customer.created"]
    assert await actions(admin, recorded_after=started) == ["opportunity.pass", "opportunity.updated"]
    assert await actions(admin, subject_type="process") == ["process.created"] * 2
    first = await admin.ok("GET", "/v1/audit", params={"limit": 2, "subject_id": deal["id"]})
    rest = await actions(admin, limit=2, subject_id=deal["id"], cursor=first["next_cursor"])
    assert rest == ["opportunity.created"]
    assert (await actions(admin, sort="recorded_at"))[-1] == "opportunity.pass"
    assert (await admin.get("/v1/audit", params={"who": "me"})).status_code == 400


async def test_a_refused_change_leaves_no_entry(admin: Caller) -> None:
    deal = await admin.make_opportunity()
    before = await actions(admin)
    assert (await admin.transition(deal["id"], "back")).status_code == 409
    assert (await admin.patch(f"/v1/opportunities/{deal['id']}", {"name": ""})).status_code == 422
    assert await actions(admin) == before


async def test_the_trail_is_append_only(admin: Caller, as_api: asyncpg.Connection) -> None:
    await admin.make_customer()
    for change in ("UPDATE sales.audit_entries SET action = 'x'", "DELETE FROM sales.audit_entries"):
        async with as_api.transaction():
            await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
            with pytest.raises(asyncpg.PostgresError) as refused:
                async with as_api.transaction():
                    await as_api.execute(change)
        assert refused.value.sqlstate in {"42501", "SX009"}


async def test_managers_see_what_concerns_their_team(admin: Caller, other: Caller) -> None:
    rep, stranger = await admin.member("rep"), await admin.member("rep")
    manager = await admin.manager_of(rep)
    mine = await rep.make_opportunity((await rep.make_customer())["id"])
    theirs = await stranger.make_opportunity((await stranger.make_customer())["id"])
    await admin.ok("PATCH", f"/v1/opportunities/{mine['id']}", {"name": "By the administrator"})
    with statements() as ran:
        assert await actions(manager, subject_id=mine["id"]) == ["opportunity.updated", "opportunity.created"]
    assert len([text for text in ran if "audit_entries" in text]) == 1
    assert await actions(manager, subject_id=theirs["id"]) == []
    assert await actions(manager, subject_type="process") == []
    assert len(await actions(admin, subject_id=theirs["id"])) == 1
    assert await actions(other, subject_id=mine["id"]) == []
    for role in ("rep", "viewer", "integration"):
        assert (await (await admin.member(role)).get("/v1/audit")).status_code == 403
