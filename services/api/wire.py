"""From JSON, and from rows to JSON: money as strings, times in UTC, a strong ETag from the version.

The ETag of a resource is its version in quotes: `"7"`. Where an answer holds more than the resource (what was
expanded), a digest of all of it follows: `"7-5f1c0a9be2d4"`. Both name version 7 to `If-Match`.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from services.api.errors import BadRequest, Invalid, InvalidParameter, PreconditionFailed, PreconditionRequired, wrong

JSON = "application/json"
JSON_TYPES = (JSON, "application/merge-patch+json")
_OPTIONS = orjson.OPT_UTC_Z
_WITH_DIGEST = re.compile(r'^"(\d+)-[0-9a-f]+"$')
# The one character that no text in the database holds, and that none can be compared with.
_NUL: Final = "\0"
_NO_NUL: Final = "the character NUL is not allowed"
_MOST_TOLD: Final = 20


class NulInBody(HTTPException):
    """Raised while a body is read; the framework lets this kind of exception through."""

    def __init__(self, problem: Invalid) -> None:
        super().__init__(422, _NO_NUL)
        self.problem = problem


def read_json(body: bytes) -> Any:
    """The document in `body`; raises JSONDecodeError, and NulInBody where a text or a name in it has a NUL.

    In JSON a NUL can only be written as an escape, which next to no body has: looking for that costs nothing.
    """
    document = orjson.loads(body.removeprefix(codecs.BOM_UTF8))
    if b"\\u0000" in body:
        problem = nul_within(document)
        if problem is not None:
            raise NulInBody(problem)
    return document


def nul_within(document: Any, pointer: str = "") -> Invalid | None:
    """What is wrong with a document that stands at `pointer` of the body; None where it holds no NUL."""
    pointers = list(islice(_places_of_nul(document, pointer), _MOST_TOLD))
    if not pointers:
        return None
    errors = [wrong(each, "value_error", _NO_NUL) for each in pointers]
    return Invalid(f"Wrong: {', '.join(pointers[:5])}.", errors=errors)


def _places_of_nul(document: Any, root: str) -> Iterator[str]:
    waiting: list[tuple[str, Any]] = [(root, document)]
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, str):
            if _NUL in value:
                yield pointer
        elif isinstance(value, list):
            waiting += [(f"{pointer}/{place}", each) for place, each in enumerate(value)][::-1]
        elif isinstance(value, dict):
            within = [(f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", name) for name in value]
            yield from (at for at, name in within if _NUL in name)
            waiting += [(at, value[name]) for at, name in within][::-1]


def refuse_nul(query: bytes) -> None:
    """Raises InvalidParameter where a parameter of a query has a NUL in its name or value."""
    if b"%00" not in query and b"\0" not in query:
        return
    found = [pair for pair in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if _NUL in "".join(pair)]
    errors = [wrong(f"?{name}", "value_error", _NO_NUL) for name in dict.fromkeys(name for name, _ in found)]
    if errors:
        raise InvalidParameter(f"Wrong: {', '.join(each.pointer for each in errors[:5])}.", errors=errors[:_MOST_TOLD])


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


def etag_of_body(version: int, body: bytes) -> str:
    """The ETag of an answer that holds more than the resource of this version."""
    return f'"{version}-{hashlib.blake2b(body, digest_size=6).hexdigest()}"'


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
    if is_known(request, etag(version)):
        return not_modified(etag(version))
    return answer(body, version=version)


def is_known(request: Request, tag: str) -> bool:
    """Whether the caller has what this ETag names already (If-None-Match)."""
    wanted = request.headers.get("if-none-match")
    return wanted is not None and (wanted.strip() == "*" or tag.removeprefix("W/") in _tags(wanted))


def not_modified(tag: str) -> Response:
    return Response(status_code=304, headers={"ETag": tag})


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
    if etag(version) not in {_WITH_DIGEST.sub(r'"\1"', tag) for tag in tags}:
        raise PreconditionFailed(f"The resource is at version {version} now; read it again.", current_version=version)


def columns(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
