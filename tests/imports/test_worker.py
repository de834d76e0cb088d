"""The api-worker as a process: killed, cancelled, without Redis; and its duties of time and housekeeping."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.api.imports import execution
from services.api.imports.attempt import run
from services.api.imports.earlier import Earlier
from services.api.jobs.clockwork import Clockwork
from services.api.jobs.housekeeping import Housekeeping
from services.api.jobs.imports import ImportSweep
from shared.duty import Duty
from shared.ids import new_id
from shared.probes import Heartbeat
from tests.conftest import Servers
from tests.imports.support import SIMPLE, come_due, errors_of, finish, table, upload, worker_of
from tests.imports.test_rows import count
from tests.imports.test_uploads import changed
from tests.support.beats import beats_of
from tests.support.caller import Caller

MANY = 600


def many(rows: int = MANY) -> bytes:
    stages = ("Talk,,", "Offer,2026-01-02,", "Won,2026-01-02,2026-01-03", "Lost,2026-01-02,2026-01-03", "Nowhere,,")
    return table(*(f"{n},Deal {n},Customer {n % 40},Rep {n % 7},{n},{stages[n % 5]}" for n in range(rows)))


async def eventually(found: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
    """The first truthy result of `found`."""
    for _ in range(int(seconds / 0.02)):
        result = await found()
        if result:
            return result
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about in time")


@asynccontextmanager
async def worker_process(servers: Servers, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.api.worker` with small batches; killed at the end if it still lives."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIXTEEN_")} | {
        "SIXTEEN_DATABASE_URL": servers.database_url,
        "SIXTEEN_REDIS_URL": servers.redis_url,
        "SIXTEEN_EMBEDDED": "1",
        "SIXTEEN_IMPORT_BATCH": "5",
        "SIXTEEN_IMPORT_LEASE_SECONDS": "1",
        "SIXTEEN_SWEEP_SECONDS": "0.2",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.api.worker", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def progress_of(caller: Caller, import_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await caller.ok("GET", f"/v1/imports/{import_id}")
    return found


def ended(caller: Caller, import_id: str) -> Callable[[], Awaitable[Any]]:
    async def look() -> Any:
        found = await progress_of(caller, import_id)
        return found if found["finished_at"] else None

    return look


@pytest.mark.faults
async def test_an_import_killed_in_the_middle_goes_on_where_it_was(admin: Caller, servers: Servers) -> None:
    queued = (await upload(admin, many())).json()

    async def begun() -> bool:
        return 0 < (await progress_of(admin, queued["id"]))["rows_read"] < MANY

    for _ in range(2):
        async with worker_process(servers) as process:
            await eventually(begun)
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert await begun(), "the import had ended before the worker was killed"
    async with worker_process(servers, SIXTEEN_IMPORT_BATCH="100"):
        done = await eventually(ended(admin, queued["id"]))
    assert (done["status"], done["rows_read"]) == ("partially_failed", MANY)
    assert (done["rows_imported"], done["rows_failed"]) == (MANY * 4 // 5, MANY // 5)
    assert await count(admin, "sales.opportunities") == MANY * 4 // 5
    assert await count(admin, "sales.customers") == 40 * 4 // 5
    assert await count(admin, "sales.import_errors") == MANY // 5
    # Won ones have passed three milestones, offered and lost ones one each, and lost ones are closed once.
    assert await count(admin, "sales.transitions") == MANY // 5 * (1 + 3 + 2)
    assert await count(admin, "sales.import_chunks") == 0


@pytest.mark.faults
async def test_a_worker_without_redis_finds_the_work_and_stops_when_asked(admin: Caller, servers: Servers) -> None:
    async with worker_process(servers, SIXTEEN_REDIS_URL="unix:///nowhere/redis.sock") as process:
        queued = (await upload(admin, many(20))).json()
        done = await eventually(ended(admin, queued["id"]))
        assert done["rows_read"] == 20
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_a_running_import_is_cancelled_between_two_batches(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = (await upload(admin, many(100))).json()
    real, batches = execution.batch.apply, 0

    async def counted(*given: Any) -> int:
        nonlocal batches
        batches += 1
        written: int = await real(*given)
        if batches == 3:
            await admin.ok("POST", f"/v1/imports/{queued['id']}:cancel")
        return written

    monkeypatch.setattr(execution.batch, "apply", counted)
    done = await finish(admin, queued["id"], import_batch=10)
    assert (done["status"], done["rows_read"]) == ("cancelled", 30)
    assert await count(admin, "sales.opportunities") == done["rows_imported"]


async def test_a_lost_lease_writes_nothing_more(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    queued = (await upload(admin, many(50))).json()
    real = execution.batch.apply

    async def robbed(*given: Any) -> int:
        written: int = await real(*given)
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            await tx.connection.execute(
                "UPDATE sales.imports SET lease_token = $2, lease_until = now() WHERE id = $1",
                UUID(queued["id"]),
                new_id(),
            )
        return written

    monkeypatch.setattr(execution.batch, "apply", robbed)
    left = await finish(admin, queued["id"], import_batch=10)
    assert (left["status"], left["rows_read"]) == ("running", 0)
    assert await count(admin, "sales.opportunities") == 0
    monkeypatch.undo()
    await come_due(admin, queued["id"])
    done = await finish(admin, queued["id"])
    assert done["rows_read"] == 50


async def test_what_fails_again_and_again_is_given_up_and_says_so(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = (await upload(admin, many(10))).json()

    async def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(execution.batch, "apply", broken)
    first = await finish(admin, queued["id"], import_attempts=2)
    assert first["status"] == "running"
    async with worker_of(admin, import_attempts=2) as worker:
        assert not await run(worker, admin.workspace_id, UUID(queued["id"])), "the next attempt has been put off"
    await come_due(admin, queued["id"])
    done = await finish(admin, queued["id"], import_attempts=2)
    assert (done["status"], done["problem"]["code"]) == ("failed", "gave_up")


async def _no_room(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _no_room_for_rows(*_: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as small:
        small.execute("PRAGMA max_page_count = 1")
        small.execute("CREATE TABLE rows (cells BLOB)")


@pytest.mark.parametrize(
    ("dry", "what", "broken"),
    [("false", (execution.Execution, "_fetch"), _no_room), ("true", (Earlier, "add"), _no_room_for_rows)],
    ids=["upload", "dry run"],
)
async def test_a_worker_without_room_on_disk_gives_up_and_says_so(
    admin: Caller, monkeypatch: pytest.MonkeyPatch, dry: str, what: tuple[Any, str], broken: Callable[..., Any]
) -> None:
    queued = (await upload(admin, many(10), dry_run=dry)).json()
    monkeypatch.setattr(*what, broken)
    for _ in range(2):
        assert (await progress_of(admin, queued["id"]))["finished_at"] is None
        done = await finish(admin, queued["id"], import_attempts=2)
        await come_due(admin, queued["id"])
    assert (done["status"], done["problem"]["code"]) == ("failed", "disk_full")


async def test_the_sweep_runs_imports_of_two_workspaces(admin: Caller, other: Caller) -> None:
    queued = [(caller, (await upload(caller, many(30))).json()["id"]) for caller in (admin, other, admin)]
    async with worker_of(admin) as worker:
        sweep = ImportSweep(worker)
        for caller, import_id in queued:
            await _swept(sweep, ended(caller, import_id))
        await sweep.stop()
    assert [len(await errors_of(caller, {"id": import_id})) for caller, import_id in queued] == [6, 6, 6]


async def _swept(sweep: ImportSweep, done: Callable[[], Awaitable[Any]]) -> None:
    for _ in range(500):
        await sweep.work()
        if await done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the sweep did not finish the import")


async def test_customers_contacts_products_and_interactions(admin: Caller) -> None:
    owner = {"name": "owner", "missing": "create"}
    customers = {
        "kind": "customers", "source": "erp", "owner": owner,
        "fields": {
            "external_id": "id", "name": "name", "tier": {"column": "tier", "map": {"A": "key"}}, "phone": "tel",
        },
    }  # fmt: skip
    await _plain(admin, customers, "id,name,owner,tier,tel\nC1,Acme,Ann Lee,A,0815-4711\nC2,Beta,,B,\n", [(2, "/tier")])
    contacts = {
        "kind": "contacts", "source": "erp", "customer": {"external_id": "customer", "missing": "refuse"},
        "fields": {"external_id": "id", "name": "name", "is_coach": "coach", "birthday": "born"},
    }  # fmt: skip
    lines = "id,customer,name,coach,born\nP1,C1,Li Ming,yes,1980-02-03\nP2,C9,Who,no,\n"
    await _plain(admin, contacts, lines, [(2, "/customer")])
    products = {
        "kind": "products",
        "source": "erp",
        "fields": {"external_id": "id", "name": "name", "list_price": "price"},
    }
    await _plain(admin, products, "id,name,price\nX1,Pump,99.5\n", [])
    touches = {
        "kind": "interactions", "source": "erp", "customer": {"external_id": "customer", "missing": "refuse"},
        "owner": {"name": "who"},
        "fields": {"external_id": "id", "kind": "kind", "occurred_at": "at", "minutes": "min"},
    }  # fmt: skip
    lines = "id,customer,who,kind,at,min\nI1,C1,Ann Lee,call,2026-01-05T10:00:00+08:00,15\n"
    lines += "I2,C1,Ann Lee,dance,2026-01-05,1\n"
    await _plain(admin, touches, lines, [(2, "/kind")])
    contact = (await admin.ok("GET", "/v1/contacts"))["data"][0]
    assert (contact["name"], contact["is_coach"], contact["birthday"]) == ("Li Ming", True, "1980-02-03")
    touch = (await admin.ok("GET", "/v1/interactions"))["data"][0]
    assert (touch["kind"], touch["minutes"], touch["occurred_at"]) == ("call", 15, "2026-01-05T02:00:00Z")
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        told = await tx.connection.fetch(
            "SELECT data::text AS data FROM events.outbox WHERE workspace_id = $1 UNION ALL"
            " SELECT changes::text FROM sales.audit_entries WHERE workspace_id = $1",
            admin.workspace_id,
        )
    assert not [
        row["data"] for row in told if any(word in row["data"] for word in ("Li Ming", "1980-02-03", "0815-4711"))
    ]


async def _plain(caller: Caller, mapping: dict[str, Any], file: str, wrong: list[tuple[int, str]]) -> None:
    from tests.imports.support import imported

    for _ in range(2):
        done = await imported(caller, file.encode(), mapping)
        errors = [(row, pointer) for row, pointer, _ in await errors_of(caller, done)]
        assert (errors, done["problem"]) == (wrong, None)


async def test_what_is_due_is_marked_once(admin: Caller, servers: Servers) -> None:
    made = await admin.make_opportunity()
    from shared.db import connect_arguments

    scoring = await asyncpg.connect(**connect_arguments(servers.database_url, "sixteen_scoring"))
    async with scoring.transaction():
        await scoring.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        await scoring.execute("DELETE FROM scoring.dirty_marks")
        await scoring.execute(
            "INSERT INTO scoring.seats (workspace_id, subject_type, subject_id, owner_id, customer_id, band, rank,"
            " class_code, priority, slack_days, since, next_due_at) VALUES ($1, 'opportunity', $2, $3, $4, 'engage', 1,"
            " 0, 1, 0, now(), now() - interval '1 minute')",
            admin.workspace_id,
            UUID(made["id"]),
            admin.member_id,
            UUID(made["customer_id"]),
        )
    clockwork = Clockwork(admin.state.database, 100)
    seen = []
    for _ in range(2):
        # Two sources, and the workspace in one of them.
        assert await beats_of(clockwork.work) >= 3
        async with scoring.transaction():
            await scoring.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
            query = "SELECT version, subject_type, lane, cause::text FROM scoring.dirty_marks WHERE workspace_id = $1"
            seen.append([tuple(row) for row in await scoring.fetch(query, admin.workspace_id)])
    async with scoring.transaction():
        await scoring.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        await scoring.execute("DELETE FROM scoring.seats WHERE workspace_id = $1", admin.workspace_id)
    await scoring.close()
    assert seen[0] == seen[1], "the second look leaves the mark as it is"
    assert [row[1:] for row in seen[0]] == [("opportunity", 1, '{"type": "time.passed"}')]


async def test_old_answers_are_forgotten_and_partitions_kept_ahead(admin: Caller, as_api: asyncpg.Connection) -> None:
    await upload(admin, many(1), key="young")
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.connection.execute(
            "INSERT INTO sales.idempotency_keys (workspace_id, digest, request_hash, recorded_at)"
            " SELECT $1, sha256(n::text::bytea), '', now() - interval '25 hours' FROM generate_series(1, 5) n",
            admin.workspace_id,
        )
    housekeeping = Housekeeping(admin.state.database, 30, 24)
    await housekeeping.purge_keys()
    assert await count(admin, "sales.idempotency_keys") == 1
    assert not await housekeeping.partitions()
    assert await beats_of(housekeeping.partitions) == 1
    assert await beats_of(housekeeping.settle) == 3
    ahead = await as_api.fetchval("SELECT to_regclass('events.outbox_' || to_char(current_date + 7, 'YYYYMMDD'))")
    assert ahead is not None


async def test_a_duty_outlives_what_its_work_raises() -> None:
    calls = 0

    async def work() -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("away")
        duty.stop()
        return False

    duty = Duty("test", work, 0.01, Heartbeat(60))
    await asyncio.wait_for(duty.run(), 5)
    assert (calls, duty.trouble) == (2, None)


async def test_no_row_of_an_import_reaches_beyond_its_workspace(admin: Caller, other: Caller) -> None:
    theirs = await other.make_customer("Acme")
    mapping = changed(SIMPLE, {"name": "account", "missing": "refuse"}, "customer")
    response = await upload(admin, table("1,First,Acme,Ann Lee,1,Talk,,"), mapping)
    done = await finish(admin, response.json()["id"])
    assert await errors_of(admin, done) == [(1, "/account", "unknown_reference")]
    assert (await other.ok("GET", f"/v1/customers/{theirs['id']}"))["version"] == 1
