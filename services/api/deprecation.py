"""Telling the callers of a route that is to go (RFC 9745, RFC 8594), and us who they are.

A route says it with `deprecated=True` and
`openapi_extra={"x-deprecated-since": "2026-11-22", "x-sunset": "2027-06-30"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import structlog
from fastapi import Request

from shared import telemetry
from shared.tenancy import Principal

log = structlog.get_logger(__name__)
Headers = list[tuple[bytes, bytes]]


def headers_of(operation_id: str | None, extra: Mapping[str, Any]) -> Headers:
    """`Deprecation` and `Sunset` of a deprecated route; raises TypeError where it does not say since and until when."""
    try:
        since, until = _day(extra["x-deprecated-since"]), _day(extra["x-sunset"])
    except (KeyError, ValueError) as error:
        raise TypeError(f"{operation_id} is deprecated and lacks x-deprecated-since or x-sunset") from error
    return [
        (b"deprecation", f"@{int(since.timestamp())}".encode()),
        (b"sunset", format_datetime(until, usegmt=True).encode()),
    ]


def note_use(request: Request, operation_id: str) -> None:
    """Counts the call by operation, and logs whose it was."""
    telemetry.DEPRECATED_CALLS.labels(operation_id).inc()
    principal: Principal | None = request.scope.get("sixteen.principal")
    if principal is not None:
        ids = {"workspace_id": str(principal.workspace_id), "member_id": str(principal.member_id)}
        log.info("deprecated_call", operation=operation_id, **ids)


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
