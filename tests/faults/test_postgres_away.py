"""PostgreSQL restarted, crashed, its sessions killed: clear refusals meanwhile, and everything comes back by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
