"""The nudge: coalesced, harmless in what it carries, and none the worse for a Redis that goes and comes back."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgpack
import pytest

from deploy.embedded import EmbeddedServers, embedded_servers
from shared import telemetry
from shared.queue import DRAIN, SCORING_QUEUE, WORK, Nudger, connect, deserialize, serialize


class Payload:
    """What an attacker would put into Redis: unpickling it has an effect."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return os.putenv, ("SIXTEEN_UNPICKLED", "1")


def test_a_pickle_is_refused_and_never_executed() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        packed = pickle.dumps({"t": 1, "f": Payload()}, protocol)
        try:
            found: object = deserialize(packed)
        except (msgpack.UnpackException, ValueError):
            continue
        assert not isinstance(found, dict), "a pickle was read as a job"
    assert "SIXTEEN_UNPICKLED" not in os.environ


def test_a_job_comes_back_as_it_was_sent() -> None:
    job = {"t": 1, "f": "drain", "a": (), "k": {"at": None}, "et": 5}
    assert deserialize(serialize(job)) == {**job, "a": []}


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[EmbeddedServers]:
    """A Redis that may be taken away."""
    async with embedded_servers(tmp_path, durable=False, postgres=False) as servers:
        yield servers


async def waiting(url: str) -> int:
    redis = await connect(url)
    try:
        return int(await redis.zcard(SCORING_QUEUE))
    finally:
        await redis.aclose(close_connection_pool=True)


async def until(count: int, url: str) -> None:
    async with asyncio.timeout(10):
        while await waiting(url) < count:
            await asyncio.sleep(0.02)


async def test_nudges_of_one_moment_are_one(own_redis: EmbeddedServers) -> None:
    nudger = Nudger(own_redis.redis_url)
    nudger.start()
    for _ in range(1_000):
        nudger.nudge(SCORING_QUEUE, DRAIN)
    nudger.nudge(SCORING_QUEUE, WORK)
    await until(2, own_redis.redis_url)
    await asyncio.sleep(0.05)
    assert await waiting(own_redis.redis_url) == 2
    await nudger.close()


async def test_a_redis_that_goes_costs_nudges_and_nothing_else(own_redis: EmbeddedServers) -> None:
    nudger = Nudger(own_redis.redis_url)
    nudger.start()
    assert await nudger.reachable()
    await own_redis.kill_redis()
    lost = telemetry.NUDGES_LOST._value.get()
    nudger.nudge(SCORING_QUEUE, DRAIN)
    async with asyncio.timeout(10):
        while telemetry.NUDGES_LOST._value.get() == lost:
            await asyncio.sleep(0.02)
    assert not await nudger.reachable()
    await own_redis.restart_redis(empty=True)
    async with asyncio.timeout(15):
        while not await waiting(own_redis.redis_url):
            nudger.nudge(SCORING_QUEUE, DRAIN)
            await asyncio.sleep(0.1)
    assert await nudger.reachable()
    await nudger.close()
