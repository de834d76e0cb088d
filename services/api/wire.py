"""From rows to JSON: money as strings, times in UTC, a strong ETag from the version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from fastapi import Request, Response

from services.api.errors import BadRequest, PreconditionFailed, PreconditionRequired

JSON = "application/json"
_OPTIONS = orjson.OPT_UTC_Z


def dump(value: Any) -> bytes:
    return orjson.dumps(value, default=str, option=_OPTIONS)  # the driver has a UUID class of its own


def decimal_text(value: Decimal) -> str:
    """A plain decimal with at least two places and no trailing zeros beyond them: 1054.5000 is 1054.50."""
    text = f"{value:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def money(amount: Decimal | None, currency: str | None) -> dict[str, str] | None:
    return None if amount is None or currency is None else {"amount": decimal_text(amount), "currency": currency}


def etag(version: int) -> str:
    return f'"{version}"'


def answer(
    body: Any, *, status: int = 200, version: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response; with `version` it carries the ETag."""
    own = dict(headers or {})
    if version is not None:
        own["ETag"] = etag(version)
    return Response(dump(body), status, own, JSON)


def created(body: Mapping[str, Any], location: str, version: int | None = None) -> Response:
    """201 with the resource, where it is, and its ETag."""
    return answer(body, status=201, version=version, headers={"Location": location})


def one(request: Request, body: Mapping[str, Any], version: int) -> Response:
    """A resource that was read; 304 where the caller has this version already."""
    wanted = request.headers.get("if-none-match")
    if wanted is not None and (wanted.strip() == "*" or etag(version) in _tags(wanted)):
        return Response(status_code=304, headers={"ETag": etag(version)})
    return answer(body, version=version)


def no_content() -> Response:
    return Response(status_code=204)


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]


def check_if_match(if_match: str | None, version: int, *, required: bool = False) -> None:
    """Raises where the caller changes a version other than the one that stands."""
    if if_match is None:
        if required:
            raise PreconditionRequired("Send If-Match with the ETag of the resource you read.")
        return
    if if_match.strip() == "*":
        return
    tags = [tag.strip() for tag in if_match.split(",")]
    if any(not (tag.startswith('"') and tag.endswith('"') and len(tag) > 1) for tag in tags):
        raise BadRequest('If-Match must carry a strong ETag such as "3", or *.')
    if etag(version) not in tags:
        raise PreconditionFailed(f"The resource is at version {version} now; read it again.", current_version=version)


def columns(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
