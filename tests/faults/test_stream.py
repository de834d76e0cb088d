"""Live streams while Redis goes, and while the api does: what was committed is told, in order, once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.api.events.queries import read_page
from shared.feed import BEGINNING
from tests.faults.installation import Installation, eventually
from tests.faults.ledger import Ledger, open_ledger
from tests.support.sse import EventSource

pytestmark = pytest.mark.faults


class Follower:
    """A client of the stream, with all that it has heard."""

    def __init__(self, installation: Installation, ledger: Ledger) -> None:
        self.source = EventSource(installation.base_url, ledger.rep.key, type="customer.created")
        self.heard: list[str] = []

    async def run(self) -> None:
        async for event in self.source:
            self.heard.append(event["subject"]["id"])


@asynccontextmanager
async def following(installation: Installation, ledger: Ledger) -> AsyncIterator[Follower]:
    follower = Follower(installation, ledger)
    task = asyncio.create_task(follower.run())
    try:
        await asyncio.wait_for(follower.source.connected.wait(), 10)
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def in_order(ledger: Ledger) -> list[str]:
    """What there is to be heard, as the database has it."""
    workspace_id = ledger.rep.workspace_id
    async with ledger.installation.state.database.transaction(workspace_id) as tx:
        batch = await read_page(tx, BEGINNING, 100_000)
    return [str(row["subject_id"]) for row in batch.rows if row["type"] == "customer.created"]


async def heard_all(ledger: Ledger, follower: Follower, seconds: float = 20) -> None:
    async def told() -> list[str]:
        """All that was answered, once whoever still writes elsewhere, and so holds the horizon, has ended."""
        there = await in_order(ledger)
        return there if set(ledger.created.values()) <= set(there) else []

    expected = await eventually(told, seconds)

    async def look() -> bool:
        return len(follower.heard) >= len(expected)

    await eventually(look, seconds)
    assert follower.heard == expected


async def heard_more(ledger: Ledger, follower: Follower) -> None:
    """Something that was written after this moment is heard, for more is heard than can have been written by now."""
    # Three writers: what was under way now, and at two kills, may be there without an answer.
    most = len(ledger.created) + 10

    async def look() -> bool:
        return len(follower.heard) > most

    await eventually(look, 15)


async def test_redis_flushed_and_killed(installation: Installation) -> None:
    """The stream does not even break: it looks for itself."""
    ledger = await open_ledger(installation)
    redis = installation.redis()
    async with following(installation, ledger) as follower:
        async with ledger.streaming(3):
            for _ in range(5):
                await redis.flushall()
                await asyncio.sleep(0.05)
            await installation.servers.kill_redis()
            await heard_more(ledger, follower)
            await installation.servers.restart_redis(empty=True)
            await heard_more(ledger, follower)
        await heard_all(ledger, follower)
        assert follower.source.connections == 1
    await redis.aclose()


async def connected(follower: Follower, times: int) -> None:
    """The client is connected, for this many times so far."""

    async def look() -> bool:
        return follower.source.connections >= times

    await eventually(look, 30)


async def test_the_api_killed_and_back(installation: Installation) -> None:
    ledger = await open_ledger(installation)
    async with following(installation, ledger) as follower:
        async with ledger.streaming(3):
            for connections in (1, 2):
                await connected(follower, connections)
                await heard_more(ledger, follower)
                installation.kill("api")
            await connected(follower, 3)
        await heard_all(ledger, follower)
        assert follower.source.connections >= 3
    assert ledger.broken > 0


async def test_the_api_stops_in_time_with_streams_open(installation: Installation) -> None:
    """SIGTERM ends the streams at once: nothing waits for the patience to run out, and the client resumes."""
    ledger = await open_ledger(installation)
    pid = installation.pid("api")
    assert pid is not None
    async with following(installation, ledger) as follower:
        await ledger.write("Before")
        started = asyncio.get_running_loop().time()
        os.kill(pid, signal.SIGTERM)

        async def gone() -> bool:
            return installation.pid("api") != pid

        await eventually(gone, 10)
        assert asyncio.get_running_loop().time() - started < 3.0
        await eventually(installation.ready, 30)
        await eventually(lambda: _written(ledger, "After"), 10)
        await heard_all(ledger, follower)


async def _written(ledger: Ledger, name: str) -> bool:
    return await ledger.write(name) == 201
