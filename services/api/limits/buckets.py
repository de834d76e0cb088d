"""Counting requests: each process by itself, and all of them together in Redis.

A request far below its limit asks nobody: the process counts it, and tells Redis of every hundredth part of the limit
while nobody waits. In the last tenth of a limit, and always where it is strict, each request asks Redis first. What is
over the limit is refused without asking until the window ends.

While Redis is away, each process counts by itself under the same limits: nobody is refused who would not have been,
and a caller gets at most as many times the limit as there are processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

import structlog
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.api.limits.policies import WINDOW_SECONDS, Policy
from shared.queue import CONNECT_SECONDS

# How long a request waits for Redis, and for how long nobody asks again after it gave no answer.
_PATIENCE: Final = 0.25
_PAUSE: Final = 1.0
_PREFIX: Final = "sixteen:limits"
OUTAGES: Final = (RedisError, OSError, TimeoutError)
log = structlog.get_logger(__name__)


class Bucket:
    """What one identity has used of one policy in the present window."""

    __slots__ = ("_lock", "chunk", "ends_at", "key", "policy", "spent", "telling", "unasked", "unreported", "waiting")

    def __init__(self, policy: Policy, key: str, ends_at: float) -> None:
        self.policy = policy
        self.key = key
        self.ends_at = ends_at
        # As Redis last said; then what is being told to it, and what it does not know of yet.
        self.spent = 0
        self.telling = 0
        self.unreported = 0
        # How much may be used without asking, and how much of that without telling.
        self.unasked = policy.quota - policy.reserve
        self.chunk = policy.chunk
        self._lock: asyncio.Lock | None = None
        # How many requests wait for the lock, or have it, while the limit is used up.
        self.waiting = 0

    @property
    def left(self) -> int:
        return self.policy.quota - self.spent - self.telling - self.unreported

    @property
    def lock(self) -> asyncio.Lock:
        self._lock = self._lock or asyncio.Lock()
        return self._lock


class Limiter:
    """The buckets of one process. `now` gives seconds since 1970."""

    def __init__(self, redis_url: str, now: Callable[[], float] = time.time) -> None:
        scheme, separator, rest = redis_url.partition("://")
        scheme = {"unix": "redis+unix"}.get(scheme, scheme)
        self._storage = RedisStorage(
            f"async+{scheme}{separator}{rest}",
            implementation="redispy",
            key_prefix=_PREFIX,
            socket_connect_timeout=CONNECT_SECONDS,
        )
        self._redis = cast("Redis", cast("RedispyBridge", self._storage.bridge).get_connection())
        self.now = now
        self._window = 0
        self._buckets: dict[tuple[str, object], Bucket] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked_again_at = 0.0

    def bucket(self, policy: Policy, identity: object, tenant: object = "-") -> Bucket:
        """The bucket of `identity` (hashable, unique within `tenant`) in this window."""
        window = int(self.now()) // WINDOW_SECONDS
        if window != self._window:
            self._window, self._buckets = window, {}
        place = (policy.name, identity)
        bucket = self._buckets.get(place)
        if bucket is None:
            key = f"{tenant}/{policy.name}/{identity}/{window}"
            bucket = self._buckets[place] = Bucket(policy, key, float((window + 1) * WINDOW_SECONDS))
        return bucket

    def seconds_left(self, bucket: Bucket) -> int:
        """Whole seconds until the window ends, at least 1."""
        return max(1, -int(self.now() - bucket.ends_at))

    async def take(self, bucket: Bucket) -> bool:
        """Counts one request; whether it is within the limit."""
        if self.take_unasked(bucket):
            return True
        if bucket.left <= 0:
            return False
        if time.monotonic() >= self._asked_again_at:
            return await self._ask(bucket)
        bucket.unreported += 1
        return True

    def take_unasked(self, bucket: Bucket) -> bool:
        """Counts one request that is far below its limit; False, and nothing counted, where `take` must decide.

        Every request comes through here: it costs a few additions.
        """
        if bucket.unasked - bucket.spent - bucket.telling <= bucket.unreported:
            return False
        bucket.unreported += 1
        if bucket.unreported >= bucket.chunk and not bucket.telling and time.monotonic() >= self._asked_again_at:
            self._tell_later(bucket)
        return True

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    async def _ask(self, bucket: Bucket) -> bool:
        async with bucket.lock:
            if bucket.left <= 0:
                return False
            bucket.unreported += 1
            await self._tell(bucket, self._hand_over(bucket))
            return bucket.left >= 0

    def _tell_later(self, bucket: Bucket) -> None:
        task = asyncio.create_task(self._tell(bucket, self._hand_over(bucket)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _hand_over(bucket: Bucket) -> int:
        """What Redis does not know of yet: it is being told from here on."""
        amount, bucket.unreported = bucket.unreported, 0
        bucket.telling += amount
        return amount

    async def _tell(self, bucket: Bucket, amount: int) -> None:
        """Tells Redis of so many, and learns what all processes have used. Never raises."""
        try:
            if time.monotonic() < self._asked_again_at:
                raise TimeoutError("Redis gave no answer a moment ago")
            async with asyncio.timeout(_PATIENCE):
                total = await self._storage.incr(bucket.key, 2 * WINDOW_SECONDS, amount)
        except OUTAGES as error:
            if time.monotonic() >= self._asked_again_at:
                self._asked_again_at = time.monotonic() + _PAUSE
                log.warning("limits_counted_alone", error=str(error))
            total = bucket.spent + amount
        finally:
            bucket.telling -= amount
        bucket.spent = max(bucket.spent, total)
