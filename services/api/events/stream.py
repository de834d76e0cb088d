"""One live stream: from where its client was, through what has come since, to what comes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.api.errors import Problem
from services.api.events import queries
from services.api.events.hub import OUTAGES, Channel, Hub
from services.api.events.queries import Sight, Wanted
from services.api.events.wire import WAITING, beginning, frame, heartbeat
from shared.clock import Clock
from shared.feed import Position
from shared.tenancy import Principal

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 10.0
# A client that takes nothing for so long is let go; it resumes from what it has.
STALLED_SECONDS: Final = 20.0
_PAGE: Final = 200
_CHUNK: Final = 64 * 1024


class Follower:
    """Follows the events of one caller. `check` says who the caller is now, and raises where they are nobody."""

    def __init__(
        self,
        hub: Hub,
        channel: Channel,
        principal: Principal,
        clock: Clock,
        *,
        wanted: Callable[[Principal], Wanted],
        position: Position | None,
        check: Callable[[], Awaitable[Principal]],
    ) -> None:
        self._hub = hub
        self._channel = channel
        self._principal = principal
        self._clock = clock
        self._position = position
        self._check = check
        self._narrow = wanted
        self._wanted, self._sight = wanted(principal), Sight.of(principal)
        self._live = position is None
        self._checked = clock.now()

    async def leave(self) -> None:
        await self._hub.leave(self._principal, self._channel)

    async def frames(self) -> AsyncIterator[bytes]:
        """What goes over the wire, until the stream must end."""
        channel = self._channel
        while not channel.ready.is_set():
            if not await self._wait(channel.ready):
                yield WAITING
            if self._hub.closing.is_set():
                return
        retry = 500 + secrets.randbelow(1000)
        if self._position is None:
            self._position = channel.position
            yield beginning(retry, self._cursor())
        else:
            yield beginning(retry)
        people, sent = channel.people, self._clock.now()
        while not self._hub.closing.is_set():
            news = channel.news()
            if channel.people != people or self._since(self._checked) >= HEARTBEAT_SECONDS:
                people = channel.people
                if not await self._still_known():
                    return
            chunk = await self._next()
            if chunk is None:
                return
            if not chunk and self._live and not await self._wait(news):
                chunk = heartbeat(self._cursor())
            if not chunk and self._since(sent) >= HEARTBEAT_SECONDS:
                chunk = WAITING
            if chunk:
                yield chunk
                sent = self._clock.now()

    async def _next(self) -> bytes | None:
        """What comes after the present place, empty where there is nothing yet; None where it is no longer kept."""
        channel = self._channel
        assert self._position is not None  # noqa: S101 - set before the first frame
        if self._position < channel.start:
            if self._live:
                return None  # too slow: it resumes by reading what it missed
            return await self._catch_up()
        self._live = True
        taken: list[bytes] = []
        size = 0
        for told in channel.after(self._position):
            self._position = told.position
            if self._wanted.takes(told.row) and self._sight.sees(told.row):
                taken.append(told.bytes)
                size += len(told.bytes)
                if size > _CHUNK:
                    return b"".join(taken)
        self._position = max(self._position, channel.position)
        return b"".join(taken)

    async def _catch_up(self) -> bytes:
        assert self._position is not None  # noqa: S101 - set before the first frame
        try:
            async with self._hub.catching_up, self._hub.database.transaction(self._channel.workspace_id) as tx:
                batch = await queries.read_page(tx, self._position, _PAGE, wanted=self._wanted, sight=self._sight)
        except OUTAGES as error:
            log.warning("stream_waits", error=str(error))
            await asyncio.sleep(1)
            return b""
        self._position = batch.position
        places = self._channel.places
        return b"".join(frame(row, places.of_row(row)) for row in batch.rows)

    async def _wait(self, news: asyncio.Event) -> bool:
        """Waits for news, an end, or the time of a heartbeat; False for the last."""
        waiting = [asyncio.ensure_future(event.wait()) for event in (news, self._hub.closing)]
        try:
            done, _ = await asyncio.wait(waiting, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        return bool(done)

    async def _still_known(self) -> bool:
        self._checked = self._clock.now()
        try:
            principal = await self._check()
        except Problem as problem:
            log.info("stream_ended", reason=problem.code)
            return False
        except OUTAGES:
            return True  # who it is can't be asked now, and nothing can be read either
        self._wanted, self._sight = self._narrow(principal), Sight.of(principal)
        return True

    def _since(self, moment: datetime) -> float:
        return (self._clock.now() - moment).total_seconds()

    def _cursor(self) -> str:
        """The place that a stream which is not behind has reached now."""
        assert self._position is not None  # noqa: S101 - set before the first frame
        return self._channel.places.cursor(self._position, self._clock.now())


class EventStream(Response):
    """Sends frames as they come, watching for the client's going.

    `follow` counts the stream in, and raises where there are too many. It is called when the answer is about to begin,
    so that one which never does holds no place. `take` comes last of all: what is used up by it is not by a refusal.
    """

    media_type = "text/event-stream"

    def __init__(
        self, follow: Callable[[], Follower] | None = None, take: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.status_code = 200
        self.background = None
        self.follow = follow
        self.take = take
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        assert self.follow is not None  # noqa: S101 - the class alone stands in the document
        follower = self.follow()
        if self.take is not None:
            try:
                await self.take()
            except BaseException:
                await follower.leave()
                raise
        gone = asyncio.ensure_future(_gone(receive))
        telling = asyncio.ensure_future(self._tell(follower, send))
        try:
            await asyncio.wait((gone, telling), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            telling.cancel()
            try:
                with suppress(asyncio.CancelledError, OSError, TimeoutError):
                    await telling
            finally:
                await follower.leave()

    async def _tell(self, follower: Follower, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in follower.frames():
            async with asyncio.timeout(STALLED_SECONDS):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
