"""PostgreSQL restarted, crashed, its sessions killed: clear refusals meanwhile, and everything comes back by itself."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.faults.installation import Installation, eventually
from tests.faults.ledger import Ledger, open_ledger

pytestmark = pytest.mark.faults


@asynccontextmanager
async def unharmed(installation: Installation) -> AsyncIterator[None]:
    """No process of ours may end, whatever happens in the block."""
    before = installation.supervisor.pids()
    yield
    assert installation.supervisor.pids() == before


async def all_in_order(ledger: Ledger) -> None:
    """Everything works again: writes are answered, marks are judged, and the books are in order."""
    installation = ledger.installation
    await eventually(installation.ready)

    async def writes() -> bool:
        return await ledger.write("After it all") == 201

    await eventually(writes)
    await installation.settled(ledger.rep.workspace_id)
    rows = await ledger.check()
    (seats,) = await installation.read(
        ledger.rep.workspace_id, "SELECT count(*) AS n FROM scoring.seats WHERE workspace_id = $1"
    )
    assert seats["n"] == rows


@pytest.mark.parametrize("crash", [False, True], ids=["restarted", "crashed"])
async def test_away_and_back_in_the_middle_of_writes(installation: Installation, crash: bool) -> None:
    servers = installation.servers
    ledger = await open_ledger(installation)
    async with unharmed(installation):
        async with ledger.streaming(6):
            await asyncio.sleep(0.4)
            await (servers.kill_postgres() if crash else servers.stop_postgres())
            refused = await ledger.rep.get("/v1/me")
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"]
            assert (await installation.http.get("/readyz")).status_code == 503
            assert (await installation.http.get("/livez")).status_code == 200
            assert (await installation.http.get("/metrics")).status_code == 200
            await asyncio.sleep(0.5)
            await servers.start_postgres()
            await eventually(installation.ready)
            await asyncio.sleep(0.3)
        await all_in_order(ledger)
    assert set(ledger.answers) == {201, 503}
    assert ledger.broken == 0
    assert "unexpected_error" not in installation.log_of("api"), "an outage is no surprise"


async def test_a_server_that_takes_requests_and_answers_none(installation: Installation) -> None:
    """Frozen, not away: nothing may wait for it without end."""
    ledger = await open_ledger(installation)
    assert await ledger.write("Before") == 201
    with frozen(installation):
        for path, seconds in (("/readyz", 8.0), ("/metrics", 8.0), ("/v1/me", 16.0), ("/v1/customers", 16.0)):
            response = await asyncio.wait_for(ledger.rep.get(path), seconds)
            assert response.status_code == (200 if path == "/metrics" else 503), path
        assert (await installation.http.get("/livez")).status_code == 200
    await all_in_order(ledger)


@contextmanager
def frozen(installation: Installation) -> Iterator[None]:
    """All processes of the database server stand still."""
    first = installation.servers.postgres.pid
    assert first is not None
    family = [first, *(int(each) for each in Path(f"/proc/{first}/task/{first}/children").read_text().split())]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


async def test_sessions_killed_at_random_under_load(installation: Installation) -> None:
    ledger = await open_ledger(installation)
    superuser = await installation.superuser()
    chance = random.Random(16)
    killed = 0
    async with unharmed(installation):
        async with ledger.streaming(8, pause=0.0):
            for _ in range(60):
                await asyncio.sleep(chance.random() * 0.05)
                killed += await superuser.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
                    " WHERE application_name = 'sixteen' ORDER BY random() LIMIT 2) s"
                )
        await superuser.close()
        await all_in_order(ledger)
    assert killed > 50
    assert set(ledger.answers) <= {201, 503}
    assert len(ledger.created) > 100
    assert ledger.broken == 0
