"""What a worker tells those who watch it: /livez, /readyz and /metrics over a few lines of HTTP.

The services that serve an API have a framework for it; a worker should not need one to say that it is alive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

log = structlog.get_logger(__name__)

_REQUEST_SECONDS = 5.0
_REQUEST_BYTES = 8_192
_PLAIN = "text/plain; charset=utf-8"


class Pulse(Protocol):
    """Something that is alive or not, and says so in words."""

    @property
    def alive(self) -> bool: ...

    @property
    def words(self) -> str: ...


class Heartbeat:
    """When a loop last came round."""

    def __init__(self, stale_after: float) -> None:
        self._stale_after = stale_after
        self._at = time.monotonic()

    def beat(self) -> None:
        """The loop has come round."""
        self._at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._at

    @property
    def alive(self) -> bool:
        """Whether the last beat is recent enough."""
        return self.age < self._stale_after

    @property
    def words(self) -> str:
        """How it is, for whoever looks."""
        return f"last beat {self.age:.1f} s ago"


class Probes:
    """Answers on one port: alive while there is a pulse, ready while `problems` names none."""

    def __init__(
        self,
        pulse: Pulse,
        problems: Callable[[], Awaitable[list[str]]],
        *,
        host: str = "0.0.0.0",  # noqa: S104 - probes come from outside the container
    ) -> None:
        self._pulse = pulse
        self._problems = problems
        self._host = host
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listens on `port` (0 takes any free one) and returns it; raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, port, limit=_REQUEST_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(request.split(b"\r\n", 1)[0].decode("latin-1"))
                writer.write(_response(status, kind, body))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            log.debug("probe_broken_off", error=repr(error))
        finally:
            writer.close()

    async def _answer(self, request_line: str) -> tuple[HTTPStatus, str, bytes]:
        method, _, rest = request_line.partition(" ")
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, b"only GET\n"
        path = rest.partition(" ")[0].partition("?")[0]
        if path == "/livez":
            status = HTTPStatus.OK if self._pulse.alive else HTTPStatus.SERVICE_UNAVAILABLE
            return status, _PLAIN, f"{self._pulse.words}\n".encode()
        if path == "/readyz":
            problems = await self._problems()
            status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
            return status, _PLAIN, ("\n".join(problems or ["ready"]) + "\n").encode()
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()
        return HTTPStatus.NOT_FOUND, _PLAIN, b"/livez, /readyz or /metrics\n"


def _response(status: HTTPStatus, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
