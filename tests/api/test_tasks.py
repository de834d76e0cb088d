"""Tasks: promises, next steps, stage work (D5.5, D8.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from shared.ids import new_id
from tests.api.test_interactions import effects, marked
from tests.support.caller import Caller
from tests.support.statements import statements

TODAY = datetime.now(UTC).date()
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)


async def make_task(caller: Caller, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await caller.ok("POST", "/v1/tasks", {"title": "Send the drawings", **fields})
    return made


async def test_a_task_is_its_makers_and_belongs_to_the_opportunitys_customer(
    admin: Caller, as_api: asyncpg.Connection
) -> None:
    deal = await admin.make_opportunity()
    response = await admin.post(
        "/v1/tasks", {"kind": "promise", "title": "Ask Ms Wang", "opportunity_id": deal["id"], "due_on": str(TOMORROW)}
    )
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/tasks/{made['id']}"
    assert (made["assignee_id"], made["customer_id"]) == (str(admin.member_id), deal["customer_id"])
    assert (made["status"], made["kept"], made["due_on"]) == ("open", None, str(TOMORROW))
    assert ("opportunity", deal["id"]) in await marked(as_api, admin)
    happened = await effects(as_api, admin, "task")
    assert [row["type"] for row in happened] == ["task.created"]
    assert "Wang" not in str(happened[0]["data"])
    alone = await make_task(admin, assignee_id=None)
    assert (alone["assignee_id"], alone["customer_id"], alone["kind"]) == (None, None, "other")


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"title": " "}, "/title", "string_too_short"),
        ({"kind": "wish"}, "/kind", "value_error"),
        ({"due_on": "soon"}, "/due_on", "date_from_datetime_parsing"),
        ({"status": "done"}, "/status", "unknown_field"),
        ({"customer_id": str(new_id())}, "/customer_id", "unknown_reference"),
        ({"opportunity_id": str(new_id())}, "/opportunity_id", "unknown_reference"),
        ({"assignee_id": str(new_id())}, "/assignee_id", "unknown_reference"),
        ({"id": "7f2c1f0e-9d5c-4c5e-8a3e-5f0f4c1f2a3b"}, "/id", "value_error"),
    ],
)
async def test_a_wrong_task_is_refused_with_its_place(
    admin: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    response = await admin.post("/v1/tasks", {"title": "Send it"} | change)
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    ("due_on", "said", "kept"),
    [
        (TOMORROW, None, True),
        (TODAY, None, True),
        (YESTERDAY, None, False),
        (YESTERDAY, True, True),
        (TOMORROW, False, False),
        (None, None, True),
    ],
)
async def test_a_promise_done_late_was_not_kept_unless_said(
    admin: Caller, due_on: Any, said: bool | None, kept: bool
) -> None:
    made = await make_task(admin, kind="promise", due_on=due_on and str(due_on))
    body = {} if said is None else {"kept": said}
    done = await admin.ok("POST", f"/v1/tasks/{made['id']}:complete", body)
    assert (done["status"], done["kept"]) == ("done", kept)
    assert done["completed_at"] is not None
    again = await admin.ok("POST", f"/v1/tasks/{made['id']}:complete", {})
    assert again == done
    assert (await admin.post(f"/v1/tasks/{made['id']}:cancel")).status_code == 409


async def test_due_dates_end_with_the_workspaces_day(admin: Caller) -> None:
    await admin.ok("PATCH", "/v1/workspace", {"time_zone": "Asia/Shanghai"})
    for completed_at, kept in (("2026-05-04T15:59:00Z", True), ("2026-05-04T16:01:00Z", False)):
        made = await make_task(admin, kind="promise", due_on="2026-05-04")
        done = await admin.ok("POST", f"/v1/tasks/{made['id']}:complete", {"completed_at": completed_at})
        assert done["kept"] is kept
    made = await make_task(admin)
    ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    refused = await admin.post(f"/v1/tasks/{made['id']}:complete", {"completed_at": ahead})
    assert refused.json()["errors"][0]["code"] == "in_future"


async def test_only_promises_are_kept_or_broken(admin: Caller) -> None:
    made = await make_task(admin, kind="next_step", due_on=str(YESTERDAY))
    refused = await admin.post(f"/v1/tasks/{made['id']}:complete", {"kept": True})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/kept")
    assert (await admin.ok("POST", f"/v1/tasks/{made['id']}:complete", {}))["kept"] is None


async def test_a_promise_moved_after_its_day_stays_broken(admin: Caller) -> None:
    late = await make_task(admin, kind="promise", due_on=str(YESTERDAY))
    moved = await admin.ok("POST", f"/v1/tasks/{late['id']}:snooze", {"due_on": str(TOMORROW)})
    assert (moved["due_on"], moved["kept"], moved["status"]) == (str(TOMORROW), False, "open")
    assert (await admin.ok("POST", f"/v1/tasks/{late['id']}:complete", {}))["kept"] is False
    patched = await make_task(admin, kind="promise", due_on=str(YESTERDAY))
    assert (await admin.ok("PATCH", f"/v1/tasks/{patched['id']}", {"due_on": str(TOMORROW)}))["kept"] is False
    early = await make_task(admin, kind="promise", due_on=str(TODAY))
    assert (await admin.ok("POST", f"/v1/tasks/{early['id']}:snooze", {"due_on": str(TOMORROW)}))["kept"] is None
    past = await admin.post(f"/v1/tasks/{early['id']}:snooze", {"due_on": str(YESTERDAY)})
    assert past.json()["errors"][0]["code"] == "in_past"


async def test_a_task_is_called_off_once(admin: Caller) -> None:
    made = await make_task(admin, kind="promise")
    first = await admin.ok("POST", f"/v1/tasks/{made['id']}:cancel")
    assert (first["status"], first["version"]) == ("cancelled", 2)
    assert await admin.ok("POST", f"/v1/tasks/{made['id']}:cancel") == first
    for verb, body in (("complete", {}), ("snooze", {"due_on": str(TOMORROW)})):
        refused = await admin.post(f"/v1/tasks/{made['id']}:{verb}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_changing_deleting_restoring(admin: Caller) -> None:
    made = await make_task(admin)
    path = f"/v1/tasks/{made['id']}"
    after = await admin.ok("PATCH", path, {"title": "Send them", "notes": "by post"}, headers={"If-Match": '"1"'})
    assert (after["title"], after["notes"], after["version"]) == ("Send them", "by post", 2)
    stale = await admin.patch(path, {"title": "Send"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    for change in ({"title": None}, {"status": "done"}, {"assignee_id": str(new_id())}):
        assert (await admin.patch(path, change)).status_code == 422
    assert (await admin.ok("PATCH", path, {"clear": ["notes"]}))["notes"] is None
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.get(path)).status_code == 404
    assert (await admin.ok("POST", f"{path}:restore"))["deleted_at"] is None


async def test_an_external_id_is_one_task(admin: Caller) -> None:
    deal = await admin.make_opportunity()
    path = "/v1/tasks/by-external-id/todo/7"
    body = {"title": "Call", "opportunity_id": deal["id"], "kind": "next_step"}
    first = await admin.put(path, body)
    again = await admin.put(path, body | {"title": "Call twice"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["assignee_id"] == str(admin.member_id)
    other_deal = await admin.make_opportunity()
    moved = await admin.put(path, body | {"opportunity_id": other_deal["id"]})
    assert moved.json()["errors"][0]["code"] == "immutable"


async def test_lists_by_due_date_with_the_undated_last(admin: Caller) -> None:
    deal = await admin.make_opportunity()
    for n, due in enumerate((TOMORROW, None, YESTERDAY, TODAY)):
        await make_task(admin, title=f"T{n}", due_on=due and str(due), opportunity_id=deal["id"])
    await make_task(admin, title="Mine alone", kind="greeting", due_on=str(TODAY))

    async def titles(**params: Any) -> list[str]:
        return [task["title"] for task in (await admin.ok("GET", "/v1/tasks", params=params))["data"]]

    with statements() as some:
        assert await titles(opportunity_id=deal["id"]) == ["T2", "T3", "T0", "T1"]
    with statements() as fewer:
        assert await titles(kind="greeting") == ["Mine alone"]
    assert len(some) == len(fewer)
    assert await titles(sort="-due_on", customer_id=deal["customer_id"]) == ["T1", "T0", "T3", "T2"]
    assert await titles(due_before=str(TODAY)) == ["T2"]
    assert await titles(due_after=str(TODAY)) == ["T0"]
    assert await titles(status="done") == []
    page = await admin.ok("GET", "/v1/tasks", params={"limit": 4})
    assert await titles(limit=4, cursor=page["next_cursor"]) == ["T1"]
    assert (await admin.get("/v1/tasks", params={"sort": "title"})).status_code == 400


async def test_who_sees_which_tasks(admin: Caller, other: Caller) -> None:
    rep, colleague, viewer = [await admin.member(role) for role in ("rep", "rep", "viewer")]
    deal = await rep.make_opportunity((await rep.make_customer())["id"])
    made = await make_task(rep, opportunity_id=deal["id"])
    path = f"/v1/tasks/{made['id']}"
    for stranger in (colleague, other):
        assert (await stranger.get(path)).status_code == 404
        assert (await stranger.patch(path, {"title": "x"})).status_code == 404
        for verb, body in (("complete", {}), ("snooze", {"due_on": str(TOMORROW)}), ("cancel", None)):
            assert (await stranger.post(f"{path}:{verb}", body)).status_code == 404
        assert (await stranger.post("/v1/tasks", {"title": "x", "opportunity_id": deal["id"]})).status_code == 422
        assert (await stranger.ok("GET", "/v1/tasks"))["data"] == []
    assert (await viewer.get(path)).status_code == 200
    assert (await viewer.post("/v1/tasks", {"title": "x"})).status_code == 403
    await rep.ok("PATCH", path, {"assignee_id": str(colleague.member_id)})
    assert (await colleague.get(path)).status_code == 200
    assert (await other.post("/v1/tasks", {"title": "x", "assignee_id": str(rep.member_id)})).status_code == 422
