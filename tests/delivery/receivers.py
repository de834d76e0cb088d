"""Receivers of webhooks on loopback, as well-behaved or as bad as their path says."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


@dataclass(slots=True)
class Received:
    """One request as it came in; `at` is a time of the event loop's clock."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Farm:
    """All receivers behind one port. The first part of a path is the behaviour, the rest only a name.

    ok, slow (100 ms), hang, reset, close, loris, big, redirect, gone (410), s500, s429 (Retry-After in `retry_after`
    seconds), late (Retry-After as a date); what is in `turned` behaves as is said there instead.
    """

    port: int = 0
    received: dict[str, list[Received]] = field(default_factory=lambda: defaultdict(list))
    times: list[float] = field(default_factory=list)
    connections: int = 0
    turned: dict[str, str] = field(default_factory=dict)
    retry_after: int = 7
    location: str = "http://127.0.0.1:9/"
    keep: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ids(self, path: str) -> set[str]:
        return {each.id for each in self.received[path]}


class _Receiver(asyncio.Protocol):
    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._farm.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        path = first.split(" ")[1]
        self._farm.counts[path] += 1
        if self._farm.keep:
            self._farm.received[path].append(Received(path, headers, rest[:length], time.monotonic()))
        self._answer(self._farm.turned.get(path) or path.split("/")[1])

    def _answer(self, behaviour: str) -> None:
        transport = self._transport
        assert transport is not None
        farm = self._farm
        simple: dict[str, Callable[[], bytes]] = {
            "ok": lambda: _response(200, b'{"ok":true}'),
            "s500": lambda: _response(500, b"broken"),
            "gone": lambda: _response(410),
            "redirect": lambda: _response(302, headers=f"location: {farm.location}\r\n"),
            "s429": lambda: _response(429, headers=f"retry-after: {farm.retry_after}\r\n"),
            "late": lambda: _response(
                503,
                headers=f"retry-after: {format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)}\r\n",
            ),
            "big": lambda: _response(200, b"x" * 1_000_000),
        }
        if behaviour in simple:
            transport.write(simple[behaviour]())
        elif behaviour == "reset":
            transport.abort()
        elif behaviour == "close":
            transport.write(_response(200, b"bye", headers="connection: close\r\n"))
            transport.close()
        elif behaviour == "slow":
            asyncio.get_running_loop().call_later(0.1, transport.write, _response(200))
        elif behaviour == "loris":
            task = asyncio.create_task(self._drip())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _drip(self) -> None:
        assert self._transport is not None
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not self._transport.is_closing():
            self._transport.write(b".")
            await asyncio.sleep(0.05)


def _response(status: int, body: bytes = b"", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Status\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


@asynccontextmanager
async def open_farm() -> AsyncIterator[Farm]:
    """A farm that listens."""
    farm = Farm()
    server = await asyncio.get_running_loop().create_server(lambda: _Receiver(farm), "127.0.0.1", 0, backlog=2048)
    farm.port = server.sockets[0].getsockname()[1]
    try:
        yield farm
    finally:
        server.close()
