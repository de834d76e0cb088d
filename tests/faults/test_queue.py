"""Addresses of Redis, and what a stranger may have put into it."""

from __future__ import annotations

import asyncio
import gc
import pickle
from typing import Any

import pytest

from shared.listener import Listener
from shared.queue import DRAIN, SCORING_QUEUE, connect, deserialize, redis_arguments, serialize
from tests.conftest import Servers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache:6380/2", {"host": "cache", "port": 6380, "db": 2, "password": None}),
        ("redis://some%40one:p%2Fw@cache", {"host": "cache", "port": 6379, "username": "some@one", "password": "p/w"}),
        ("rediss://cache", {"host": "cache", "ssl": True, "ssl_check_hostname": True}),
        ("unix:///a/redis.sock?db=3", {"unix_socket_path": "/a/redis.sock", "db": 3}),
    ],
)
def test_an_address_becomes_the_clients_arguments(url: str, expected: dict[str, Any]) -> None:
    arguments = redis_arguments(url)
    assert {name: arguments[name] for name in expected} == expected


def test_another_kind_of_address_is_refused() -> None:
    with pytest.raises(ValueError, match="SIXTEEN_REDIS_URL"):
        redis_arguments("http://cache")


def test_a_pickled_job_is_refused() -> None:
    assert deserialize(serialize({"f": DRAIN})) == {"f": DRAIN}
    with pytest.raises(ValueError, match=r"extra data|unpack|invalid|trailing"):
        deserialize(pickle.dumps({"f": DRAIN}))


async def test_a_connection_that_is_made_can_enqueue(servers: Servers) -> None:
    pool = await connect(servers.redis_url)
    try:
        job = await pool.enqueue_job(DRAIN, _queue_name=f"{SCORING_QUEUE}:test")
        assert job is not None
        assert await pool.zscore(f"{SCORING_QUEUE}:test", job.job_id) is not None
    finally:
        await pool.delete(f"{SCORING_QUEUE}:test")
        await pool.aclose(close_connection_pool=True)


# A connection that is broken off while it is being made is closed by nobody but the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_a_listener_ends_whenever_it_is_cancelled(servers: Servers) -> None:
    """Some ways of waiting lose a cancellation that comes at the wrong moment; so all moments are tried."""
    for moments in range(50):
        listener = asyncio.create_task(Listener(servers.redis_url, f"{SCORING_QUEUE}:test", {DRAIN: nothing}).run())
        for _ in range(moments):
            await asyncio.sleep(0)
        listener.cancel()
        ended, _ = await asyncio.wait([listener], timeout=5)
        assert ended, f"still listening when cancelled after {moments} turns of the loop"
    gc.collect()


def nothing() -> None:
    """What a nudge asks for here."""
