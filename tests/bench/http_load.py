"""A small closed-loop HTTP load: so many keep-alive connections, each sending its next request on the last answer.

Written on asyncio's protocols because a full client costs more than the endpoints it would measure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from httptools import HttpResponseParser


@dataclass(frozen=True)
class LoadResult:
    """What one round measured."""

    requests: int
    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def http_request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self, make: Callable[[], bytes], stop_at: float, expect: int) -> None:
        self._make, self._stop_at, self._expect = make, stop_at, expect
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        self._parser = HttpResponseParser(self)
        self._sent = time.perf_counter()
        self._transport.write(self._make())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        status = self._parser.get_status_code()
        if status != self._expect:
            self._finish(RuntimeError(f"the server answered {status}, not {self._expect}"))
            return
        self.latencies.append(now - self._sent)
        if now >= self._stop_at:
            self._finish(None)
        else:
            asyncio.get_running_loop().call_soon(self._next)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._finish(exc or ConnectionError("the server closed the connection"))

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        self._transport.close()


async def load(
    port: int, make: Callable[[], bytes], *, seconds: float, connections: int = 8, expect: int = 200
) -> LoadResult:
    """Loads a server on this machine for `seconds`; raises when an answer has another status than expected."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    made: list[_Connection] = []
    for _ in range(connections):
        connection = _Connection(make, started + seconds, expect)
        await loop.create_connection(lambda each=connection: each, "127.0.0.1", port)
        made.append(connection)
    await asyncio.gather(*(connection.done for connection in made))
    latencies = [value for connection in made for value in connection.latencies]
    return LoadResult(len(latencies), time.perf_counter() - started, latencies)
