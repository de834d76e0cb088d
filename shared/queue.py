"""The nudge: Redis wakes workers, and carries nothing whose loss would matter.

What there is to do stands in PostgreSQL. A job here only says "look now"; when Redis is away the sweepers look by
themselves. This file and the two `worker.py` are all that knows arq.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgpack
import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.exceptions import RedisError

from shared import telemetry

API_QUEUE = "sixteen:api"
SCORING_QUEUE = "sixteen:scoring"
DRAIN = "drain"
WORK = "work"

log = structlog.get_logger(__name__)


def serialize(job: dict[str, Any]) -> bytes:
    """msgpack: a job that someone else put into Redis can at worst be refused, never executed."""
    return bytes(msgpack.packb(job, use_bin_type=True, default=str))


def deserialize(packed: bytes) -> dict[str, Any]:
    job: dict[str, Any] = msgpack.unpackb(packed, raw=False, strict_map_key=False)
    return job


def redis_settings(url: str) -> RedisSettings:
    """arq's settings for redis://, rediss:// (the host name is checked) and unix:// addresses."""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("SIXTEEN_REDIS_URL must begin with redis://, rediss:// or unix://")
    common: dict[str, Any] = {"conn_timeout": 2, "conn_retries": 1, "conn_retry_delay": 0.2}
    if parts.scheme == "unix":
        database = int(parse_qs(parts.query).get("db", ["0"])[0])
        return RedisSettings(unix_socket_path=unquote(parts.path), database=database, **common)
    return RedisSettings(
        host=parts.hostname or "localhost",
        port=parts.port or 6379,
        username=parts.username,
        password=unquote(parts.password) if parts.password else None,
        database=int(parts.path.strip("/") or 0),
        ssl=parts.scheme == "rediss",
        ssl_check_hostname=True,
        **common,
    )


async def connect(url: str) -> ArqRedis:
    """A pool that enqueues with msgpack; raises RedisError or OSError when Redis is away."""
    return await create_pool(redis_settings(url), job_serializer=serialize, job_deserializer=deserialize)


class Nudger:
    """Tells the workers, after a commit, that there is something to do.

    Nudges within `gather` seconds become one. A failure is counted and forgotten: the sweeper finds the work.
    """

    def __init__(self, url: str, gather: float = 0.002) -> None:
        self._url = url
        self._gather = gather
        self._wanted: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._redis: ArqRedis | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="nudger")

    def nudge(self, queue: str, job: str) -> None:
        """Returns at once; never raises."""
        self._wanted.add((queue, job))
        self._wake.set()

    async def reachable(self) -> bool:
        """Whether Redis answers now."""
        try:
            redis = await self._connection()
            return bool(await asyncio.wait_for(redis.ping(), 1))
        except (RedisError, OSError, TimeoutError):
            return False

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._redis:
            await self._redis.aclose(close_connection_pool=True)

    async def _connection(self) -> ArqRedis:
        if self._redis is None:
            self._redis = await connect(self._url)
        return self._redis

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            wanted, self._wanted = self._wanted, set()
            try:
                redis = await self._connection()
                for queue, job in wanted:
                    await asyncio.wait_for(redis.enqueue_job(job, _queue_name=queue), 2)
            except (RedisError, OSError, TimeoutError) as error:
                telemetry.NUDGES_LOST.inc(len(wanted))
                log.warning("nudge_lost", error=str(error))
                await asyncio.sleep(0.5)
                continue
            await asyncio.sleep(self._gather)
