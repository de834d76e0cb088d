"""Overdue tasks: told of once for each day, by the clock of their workspace, whoever looks and whatever is killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.api.jobs.clockwork import OverdueTasks
from services.api.tasks.overdue import tell_overdue
from shared.clock import FixedClock
from shared.ids import new_id
from tests.conftest import Servers
from tests.imports.test_worker import eventually, worker_process
from tests.support.beats import beats_of
from tests.support.caller import Caller
from tests.support.statements import statements

# Midday, so that what is today is today wherever the tests run.
TODAY = datetime.now(UTC).date()
NOON = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)
MANY = (
    "INSERT INTO sales.tasks (workspace_id, id, kind, title, due_on, occurred_at, recorded_at, updated_at)"
    " SELECT $1, id, 'other', 'Call back', $3, now(), now(), now() FROM unnest($2::uuid[]) id"
)


class Told:
    """Who was told that a workspace has new events."""

    def __init__(self) -> None:
        self.workspaces: list[Any] = []

    def tell(self, workspace_id: Any) -> None:
        self.workspaces.append(workspace_id)


def telling(caller: Caller, at: datetime = NOON, most: int = 500, told: Told | None = None) -> OverdueTasks:
    return OverdueTasks(caller.state.database, FixedClock(at), told or Told(), most)  # type: ignore[arg-type]


async def look(caller: Caller, at: datetime = NOON, most: int = 500) -> None:
    overdue = telling(caller, at, most)
    while await overdue.work():
        pass


async def task(caller: Caller, due_on: date | None, **fields: Any) -> dict[str, Any]:
    day = None if due_on is None else due_on.isoformat()
    made: dict[str, Any] = await caller.ok(
        "POST", "/v1/tasks", {"kind": "other", "title": "X", "due_on": day, **fields}
    )
    return made


async def overdue_events(caller: Caller) -> list[dict[str, Any]]:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        rows = await tx.connection.fetch(
            "SELECT * FROM events.outbox WHERE workspace_id = $1 AND type = 'task.overdue' ORDER BY recorded_at, id",
            caller.workspace_id,
        )
    return [dict(row) for row in rows]


async def many(caller: Caller, count: int) -> list[Any]:
    ids = [new_id() for _ in range(count)]
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        await tx.connection.execute(MANY, caller.workspace_id, ids, TODAY - timedelta(days=3))
    return ids


async def test_only_what_is_open_and_whose_day_has_passed(admin: Caller) -> None:
    yesterday = TODAY - timedelta(days=1)
    late = await task(admin, yesterday, notes="private")
    for due_on in (TODAY, TODAY + timedelta(days=1), None):
        await task(admin, due_on)
    for action in ("complete", "cancel"):
        done = await task(admin, yesterday)
        await admin.ok("POST", f"/v1/tasks/{done['id']}:{action}", {})
    gone = await task(admin, yesterday)
    await admin.delete(f"/v1/tasks/{gone['id']}")
    told = Told()
    await telling(admin, told=told).work()
    assert told.workspaces.count(admin.workspace_id) == 1
    [event] = await overdue_events(admin)
    assert (str(event["subject_id"]), event["resource_version"], event["actor_id"]) == (late["id"], 1, None)
    assert event["data"]["due_on"] == yesterday.isoformat()
    assert not {"title", "notes", "overdue_told_on"} & set(event["data"])
    # It was recorded after its day had passed, and is overdue since then.
    assert event["occurred_at"] == datetime.fromisoformat(late["recorded_at"])
    assert await admin.ok("GET", f"/v1/tasks/{late['id']}") == late
    # What comes to life again is told of; what was told of is not, and nobody is woken for nothing.
    await admin.ok("POST", f"/v1/tasks/{gone['id']}:restore")
    again = Told()
    overdue = telling(admin, told=again)
    await overdue.work()
    await overdue.work()
    assert again.workspaces.count(admin.workspace_id) == 1
    assert [str(each["subject_id"]) for each in await overdue_events(admin)] == [late["id"], gone["id"]]


async def test_the_feed_tells_of_it(admin: Caller) -> None:
    rep, stranger = await admin.member("rep"), await admin.member("rep")
    late = await task(rep, TODAY - timedelta(days=2))
    await look(admin)
    for caller, ids in ((admin, [late["id"]]), (rep, [late["id"]]), (stranger, [])):
        page = await caller.ok("GET", "/v1/events", params={"type": "task.overdue"})
        assert [event["subject"]["id"] for event in page["data"]] == ids


async def test_a_task_that_is_moved_is_told_of_again_when_its_new_day_has_passed(admin: Caller) -> None:
    moved = await task(admin, TODAY - timedelta(days=1))
    path = f"/v1/tasks/{moved['id']}"
    await look(admin)
    await admin.ok("POST", f"{path}:snooze", {"due_on": TODAY.isoformat()})
    await look(admin)
    assert len(await overdue_events(admin)) == 1
    await look(admin, NOON + timedelta(days=1))
    days = [(TODAY - timedelta(days=1)).isoformat(), TODAY.isoformat()]
    assert [event["data"]["due_on"] for event in await overdue_events(admin)] == days
    # Back to a day that was told of, or an earlier one: it is known to be late.
    for due_on in (TODAY - timedelta(days=1), TODAY - timedelta(days=5), TODAY):
        await admin.ok("PATCH", path, {"due_on": due_on.isoformat()})
        await look(admin, NOON + timedelta(days=1))
    assert len(await overdue_events(admin)) == 2


@pytest.mark.parametrize(
    ("time_zone", "midnight"),
    [
        ("Pacific/Kiritimati", timedelta(hours=-14)),
        ("Asia/Shanghai", timedelta(hours=-8)),
        ("UTC", timedelta()),
        ("Pacific/Pago_Pago", timedelta(hours=11)),
    ],
)
async def test_a_day_ends_where_the_workspace_is(admin: Caller, time_zone: str, midnight: timedelta) -> None:
    await admin.ok("PATCH", "/v1/workspace", {"time_zone": time_zone})
    due_on = TODAY + timedelta(days=2)
    await task(admin, due_on)
    ends = datetime(due_on.year, due_on.month, due_on.day, tzinfo=UTC) + timedelta(days=1) + midnight
    await look(admin, ends - timedelta(seconds=1))
    assert await overdue_events(admin) == []
    await look(admin, ends)
    [event] = await overdue_events(admin)
    assert (event["occurred_at"], event["recorded_at"]) == (ends, ends)


async def test_workers_at_once_tell_once(admin: Caller, other: Caller) -> None:
    ids = {caller.workspace_id: await many(caller, 120) for caller in (admin, other)}
    await asyncio.gather(*(look(admin, most=7 + n) for n in range(4)))
    await look(admin)
    for caller in (admin, other):
        told = [event["subject_id"] for event in await overdue_events(caller)]
        assert sorted(told) == sorted(ids[caller.workspace_id])


async def test_each_workspace_is_a_beat(admin: Caller, other: Caller) -> None:
    """There may be many of them, each as slow as a statement may be."""
    for caller in (admin, other):
        await many(caller, 2)
    assert await beats_of(telling(admin).work) >= 2


async def test_a_task_that_a_request_holds_is_left_to_the_next_look(admin: Caller) -> None:
    held, free = await many(admin, 2)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.connection.execute(
            "UPDATE sales.tasks SET status = 'done' WHERE workspace_id = $1 AND id = $2", admin.workspace_id, held
        )
        await look(admin, most=1)
        assert [event["subject_id"] for event in await overdue_events(admin)] == [free]
    await look(admin)
    assert [event["subject_id"] for event in await overdue_events(admin)] == [free]


async def test_mark_and_event_are_one(admin: Caller) -> None:
    ids = await many(admin, 3)

    class Killed(BaseException):
        pass

    async def tell_half() -> None:
        async with admin.state.database.transaction(admin.workspace_id, NOON) as tx:
            assert await tell_overdue(tx, ids) == 3
            raise Killed

    with pytest.raises(Killed):
        await tell_half()
    assert await overdue_events(admin) == []
    await look(admin)
    assert sorted(event["subject_id"] for event in await overdue_events(admin)) == sorted(ids)


async def test_as_many_statements_for_many_as_for_one(admin: Caller) -> None:
    counted = []
    for count in (1, 60):
        ids = await many(admin, count)
        async with admin.state.database.transaction(admin.workspace_id, NOON) as tx:
            with statements() as seen:
                assert await tell_overdue(tx, ids) == count
            counted.append(len(seen))
    assert counted == [2, 2]


@pytest.mark.faults
async def test_workers_killed_in_the_middle_tell_once(admin: Caller, servers: Servers) -> None:
    ids = await many(admin, 2_000)

    def some(least: int) -> Callable[[], Awaitable[bool]]:
        async def there() -> bool:
            return len(await overdue_events(admin)) >= least

        return there

    for least in (1, 400):
        async with worker_process(servers, SIXTEEN_DUE_BATCH="10") as process:
            await eventually(some(least))
            process.send_signal(signal.SIGKILL)
            await process.wait()
    async with (
        worker_process(servers, SIXTEEN_DUE_BATCH="50"),
        worker_process(servers, SIXTEEN_DUE_BATCH="50"),
    ):
        await eventually(some(2_000))
    told = [event["subject_id"] for event in await overdue_events(admin)]
    assert sorted(told) == sorted(ids)
