"""One attempt over HTTP: to a checked address, without redirects or proxies, within its time, however slow the other.

A name is resolved once and refused whole if any of its addresses is not public; the connection goes to the address
that was checked, while Host and SNI keep the name. Connections are kept a little while for the next attempt.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final
from uuid import UUID

import httpcore
import httpx

from services.api.delivery import schedule
from services.api.delivery.addresses import Address, Refused, Rules, canonical

BODY_LIMIT: Final = 20_000
CONNECT_SECONDS: Final = 5.0
KEEP_SECONDS: Final = 20.0
_RESOLVED_SECONDS: Final = 10.0
_MOST_HEADERS: Final = 64
_HEADER_LIMIT: Final = 1_000
_BROKEN: Final = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt went. `outcome` is a class of `schedule`; `status` is None where no response came."""

    outcome: str
    duration_ms: int
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    remote_ip: str | None = None
    error: str | None = None


@dataclass(slots=True)
class _Held:
    connection: httpcore.AsyncHTTP11Connection
    remote_ip: str
    reused: bool = False


class Resolver:
    """The system's resolver in threads of its own, so that names nobody answers for hold up nothing else."""

    def __init__(self, threads: int = 32) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        known = self._known.get((host, port))
        if known is not None and known[0] > time.monotonic():
            return known[1]
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[host, port] = (time.monotonic() + _RESOLVED_SECONDS, found)
        return found

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[Address]:
    try:
        return [ip_address(host.strip("[]"))]
    except ValueError:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(canonical(ip_address(str(each[4][0]))) for each in found))


class Client:
    """Sends attempts. `resolve` turns a host into its addresses."""

    def __init__(self, rules: Rules, resolve: Resolve, context: ssl.SSLContext | None = None) -> None:
        self._rules = rules
        self._resolve = resolve
        self._context = context or ssl.create_default_context()
        self._backend = httpcore.AnyIOBackend()
        self._idle: dict[UUID, list[_Held]] = {}

    async def post(self, key: UUID, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """Sends once, within `seconds` for everything together. Connections are kept per `key`. Never raises."""
        started = time.perf_counter()
        progress: dict[str, str] = {}
        try:
            async with asyncio.timeout(seconds):
                status, received, content = await self._send(key, url, headers, body, progress)
        except (TimeoutError, httpcore.TimeoutException):
            outcome, error = schedule.TIMEOUT, f"No complete answer within {seconds:g} s."
        except Refused as refusal:
            outcome, error = schedule.REFUSED, str(refusal)
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError, httpx.InvalidURL, UnicodeError) as failure:
            outcome, error = schedule.CONNECTION, (str(failure) or type(failure).__name__)[:500]
        else:
            return Answer(
                schedule.outcome_of(status), _since(started), status, received, content, progress.get("ip"), None
            )
        return Answer(outcome, _since(started), remote_ip=progress.get("ip"), error=error)

    async def _send(
        self, key: UUID, url: str, headers: Mapping[str, str], body: bytes, progress: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        target = httpx.URL(url)
        self._rules.check_url(url)
        request = httpcore.Request(
            "POST",
            httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path),
            headers=[
                (b"host", target.netloc),
                *((name.encode(), value.encode()) for name, value in headers.items()),
                (b"content-length", str(len(body)).encode()),
            ],
            content=body,
        )
        held = self._take(key, request.url.origin) or await self._connect(target, request.url.origin)
        progress["ip"] = held.remote_ip
        try:
            return await self._exchange(key, held, request)
        except _BROKEN:
            if not held.reused:
                raise
        # The receiver closed a kept connection at this very moment: nothing of the attempt was answered.
        held = await self._connect(target, request.url.origin)
        progress["ip"] = held.remote_ip
        return await self._exchange(key, held, request)

    async def _exchange(self, key: UUID, held: _Held, request: httpcore.Request) -> tuple[int, dict[str, str], bytes]:
        whole = False
        try:
            response = await held.connection.handle_async_request(request)
            content = bytearray()
            async for part in response.aiter_stream():
                content += part
                if len(content) > BODY_LIMIT:
                    break
            else:
                whole = True
            await response.aclose()
        finally:
            if whole and held.connection.is_idle():
                held.reused = True
                self._idle.setdefault(key, []).append(held)
            else:
                await held.connection.aclose()
        return response.status, _shown(response.headers), bytes(content[:BODY_LIMIT])

    def _take(self, key: UUID, origin: httpcore.Origin) -> _Held | None:
        """The connection used last, if it is still good."""
        kept = self._idle.get(key)
        while kept:
            held = kept.pop()
            if held.connection.can_handle_request(origin) and not held.connection.has_expired():
                return held
            self._drop(held)
        return None

    async def _connect(self, target: httpx.URL, origin: httpcore.Origin) -> _Held:
        # A URL and the rules may mean different things by it: what is connected to is what was checked.
        self._rules.check_port(origin.port)
        host = target.raw_host.decode()
        async with asyncio.timeout(CONNECT_SECONDS):
            address = self._rules.check_all(host, await self._resolve(host, origin.port))
            stream = await self._backend.connect_tcp(str(address), origin.port)
            if origin.scheme == b"https":
                stream = await stream.start_tls(self._context, server_hostname=host)
        connection = httpcore.AsyncHTTP11Connection(origin, stream, keepalive_expiry=KEEP_SECONDS)
        return _Held(connection, str(address))

    def _drop(self, held: _Held) -> None:
        task = asyncio.create_task(_quietly(held.connection.aclose()))
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    def tidy(self) -> None:
        """Closes what has been kept for too long, or was closed by the other side."""
        for key, kept in list(self._idle.items()):
            good = [held for held in kept if not held.connection.has_expired()]
            for held in kept:
                if held not in good:
                    self._drop(held)
            if good:
                self._idle[key] = good
            else:
                del self._idle[key]

    async def close(self) -> None:
        """Closes all kept connections."""
        held = [each for kept in self._idle.values() for each in kept]
        self._idle.clear()
        await asyncio.gather(*(_quietly(each.connection.aclose()) for each in held), *_closing)


_closing: set[asyncio.Task[None]] = set()


async def _quietly(closing: Awaitable[Any]) -> None:
    try:
        await closing
    except (OSError, httpcore.NetworkError, RuntimeError):
        return


def _since(started: float) -> int:
    return int((time.perf_counter() - started) * 1000)


def _shown(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as they are kept: no more than anybody reads, and nothing PostgreSQL could not store."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1").replace("\x00", "")[:_HEADER_LIMIT]
        for name, value in headers[:_MOST_HEADERS]
    }
