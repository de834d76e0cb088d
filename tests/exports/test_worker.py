"""Exports under way: asked for, cancelled, killed, taken over, expired; and who may have them."""

from __future__ import annotations

import asyncio
import errno
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.api.exports import attempt, lease
from services.api.exports.attempt import run
from services.api.exports.writers import Workbook
from services.api.jobs.exports import ExportSweep
from tests.exports.support import ask, content, exported, exporter_of, rows_of
from tests.support.caller import Caller
from tests.support.statements import statements


async def _customers(admin: Caller, count: int) -> None:
    for n in range(count):
        await admin.make_customer(name=f"Customer {n:03}")


async def _execute(admin: Caller, query: str, *values: Any) -> str:
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        return str(await tx.connection.execute(query, *values))


async def _left(admin: Caller, export_id: str) -> None:
    """The worker died: its lease has run out, and its pause is over."""
    await _execute(
        admin,
        "UPDATE sales.exports SET lease_until = now() - interval '1 second', next_attempt_at = NULL WHERE id = $1",
        UUID(export_id),
    )


@pytest.mark.parametrize("format_", ["csv", "xlsx", "ndjson"])
async def test_a_killed_export_goes_on_with_no_row_lost_or_doubled(
    admin: Caller, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    await _customers(admin, 7)
    monkeypatch.setattr(attempt, "BATCH", 2)
    real, calls = lease.progress, 0

    class Killed(BaseException):
        """As kill -9 would: nothing of the attempt runs any more."""

    async def dies(*args: Any, **given: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        return await real(*args, **given)

    monkeypatch.setattr(lease, "progress", dies)
    made = await ask(admin, "customers", format_)
    with pytest.raises(Killed):
        await run(exporter_of(admin), admin.workspace_id, UUID(made["id"]))
    # Nobody else may have it while its lease holds.
    assert not await run(exporter_of(admin), admin.workspace_id, UUID(made["id"]))
    await _left(admin, made["id"])
    assert await run(exporter_of(admin), admin.workspace_id, UUID(made["id"]))
    done = await admin.ok("GET", f"/v1/exports/{made['id']}")
    assert (done["status"], done["rows_written"]) == ("succeeded", 7)
    names = [row["name"] for row in rows_of(format_, await content(admin, done))]
    assert names == [f"Customer {n:03}" for n in range(7)]


async def test_a_workbook_that_keeps_failing_is_given_up(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins anew each time, so that what it has come to does not begin its attempts anew."""
    await _customers(admin, 1)

    def broken(*_: Any) -> None:
        raise ValueError

    monkeypatch.setattr(Workbook, "add", broken)
    made = await ask(admin, "customers", "xlsx")
    for _ in range(3):
        assert await run(exporter_of(admin, import_attempts=3), admin.workspace_id, UUID(made["id"]))
        await _left(admin, made["id"])
    done = await admin.ok("GET", f"/v1/exports/{made['id']}")
    assert (done["status"], done["problem"]["code"]) == ("failed", "gave_up")


@pytest.mark.parametrize("where", ["add", "close"])
async def test_a_workbook_that_finds_no_room_on_disk_is_given_up(
    admin: Caller, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A full disk is no outage that passes by itself: it is met again with every attempt."""
    await _customers(admin, 1)
    close = Workbook.close

    def full(self: Workbook, *_: Any) -> None:
        if where == "close":
            close(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Workbook, where, full)
    made = await ask(admin, "customers", "xlsx")
    for _ in range(2):
        assert (await admin.ok("GET", f"/v1/exports/{made['id']}"))["status"] in {"queued", "running"}
        assert await run(exporter_of(admin, import_attempts=2), admin.workspace_id, UUID(made["id"]))
        await _left(admin, made["id"])
    done = await admin.ok("GET", f"/v1/exports/{made['id']}")
    assert (done["status"], done["problem"]["code"]) == ("failed", "disk_full")
    assert "disk is full" in done["problem"]["message"]


async def test_an_outage_of_the_database_is_waited_for(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await _customers(admin, 1)

    async def away(*_: Any, **__: Any) -> bool:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    made = await ask(admin, "customers")
    with monkeypatch.context() as patched:
        patched.setattr(lease, "progress", away)
        for _ in range(3):
            assert await run(exporter_of(admin, import_attempts=1), admin.workspace_id, UUID(made["id"]))
            await _left(admin, made["id"])
    assert await run(exporter_of(admin, import_attempts=1), admin.workspace_id, UUID(made["id"]))
    assert (await admin.ok("GET", f"/v1/exports/{made['id']}"))["status"] == "succeeded"


async def test_a_lease_is_renewed_while_a_workbook_is_put_together(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _customers(admin, 1)
    real, renewed = lease.progress, threading.Event()
    closing = threading.Event()
    close = Workbook.close

    async def seen(*args: Any, **given: Any) -> bool:
        cancelled = await real(*args, **given)
        if closing.is_set():
            renewed.set()
        return cancelled

    def slow(self: Workbook) -> None:
        closing.set()
        assert renewed.wait(10)
        close(self)

    monkeypatch.setattr(lease, "progress", seen)
    monkeypatch.setattr(Workbook, "close", slow)
    made = await ask(admin, "customers", "xlsx")
    assert await run(exporter_of(admin, import_lease_seconds=1), admin.workspace_id, UUID(made["id"]))
    done = await admin.ok("GET", f"/v1/exports/{made['id']}")
    assert (done["status"], done["rows_written"]) == ("succeeded", 1)


async def test_a_lost_lease_writes_nothing_more(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await _customers(admin, 3)
    real = lease.progress

    async def robbed(tx: Any, held: Any, *args: Any, **given: Any) -> bool:
        await _execute(admin, "UPDATE sales.exports SET lease_token = gen_random_uuid() WHERE id = $1", held["id"])
        return await real(tx, held, *args, **given)

    monkeypatch.setattr(lease, "progress", robbed)
    made = await ask(admin, "customers")
    assert await run(exporter_of(admin), admin.workspace_id, UUID(made["id"]))
    left = await admin.ok("GET", f"/v1/exports/{made['id']}")
    assert (left["status"], left["rows_written"], left["total_bytes"]) == ("running", 0, 0)


async def test_cancelling(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await _customers(admin, 3)
    queued = await ask(admin, "customers")
    ended = await admin.ok("POST", f"/v1/exports/{queued['id']}:cancel")
    assert ended["status"] == "cancelled"
    assert (await admin.ok("POST", f"/v1/exports/{queued['id']}:cancel"))["version"] == ended["version"]
    assert not await run(exporter_of(admin), admin.workspace_id, UUID(queued["id"]))
    running = await ask(admin, "customers")
    real = lease.progress

    async def cancelled(*args: Any, **given: Any) -> bool:
        await real(*args, **given)
        return True

    monkeypatch.setattr(lease, "progress", cancelled)
    assert await run(exporter_of(admin), admin.workspace_id, UUID(running["id"]))
    assert (await admin.ok("GET", f"/v1/exports/{running['id']}"))["status"] == "cancelled"
    answer = await admin.get(f"/v1/exports/{running['id']}/content")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_file_is_kept_for_a_week(admin: Caller) -> None:
    await _customers(admin, 1)
    done = await exported(admin, "customers")
    assert done["expires_at"] > done["finished_at"]
    worker = exporter_of(admin)
    await _execute(
        admin, "UPDATE sales.exports SET expires_at = now() - $2::interval WHERE id = $1", UUID(done["id"]),
        timedelta(minutes=1),
    )  # fmt: skip
    await ExportSweep(worker).expire()
    gone = await admin.get(f"/v1/exports/{done['id']}/content")
    assert (gone.status_code, gone.json()["code"]) == (410, "export_expired")
    assert (await admin.ok("GET", f"/v1/exports/{done['id']}"))["status"] == "expired"
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        left = await tx.connection.fetchval(
            "SELECT count(*) FROM sales.export_chunks WHERE export_id = $1", UUID(done["id"])
        )
    assert left == 0


async def test_the_sweep_finds_what_waits(admin: Caller) -> None:
    await _customers(admin, 1)
    made = [await ask(admin, "customers", format_) for format_ in ("csv", "ndjson")]
    sweep = ExportSweep(exporter_of(admin))
    states: set[str] = set()
    for _ in range(20):
        await sweep.work()
        await asyncio.gather(*sweep._running.values())
        states = {(await admin.ok("GET", f"/v1/exports/{each['id']}"))["status"] for each in made}
        if states == {"succeeded"}:
            break
    assert states == {"succeeded"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "secrets"}, "/kind"),
    ({"kind": "customers", "format": "pdf"}, "/format"),
    ({"kind": "customers", "filters": {"colour": "red"}}, "/filters/colour"),
    ({"kind": "customers", "filters": {"owner_id": "nobody"}}, "/filters/owner_id"),
    ({"kind": "customers", "filters": {"limit": 5}}, "/filters/limit"),
    ({"kind": "transitions", "filters": {"recorded_after": "soon"}}, "/filters/recorded_after"),
    ({"kind": "customers", "colour": 1}, "/colour"),
]


@pytest.mark.parametrize(("body", "pointer"), WRONG)
async def test_what_is_wrong_is_named(admin: Caller, body: dict[str, Any], pointer: str) -> None:
    response = await admin.post("/v1/exports", body)
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_a_filter_on_an_unknown_attribute_fails_the_export(admin: Caller) -> None:
    done = await exported(admin, "customers", attribute=["shoe_size=43"])
    assert (done["status"], done["problem"]["pointer"]) == ("failed", "/filters")
    assert "shoe_size" in done["problem"]["message"]


@pytest.mark.parametrize(("role", "status"), [("manager", 202), ("integration", 202), ("rep", 403), ("viewer", 403)])
async def test_who_may_ask(admin: Caller, role: str, status: int) -> None:
    member = await admin.member(role)
    assert (await member.post("/v1/exports", {"kind": "customers"})).status_code == status


async def test_nobody_sees_what_is_not_theirs(admin: Caller, other: Caller) -> None:
    await _customers(admin, 1)
    done = await exported(admin, "customers")
    manager = await admin.member("manager")
    for caller in (manager, other):
        for path in ("", "/content", "/mapping"):
            assert (await caller.get(f"/v1/exports/{done['id']}{path}")).status_code == 404, path
        assert (await caller.post(f"/v1/exports/{done['id']}:cancel")).status_code == 404
        assert (await caller.ok("GET", "/v1/exports"))["data"] == []
    assert [row["id"] for row in (await admin.ok("GET", "/v1/exports", params={"kind": "customers"}))["data"]] == [
        done["id"]
    ]


async def test_whoever_left_gets_no_file(admin: Caller) -> None:
    manager = await admin.member("manager")
    made = await ask(manager, "customers")
    await _execute(admin, "UPDATE sales.members SET active = false WHERE id = $1", manager.member_id)
    assert await run(exporter_of(admin), admin.workspace_id, UUID(made["id"]))
    done = await admin.ok("GET", f"/v1/exports/{made['id']}")
    assert (done["status"], done["problem"]["code"]) == ("failed", "forbidden")


async def test_what_is_left_of_an_export(admin: Caller) -> None:
    """Its audit names who and how much; a filter, in which a name may stand, is in no event and no audit entry."""
    await _customers(admin, 2)
    done = await exported(admin, "customers", name_prefix="Kanarienvogel")
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        entries = await tx.connection.fetch(
            "SELECT action, actor_id, changes::text FROM sales.audit_entries WHERE subject_id = $1 ORDER BY id",
            UUID(done["id"]),
        )
        events = await tx.connection.fetch(
            "SELECT type, data::text FROM events.outbox WHERE subject_id = $1 ORDER BY recorded_at", UUID(done["id"])
        )
    assert [(row["action"], row["actor_id"]) for row in entries] == [
        ("export.created", admin.member_id),
        ("export.completed", admin.member_id),
    ]
    assert [row["type"] for row in events] == ["export.created", "export.completed"]
    assert not [row for row in (*entries, *events) if "anarienvogel" in str(tuple(row))]


async def test_asking_twice_under_one_key_makes_one_export(admin: Caller) -> None:
    answers = [
        await admin.post("/v1/exports", {"kind": "customers"}, headers={"Idempotency-Key": "one"}) for _ in range(2)
    ]
    assert {response.status_code for response in answers} == {202}
    assert len({response.json()["id"] for response in answers}) == 1


async def test_statements_do_not_grow_with_the_rows(admin: Caller) -> None:
    counts = []
    for more in (2, 40):
        await _customers(admin, more)
        made = await ask(admin, "customers")
        with statements() as seen:
            assert await run(exporter_of(admin), admin.workspace_id, UUID(made["id"]))
        counts.append(len(seen))
    assert counts[0] == counts[1]
