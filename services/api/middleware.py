"""One ASGI middleware around everything: request id, body limit, security headers, metrics, the log line."""

from __future__ import annotations

import re
import secrets
import time
from functools import lru_cache
from typing import Any

import structlog
from prometheus_client import Histogram
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.errors import PayloadTooLarge
from services.api.handlers import on_surprise, problem_response
from shared import telemetry

log = structlog.get_logger("request")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
# The one path whose body is streamed away instead of being held.
UPLOADS = "/v1/imports"
QUIET = {"/livez", "/readyz", "/startupz", "/metrics"}


class BodyTooLarge(HTTPException):
    """Raised out of `receive` when a body grows over its limit; the framework lets this kind of exception through."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The body is larger than {limit} bytes.")


class Edge:
    """Wraps the application; nothing it does depends on the route."""

    def __init__(self, app: ASGIApp, *, body_limit: int, upload_limit: int) -> None:
        self._app = app
        self._body_limit = body_limit
        self._upload_limit = upload_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = request_id_of(headers)
        scope["sixteen.request_id"] = request_id.decode()
        trace = headers.get(b"traceparent", b"")
        scope["sixteen.traceparent"] = trace.decode() if _TRACEPARENT.fullmatch(trace) else None
        structlog.contextvars.bind_contextvars(request_id=scope["sixteen.request_id"])
        status = 500
        sent = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status, sent = message["status"], True
                own = [*HEADERS, (b"x-request-id", request_id), *scope.get("sixteen.headers", ())]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    own.append((b"cache-control", b"no-store"))
                if not any(name == b"vary" and b"encoding" in value.lower() for name, value in message["headers"]):
                    own.append((b"vary", b"Accept-Encoding"))
                message["headers"] = [*message["headers"], *own]
            await send(message)

        uploads = scope["method"] == "POST" and scope["path"] == UPLOADS
        limit = self._upload_limit if uploads else self._body_limit
        telemetry.ACTIVE_REQUESTS.inc()
        try:
            if _declared(headers) > limit:
                raise BodyTooLarge(limit)
            await self._app(scope, _bounded(receive, limit), send_with_headers)
        except BodyTooLarge as error:
            problem = PayloadTooLarge(error.detail)
            await problem_response(Request(scope), problem)(scope, receive, send_with_headers)
        except Exception as error:
            if sent:
                raise
            await (await on_surprise(Request(scope), error))(scope, receive, send_with_headers)
        finally:
            telemetry.ACTIVE_REQUESTS.dec()
            _account(scope, status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id")


def request_id_of(headers: dict[bytes, bytes]) -> bytes:
    """The id that a request came with, or a new one."""
    given = headers.get(b"x-request-id", b"")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16).encode()


def _declared(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _bounded(receive: Receive, limit: int) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
        return message

    return bounded


@lru_cache(maxsize=4096)
def _durations(method: str, path: str, status: int) -> Histogram:
    """The histogram of requests to one route that were answered alike."""
    return telemetry.REQUESTS.labels(method, path, str(status))


def _account(scope: Scope, status: int, seconds: float) -> None:
    route: Any = scope.get("route")
    path = getattr(route, "path", None) or "unknown"
    _durations(scope["method"], path, status).observe(seconds)
    if path in QUIET:
        return
    principal = scope.get("sixteen.principal")
    telemetry.access_log(
        request_id=scope["sixteen.request_id"],
        workspace_id=str(principal.workspace_id) if principal else None,
        method=scope["method"],
        path=scope["path"],
        status=status,
        ms=round(seconds * 1000, 2),
    )
