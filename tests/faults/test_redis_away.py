"""Redis killed, emptied, flushed, stopped: it is a nudge, so nothing is lost with it but milliseconds."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import RedisError

from shared.queue import API_QUEUE, SCORING_QUEUE
from tests.faults.installation import Installation, eventually
from tests.faults.ledger import Ledger, open_ledger

pytestmark = pytest.mark.faults

HEAL_SECONDS = 10.0
WRITERS = 4


async def listening(installation: Installation) -> bool:
    """Whether both workers have told this Redis that they listen."""
    redis = installation.redis()
    try:
        found = [await redis.keys(f"{queue}:health:*") for queue in (API_QUEUE, SCORING_QUEUE)]
        return all(found)
    except (RedisError, OSError):
        return False
    finally:
        await redis.aclose()


@asynccontextmanager
async def unharmed(installation: Installation) -> AsyncIterator[None]:
    """No process of ours may end, whatever happens in the block."""
    before = installation.supervisor.pids()
    yield
    assert installation.supervisor.pids() == before


async def ranked(ledger: Ledger, seconds: float = 10.0) -> None:
    """Waits until every customer answered for so far has its seat."""
    expected = set(ledger.created.values())

    async def look() -> bool:
        rows = await ledger.installation.read(
            ledger.rep.workspace_id, "SELECT subject_id::text FROM scoring.seats WHERE workspace_id = $1"
        )
        return expected <= {row["subject_id"] for row in rows}

    await eventually(look, seconds)


async def test_killed_in_the_middle_of_a_stream_of_writes_and_back_empty(
    installation: Installation, record_testsuite_property: Callable[[str, object], None]
) -> None:
    ledger = await open_ledger(installation)
    async with unharmed(installation):
        async with ledger.streaming(WRITERS):
            await asyncio.sleep(0.3)
            await installation.servers.kill_redis()
            await asyncio.sleep(1.0)
            assert len(ledger.created) > 10
            await ranked(ledger)
            assert await installation.ready(), "without Redis the api is slower to be heard, not unready"
            await installation.servers.restart_redis(empty=True)
            back = asyncio.get_running_loop().time()
            await eventually(lambda: listening(installation), HEAL_SECONDS)
            record_testsuite_property("workers_listen_again_s", round(asyncio.get_running_loop().time() - back, 2))
        await ranked(ledger)
    assert set(ledger.answers) == {201}
    assert ledger.broken == 0
    assert await ledger.check() == len(ledger.created)


async def test_flushed_again_and_again(installation: Installation) -> None:
    ledger = await open_ledger(installation)
    chance = random.Random(16)
    redis = installation.redis()
    async with unharmed(installation):
        async with ledger.streaming(WRITERS):
            for _ in range(20):
                await redis.flushall()
                await asyncio.sleep(chance.random() * 0.1)
        await ranked(ledger)
        await eventually(lambda: listening(installation), HEAL_SECONDS)
    await redis.aclose()
    assert set(ledger.answers) == {201}
    assert await ledger.check() == len(ledger.created)


async def test_a_redis_that_takes_connections_and_never_answers(installation: Installation) -> None:
    ledger = await open_ledger(installation)
    pid = installation.servers.redis.pid
    assert pid is not None
    async with unharmed(installation):
        os.kill(pid, signal.SIGSTOP)
        try:
            async with ledger.streaming(WRITERS):
                await asyncio.sleep(1.0)
                await ranked(ledger)
                assert await asyncio.wait_for(installation.ready(), 4)
                # They must not wait for it for ever: its host may be gone without a word.
                for worker in ("api-worker", "scoring"):
                    await eventually(lambda worker=worker: given_up(installation, worker), HEAL_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)
        await ranked(ledger)
        await eventually(lambda: listening(installation), HEAL_SECONDS)
    assert set(ledger.answers) == {201}
    assert await ledger.check() == len(ledger.created)


async def given_up(installation: Installation, worker: str) -> bool:
    """Whether a worker has said, after it last listened, that Redis is away."""
    log = installation.log_of(worker)
    return log.rfind("redis_away") > log.rfind('"listening"')
