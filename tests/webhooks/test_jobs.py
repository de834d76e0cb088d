"""Recoveries and replays: jobs that survive whoever works on them, and tell how far they are."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg
import pytest

from services.api.delivery.fanout import fan_out
from services.api.jobs.webhook_jobs import WebhookJobs
from services.api.webhooks import jobs
from shared.clock import Clock, SystemClock
from shared.db import sql
from shared.events import EVENT_TYPES
from shared.ids import new_id
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.traces import traces
from tests.support.webhooks import ENDPOINTS, make_endpoint
from tests.webhooks.test_deliveries import QUEUE, hand_out, rows, settle

LONG_AGO = "2020-01-01T00:00:00Z"
EVENTS = sql(
    """
    INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version,
      occurred_at, data)
    SELECT :workspace_id, e.id, :at, CAST(:type AS text), CAST(:subject AS text), e.id, 1, :at, CAST(:data AS jsonb)
    FROM unnest(CAST(:ids AS uuid[])) AS e(id)
    """
)
UNHEARD = sql(
    """
    SELECT count(*) FROM events.outbox o WHERE workspace_id = :workspace_id AND type = :type AND NOT EXISTS (
      SELECT FROM events.webhook_deliveries d WHERE d.workspace_id = :workspace_id AND d.event_id = o.id)
    """
)
HELD = sql("SELECT * FROM events.webhook_jobs WHERE workspace_id = :workspace_id AND id = :id")
RUN_OUT = sql(
    "UPDATE events.webhook_jobs SET lease_until = now() - interval '1 second', next_attempt_at = NULL"
    " WHERE workspace_id = :workspace_id"
)


class Later(Clock):
    """The real time, put forward."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


async def work(admin: Caller, clock: Clock | None = None) -> None:
    """All that waits for a worker, by one."""
    duty = WebhookJobs(admin.state.database, clock or SystemClock(), lambda: None)
    while await duty.work():
        pass


async def happen(admin: Caller, count: int, type_: str = "customer.created", at: datetime | None = None) -> None:
    """So many events, as though of a job: written by hand, of one moment."""
    at = at or datetime.now(UTC)
    ids = [new_id(int(at.timestamp() * 1000)) for _ in range(count)]
    given = {"type": type_, "subject": type_.partition(".")[0], "data": EVENT_TYPES[type_].example}
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.run(EVENTS, ids=ids, at=at, **given)


@pytest.fixture
async def past(admin: Caller, as_api: asyncpg.Connection) -> datetime:
    """A time whose partitions are there, well before any endpoint."""
    await as_api.execute("SELECT events.ensure_partitions(current_date - 20, current_date)")
    return datetime.now(UTC) - timedelta(days=20) + timedelta(hours=1)


@pytest.fixture
def small_pages() -> Iterator[None]:
    with patch("services.api.jobs.webhook_jobs._PAGES", 1):
        yield


class TestReplay:
    """`:replay-missing`: what was never sent to this endpoint."""

    async def test_events_from_before_the_endpoint_reach_it_once(self, admin: Caller, past: datetime) -> None:
        await happen(admin, 2_500, at=past)
        await happen(admin, 30, "product.created", at=past)
        made = await make_endpoint(admin, event_types=["customer.*"])
        response = await admin.post(f"{ENDPOINTS}/{made['id']}:replay-missing", {})
        job = response.json()
        assert (response.status_code, job["status"], job["kind"], job["total"]) == (
            201,
            "queued",
            "replay_missing",
            None,
        )
        await work(admin)
        done = await admin.ok("GET", response.headers["location"])
        assert (done["status"], done["requested"], done["problem"]) == ("succeeded", 2_500, None)
        # The endpoint's own beginning is among the events looked at.
        assert done["done"] == done["total"] >= 2_530
        assert (await rows(admin, UNHEARD, type="customer.created"))[0]["count"] == 0
        assert (await rows(admin, UNHEARD, type="product.created"))[0]["count"] == 30
        assert len(await rows(admin, QUEUE)) == 2_500
        again = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:replay-missing", {})
        await work(admin)
        assert (await admin.ok("GET", f"/v1/webhook-jobs/{again['id']}"))["requested"] == 0

    async def test_only_what_lies_within_and_what_the_endpoint_wants(self, admin: Caller, past: datetime) -> None:
        await happen(admin, 3, at=past)
        await happen(admin, 4, "customer.updated", at=past + timedelta(hours=3))
        made = await make_endpoint(admin, event_types=["customer.*"])
        within = {
            "since": (past + timedelta(hours=1)).isoformat(),
            "until": (past + timedelta(hours=5)).isoformat(),
        }
        job = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:replay-missing", within)
        await work(admin)
        done = await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}")
        assert (done["total"], done["done"], done["requested"]) == (4, 4, 4)
        mine = await make_endpoint(admin, event_types=["*"], owner_ids=[str(admin.member_id)])
        job = await admin.ok("POST", f"{ENDPOINTS}/{mine['id']}:replay-missing", within)
        await work(admin)
        assert (await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}"))["requested"] == 0

    async def test_what_was_sent_already_is_left_alone(self, admin: Caller) -> None:
        made = await make_endpoint(admin, event_types=["customer.*"])
        await admin.make_customer()
        assert await hand_out(admin) == 1
        await settle(admin, "delivered")
        await admin.make_customer()
        await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:replay-missing", {"since": LONG_AGO})
        await work(admin)
        listed = (await admin.ok("GET", f"{ENDPOINTS}/{made['id']}/deliveries"))["data"]
        assert [row["status"] for row in listed] == ["pending", "delivered"]


class TestRecover:
    """`:recover`: what was given up, again."""

    async def test_failed_and_skipped_ones_are_made_again(self, admin: Caller) -> None:
        made = await make_endpoint(admin, event_types=["customer.*"])
        await happen(admin, 2_300)
        assert await hand_out(admin) == 2_300
        await settle(admin, "failed")
        await admin.make_customer()
        await hand_out(admin)
        job = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:recover", {"since": LONG_AGO})
        await work(admin)
        done = await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}")
        assert (done["status"], done["total"], done["done"], done["requested"]) == ("succeeded", 2_300, 2_300, 2_300)
        waiting = await rows(admin, QUEUE)
        assert (len(waiting), {row["attempts"] for row in waiting}) == (2_301, {0})
        left = await traces(admin)
        assert [row["type"] for row in left.events.values() if row["type"].startswith("webhook_job")] == [
            "webhook_job.created",
            "webhook_job.completed",
        ]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/since"),
            ({"since": "2199-01-01T00:00:00Z"}, "/since"),
            ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"}, "/since"),
            ({"since": "2026-03-02T00:00:00"}, "/since"),
            ({"since": LONG_AGO, "limit": 3}, "/limit"),
        ],
    )
    async def test_what_is_wrong_is_named(self, admin: Caller, body: dict[str, Any], pointer: str) -> None:
        made = await make_endpoint(admin)
        response = await admin.post(f"{ENDPOINTS}/{made['id']}:recover", body)
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)

    async def test_a_disabled_endpoint_is_enabled_first(self, admin: Caller) -> None:
        made = await make_endpoint(admin, disabled=True)
        for verb, body in (("recover", {"since": LONG_AGO}), ("replay-missing", {})):
            assert (await admin.post(f"{ENDPOINTS}/{made['id']}:{verb}", body)).status_code == 409


class TestCourse:
    """Progress, cancelling, fencing, failing, dying."""

    async def _job(self, admin: Caller, count: int = 3_500) -> tuple[str, str]:
        await happen(admin, count)
        made = await make_endpoint(admin, event_types=["customer.*"])
        job = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:replay-missing", {"since": LONG_AGO})
        return made["id"], job["id"]

    async def test_progress_is_told_page_by_page(self, admin: Caller, small_pages: None) -> None:
        _, job_id = await self._job(admin)
        duty = WebhookJobs(admin.state.database, SystemClock(), lambda: None)
        seen = []
        while await duty.work():
            now = await admin.ok("GET", f"/v1/webhook-jobs/{job_id}")
            seen.append((now["done"], len(await rows(admin, QUEUE))))
        assert [done for done, _ in seen][:3] == [1_000, 2_000, 3_000]
        assert seen[-1][1] == 3_500
        assert (await admin.ok("GET", f"/v1/webhook-jobs/{job_id}"))["status"] == "succeeded"

    async def test_cancelling_ends_it_after_the_page_under_way(self, admin: Caller, small_pages: None) -> None:
        _, job_id = await self._job(admin)
        duty = WebhookJobs(admin.state.database, SystemClock(), lambda: None)
        await duty.work()
        asked = await admin.ok("POST", f"/v1/webhook-jobs/{job_id}:cancel")
        assert (asked["status"], asked["cancel_requested"]) == ("running", True)
        await work(admin)
        ended = await admin.ok("GET", f"/v1/webhook-jobs/{job_id}")
        assert (ended["status"], ended["requested"]) == ("cancelled", len(await rows(admin, QUEUE)))
        assert ended["finished_at"] is not None
        again = await admin.post(f"/v1/webhook-jobs/{job_id}:cancel")
        assert (again.status_code, again.json()["status"]) == (200, "cancelled")

    async def test_one_that_waits_is_cancelled_at_once_and_one_that_ended_is_not(self, admin: Caller) -> None:
        _, job_id = await self._job(admin, 1)
        assert (await admin.ok("POST", f"/v1/webhook-jobs/{job_id}:cancel"))["status"] == "cancelled"
        await work(admin)
        assert await rows(admin, QUEUE) == []
        _, job_id = await self._job(admin, 2)
        await work(admin)
        refused = await admin.post(f"/v1/webhook-jobs/{job_id}:cancel")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")

    async def test_whoever_lost_the_lease_writes_nothing_more(self, admin: Caller) -> None:
        _, job_id = await self._job(admin)
        database = admin.state.database
        slow = jobs.Run(database, SystemClock(), admin.workspace_id, UUID(job_id))

        async def overtaken(*given: Any, **named: Any) -> Any:
            """While the first worker is at its page, its lease runs out, and another one takes over and finishes."""
            made = await fan_out(*given, **named)
            overtaking_once.stop()
            async with database.transaction(admin.workspace_id) as tx:
                await tx.run(RUN_OUT)
            overtaking.append(asyncio.create_task(work(admin)))
            async with asyncio.timeout(10):
                while (await rows(admin, HELD, id=UUID(job_id)))[0]["attempts"] < 2:
                    await asyncio.sleep(0.01)
            return made

        overtaking: list[asyncio.Task[None]] = []
        overtaking_once = patch.object(jobs, "fan_out", overtaken)
        overtaking_once.start()
        assert not await slow.work(10)
        await asyncio.gather(*overtaking)
        ended = await admin.ok("GET", f"/v1/webhook-jobs/{job_id}")
        assert (ended["status"], ended["requested"]) == ("succeeded", 3_500)
        assert len(await rows(admin, QUEUE)) == 3_500

    async def test_a_deleted_endpoint_ends_its_jobs(self, admin: Caller, small_pages: None) -> None:
        endpoint_id, job_id = await self._job(admin)
        await WebhookJobs(admin.state.database, SystemClock(), lambda: None).work()
        await admin.delete(f"{ENDPOINTS}/{endpoint_id}")
        await work(admin)
        assert (await admin.ok("GET", f"/v1/webhook-jobs/{job_id}"))["status"] == "cancelled"
        assert await rows(admin, QUEUE) == []

    async def test_what_fails_again_and_again_is_given_up_in_words(self, admin: Caller) -> None:
        _, job_id = await self._job(admin, 1)
        clock = Later()
        with patch.object(jobs, "fan_out", side_effect=ValueError("broken")):
            for _ in range(jobs.MOST_ATTEMPTS):
                await work(admin, clock)
                clock.seconds += 120
        ended = await admin.ok("GET", f"/v1/webhook-jobs/{job_id}")
        assert (ended["status"], ended["problem"]["code"]) == ("failed", "gave_up")
        assert "broken" not in ended["problem"]["message"]

    async def test_listed_by_endpoint_kind_and_status(self, admin: Caller) -> None:
        endpoint_id, job_id = await self._job(admin, 1)
        for query, count in (
            ("", 1),
            (f"endpoint_id={endpoint_id}", 1),
            ("kind=recover", 0),
            ("status=queued", 1),
            ("status=succeeded", 0),
        ):
            found = [row["id"] for row in (await admin.ok("GET", f"/v1/webhook-jobs?{query}"))["data"]]
            assert found == [job_id] * count, query
        rep = await admin.member("rep")
        assert (await rep.get("/v1/webhook-jobs")).status_code == 403
        assert (await rep.get(f"/v1/webhook-jobs/{job_id}")).status_code == 403


WORKER = """
import asyncio, sys
from services.api.jobs.webhook_jobs import WebhookJobs
from services.api.webhooks import jobs
from shared.clock import SystemClock
from shared.db import open_database

fan_out = jobs.fan_out

async def slowly(*given, **named):
    # Long enough that a kill lies within a page.
    made = await fan_out(*given, **named)
    await asyncio.sleep(0.2)
    return made

jobs.fan_out = slowly

async def main(url: str) -> None:
    database = await open_database(url, "sixteen_api", size=2)
    duty = WebhookJobs(database, SystemClock(), lambda: print("page", flush=True))
    while True:
        await duty.work()
        await asyncio.sleep(0.01)

asyncio.run(main(sys.argv[1]))
"""


async def test_killed_in_the_middle_it_goes_on_elsewhere(admin: Caller, servers: Servers) -> None:
    """kill -9 of the worker, twice: nothing is lost, and nothing is made twice."""
    await happen(admin, 12_000)
    made = await make_endpoint(admin, event_types=["customer.*"])
    job = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:replay-missing", {"since": LONG_AGO})
    for share in (1_000, 5_000):
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, servers.database_url, stdout=subprocess.DEVNULL
        )
        async with asyncio.timeout(60):
            while (await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}"))["done"] < share:
                await asyncio.sleep(0.02)
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
        assert (await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}"))["status"] == "running"
        # Until its lease has run out nobody else takes it up.
        await work(admin)
        assert (await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}"))["status"] == "running"
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            await tx.run(RUN_OUT)
    await work(admin)
    ended = await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}")
    assert (ended["status"], ended["requested"]) == ("succeeded", 12_000)
    assert len(await rows(admin, QUEUE)) == 12_000
    assert (await rows(admin, UNHEARD, type="customer.created"))[0]["count"] == 0
