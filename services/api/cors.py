"""Pages of other origins: which may call, and a refusal that reads like every other."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.errors import BadRequest
from services.api.handlers import problem_response
from services.api.middleware import request_id_of

# What a page of an allowed origin may send and read beside what every page may. Cookies are never asked for.
SENT: Final = (
    "Authorization",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "Last-Event-ID",
    "Sixteen-Workspace",
    "Traceparent",
    "X-Request-Id",
)
SHOWN: Final = (
    "Content-Disposition",
    "Content-Language",
    "Deprecation",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "WWW-Authenticate",
    "X-Request-Id",
)
# As long as browsers keep what a preflight answered.
_SECONDS: Final = 7200


class Cors(CORSMiddleware):
    """The framework's own, with the list of the settings and refusals as problem documents."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=list(SENT),
            expose_headers=list(SHOWN),
            max_age=_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        return response if response.status_code < 400 else _Refusal(response)


class _Refusal(Response):
    """What the framework says as plain text, with the headers that it gives."""

    def __init__(self, said: Response) -> None:
        super().__init__(said.body, said.status_code)
        self._said = said

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value for name, value in self._said.headers.items() if not name.startswith("content-")}
        scope["sixteen.request_id"] = headers["x-request-id"] = request_id_of(dict(scope["headers"])).decode()
        problem = BadRequest(f"{bytes(self._said.body).decode()}.", headers=headers)
        await problem_response(Request(scope), problem)(scope, receive, send)
