"""Hearing nudges: an arq worker that outlives its Redis.

What a nudge asks for is done elsewhere in the process, in a loop that looks by itself as well; a job here only wakes
that loop. So nothing is lost with Redis but milliseconds, and a worker that arq gives up on is simply made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from arq.worker import Worker, func
from redis.exceptions import RedisError

from shared.queue import ANSWER_SECONDS, EVENTS_CHANNEL, connect, deserialize, serialize

log = structlog.get_logger(__name__)

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
# A connection that says nothing is asked whether it is there; after so many questions it is taken to be gone.
_SILENCE_SECONDS: Final = 5.0
_SILENCES: Final = 3


class _Worker(Worker):
    """Gives up on a Redis that takes connections and does not answer; arq itself would wait for ever."""

    async def _poll_iteration(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            await super()._poll_iteration()


class Listener:
    """Calls `jobs[name]()`, which must return at once, for every nudge of that name on `queue`."""

    def __init__(self, url: str, queue: str, jobs: Mapping[str, Callable[[], None]]) -> None:
        self._url = url
        self._queue = queue
        self._jobs = jobs
        self._worker: Worker | None = None
        self.trouble: str | None = "not connected yet"

    async def run(self) -> None:
        """Listens until cancelled. While Redis is away it tries again, a little later each time."""
        wait = _FIRST_WAIT
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                _give_way_to_cancellation(error)
                text = str(error) or type(error).__name__
                if self.trouble != text:
                    log.warning("redis_away", queue=self._queue, error=text)
                self.trouble = text
            if asyncio.get_running_loop().time() - started > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _listen(self) -> None:
        redis = await connect(self._url)
        connected: Any = self._connected
        worker = _Worker(
            functions=[func(_job(call), name=name, keep_result=0) for name, call in self._jobs.items()],
            queue_name=self._queue,
            redis_pool=redis,
            on_startup=connected,
            handle_signals=False,
            poll_delay=0.01,
            keep_result=0,
            max_jobs=50,
            max_tries=1_000_000,
            job_timeout=30,
            job_completion_wait=1,
            health_check_interval=5,
            health_check_key=f"{self._queue}:health:{socket.gethostname()}:{os.getpid()}",
            job_serializer=serialize,
            job_deserializer=deserialize,
            log_results=False,
        )
        try:
            await worker.async_run()
        finally:
            for task in worker.tasks.values():
                task.cancel()
            await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
            # A Redis that is gone can't be tidied up on its side.
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await redis.delete(worker.health_check_key)
            await redis.aclose(close_connection_pool=True)

    async def _connected(self, _: dict[Any, Any]) -> None:
        self.trouble = None
        log.info("listening", queue=self._queue)
        # What was asked for while nobody listened.
        for call in self._jobs.values():
            call()


class Hints:
    """Hears which workspaces have new events, and calls `hear` for each; `missed` after a time without hearing.

    A hint is lost with its Redis, and nothing else is: who streams events looks for itself as well.
    """

    def __init__(self, url: str, hear: Callable[[UUID], None], missed: Callable[[], None]) -> None:
        self._url = url
        self._hear = hear
        self._missed = missed

    async def run(self) -> None:
        """Listens until cancelled; while Redis is away it tries again, a little later each time."""
        wait = _FIRST_WAIT
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                _give_way_to_cancellation(error)
                log.warning("hints_away", error=str(error) or type(error).__name__)
            if asyncio.get_running_loop().time() - started > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _listen(self) -> None:
        redis = await connect(self._url)
        hints: Any = redis.pubsub()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await hints.subscribe(EVENTS_CHANNEL)
            self._missed()
            silent = 0
            while silent < _SILENCES:
                message = await hints.get_message(timeout=_SILENCE_SECONDS)
                silent = silent + 1 if message is None else 0
                if message is None:
                    await hints.ping()
                elif message["type"] == "message":
                    self._take(message["data"])
            raise TimeoutError("Redis does not answer")
        finally:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await hints.aclose()
            await redis.aclose(close_connection_pool=True)

    def _take(self, data: bytes) -> None:
        for text in data.split():
            with contextlib.suppress(ValueError):  # whatever somebody else may have said there
                self._hear(UUID(text.decode("ascii", "replace")))


def _give_way_to_cancellation(error: Exception) -> None:
    """A connection that breaks while the listener is being cancelled must not make it listen on."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _job(call: Callable[[], None]) -> Any:
    async def job(_: dict[Any, Any]) -> None:
        call()

    return job
