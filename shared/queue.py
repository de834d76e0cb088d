"""The nudge: Redis wakes workers, and carries nothing whose loss would matter.

What there is to do stands in PostgreSQL. A job here only says "look now"; when Redis is away the sweepers look by
themselves. This file and the two `worker.py` are all that knows arq.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID, uuid4

import msgpack
import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from redis.exceptions import RedisError

from shared import telemetry

API_QUEUE = "sixteen:api"
SCORING_QUEUE = "sixteen:scoring"
DRAIN = "drain"
WORK = "work"
# Which workspaces have new events, for the live streams; who misses it looks a moment later.
EVENTS_CHANNEL = "sixteen:events"

CONNECT_SECONDS = 2.0
# No answer is waited for longer: a host that is gone without a word would else be waited for for ever. The client's
# own `socket_timeout` is no way to do it: it sends within `asyncio.wait_for`, which on Python 3.11 loses cancellations.
ANSWER_SECONDS = 3.0
# A nudge that nobody heard for this long is stale: the sweepers have been there.
_NUDGE_LIVES_MS = 600_000

log = structlog.get_logger(__name__)


def serialize(job: dict[str, Any]) -> bytes:
    """msgpack: a job that someone else put into Redis can at worst be refused, never executed."""
    return bytes(msgpack.packb(job, use_bin_type=True, default=str))


def deserialize(packed: bytes) -> dict[str, Any]:
    job: dict[str, Any] = msgpack.unpackb(packed, raw=False, strict_map_key=False)
    return job


def redis_arguments(url: str) -> dict[str, Any]:
    """The client's arguments for redis://, rediss:// (the host name is checked) and unix:// addresses."""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("SIXTEEN_REDIS_URL must begin with redis://, rediss:// or unix://")
    arguments: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "socket_connect_timeout": CONNECT_SECONDS,
    }
    if parts.scheme == "unix":
        return arguments | {
            "unix_socket_path": unquote(parts.path),
            "db": int(parse_qs(parts.query).get("db", ["0"])[0]),
        }
    secured = {"ssl": True, "ssl_check_hostname": True} if parts.scheme == "rediss" else {}
    return (
        arguments
        | secured
        | {
            "host": parts.hostname or "localhost",
            "port": parts.port or 6379,
            "db": int(parts.path.strip("/") or 0),
            "socket_keepalive": True,
        }
    )


async def connect(url: str) -> ArqRedis:
    """A pool that enqueues with msgpack; raises RedisError, OSError or TimeoutError when Redis is away."""
    pool = ArqRedis(job_serializer=serialize, job_deserializer=deserialize, **redis_arguments(url))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await pool.ping()
    except BaseException:
        await pool.aclose(close_connection_pool=True)
        raise
    return pool


def _nobody(_: UUID) -> None:
    """Nobody in this process streams events."""


async def _send(redis: ArqRedis, told: Iterable[UUID], wanted: Iterable[tuple[str, str]]) -> None:
    """Publishes, and enqueues as arq does, in one round trip: a nudge's id is new, so there is nothing to look up."""
    now = int(time.time() * 1000)
    async with redis.pipeline(transaction=False) as pipe:
        if told:
            pipe.publish(EVENTS_CHANNEL, " ".join(map(str, told)))
        for queue, job in wanted:
            id_ = uuid4().hex
            pipe.psetex(
                job_key_prefix + id_, _NUDGE_LIVES_MS, serialize_job(job, (), {}, None, now, serializer=serialize)
            )
            pipe.zadd(queue, {id_: now})
        await pipe.execute()


class Nudger:
    """Tells the workers, after a commit, that there is something to do.

    Nudges within `gather` seconds become one. A failure is counted and forgotten: the sweeper finds the work.
    """

    def __init__(self, url: str, gather: float = 0.01) -> None:
        self._url = url
        self._gather = gather
        self._wanted: set[tuple[str, str]] = set()
        self._told: set[UUID] = set()
        # Who in this same process wants to hear of new events: at once, and without Redis.
        self.hear: Callable[[UUID], None] = _nobody
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._redis: ArqRedis | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="nudger")

    def nudge(self, queue: str, job: str) -> None:
        """Returns at once; never raises."""
        self._wanted.add((queue, job))
        self._wake.set()

    def tell(self, workspace_id: UUID) -> None:
        """Says, after a commit, that the workspace has new events. Returns at once; never raises."""
        self._told.add(workspace_id)
        self._wake.set()
        self.hear(workspace_id)

    async def reachable(self) -> bool:
        """Whether Redis answers now."""
        try:
            async with asyncio.timeout(1):
                redis = await self._connection()
                return bool(await redis.ping())
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
            told, self._told = self._told, set()
            try:
                redis = await self._connection()
                async with asyncio.timeout(ANSWER_SECONDS):
                    await _send(redis, told, wanted)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("nudge_lost", error=str(error))
            except Exception:  # whatever it is, the next nudge must go out
                log.exception("nudge_lost")
            else:
                await asyncio.sleep(self._gather)
                continue
            telemetry.NUDGES_LOST.inc(len(wanted))
            await asyncio.sleep(0.5)
