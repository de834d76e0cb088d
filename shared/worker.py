"""The shell of a worker process: what it opens, how it is watched, and how it ends.

Duties do the work (they need PostgreSQL alone), listeners wake them (they need Redis), one small server tells how they
are. Either of the two servers may go and come back while the process stays.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import asyncpg
import structlog
import uvloop
from pydantic import ValidationError

from shared import telemetry
from shared.db import Database, open_database
from shared.duty import Duties, Duty
from shared.listener import Hints, Listener
from shared.probes import Probes
from shared.queue import Nudger
from shared.schema_check import NotReady, require_schema
from shared.settings import Settings, in_words

log = structlog.get_logger(__name__)


class WorkerSettings(Protocol):
    """What the shell needs of a worker's settings."""

    @property
    def database_url(self) -> str: ...
    @property
    def redis_url(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def database_pool(self) -> int: ...
    @property
    def statement_cache(self) -> int: ...
    @property
    def statement_timeout_ms(self) -> int: ...
    @property
    def embedded(self) -> bool: ...
    @property
    def metrics_port(self) -> int: ...
    @property
    def stop_seconds(self) -> float: ...


@dataclass(frozen=True)
class Tools:
    """What the shell has opened for the work."""

    database: Database
    nudger: Nudger


@dataclass(frozen=True)
class Work:
    """What a worker does: its duties, who wakes them, and what else must come to an end."""

    duties: Sequence[Duty]
    listeners: Sequence[Listener | Hints]
    endings: Sequence[Callable[[], Awaitable[Any]]] = ()


Given = TypeVar("Given", bound=WorkerSettings)


async def serve(name: str, settings: Given, assemble: Callable[[Given, Tools], Work], stop: asyncio.Event) -> None:
    """Works until `stop` is set. Raises NotReady when it can't begin, with what to do."""
    telemetry.expose(name)
    await require_schema(settings.database_url, settings.role)
    database = await open_database(
        settings.database_url,
        settings.role,
        size=settings.database_pool,
        statement_cache=settings.statement_cache,
        statement_timeout_ms=settings.statement_timeout_ms,
    )
    nudger = Nudger(settings.redis_url)
    nudger.start()
    work = assemble(settings, Tools(database, nudger))
    duties = Duties(work.duties)
    for duty in work.duties:
        telemetry.DUTY_AGE.labels(duty.name).set_function(partial(getattr, duty, "age"))

    async def problems() -> list[str]:
        """Redis away makes a worker a little slower, not unready."""
        return duties.problems

    # On one machine nobody outside it has to see them.
    probes = Probes(duties, problems, host="127.0.0.1") if settings.embedded else Probes(duties, problems)
    working = [asyncio.create_task(duty.run(), name=duty.name) for duty in work.duties]
    listening = [asyncio.create_task(listener.run(), name="listen") for listener in work.listeners]
    try:
        if settings.metrics_port:
            await _open_probes(probes, settings.metrics_port)
        log.info("worker_started", worker=name)
        await stop.wait()
    finally:
        for duty in work.duties:
            duty.stop()
        for task in listening:
            task.cancel()
        with suppress(TimeoutError):
            ending = asyncio.gather(*(end() for end in work.endings), *working, return_exceptions=True)
            await asyncio.wait_for(ending, settings.stop_seconds)
        await asyncio.wait(listening, timeout=settings.stop_seconds)
        await probes.close()
        await nudger.close()
        with suppress(asyncpg.InterfaceError, OSError, TimeoutError):
            await asyncio.wait_for(database.close(), 2)
        log.info("worker_stopped", worker=name)


async def _open_probes(probes: Probes, port: int) -> None:
    try:
        await probes.start(port)
    except OSError as error:
        raise NotReady(f"Port {port} for metrics can't be opened ({error}): set SIXTEEN_METRICS_PORT.") from error


async def _until_signalled(serving: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Serves until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serving(stop)


def run(
    name: str, make_settings: Callable[[], Settings], serving: Callable[[Any, asyncio.Event], Awaitable[None]]
) -> int:
    """Runs a worker as the process; the exit code: 0 stopped, 1 can't begin, 2 wrong settings."""
    try:
        settings = make_settings()
    except ValidationError as error:
        sys.stderr.write(in_words(error))
        return 2
    telemetry.configure_logging(name, settings.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(lambda stop: serving(settings, stop)))
    except NotReady as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
