"""What If-None-Match asks for, on every route alike (RFC 9110 §13.1.2).

A resource's own ETag is its version. Any other answer to a GET, a list or a judgement, is named after its bytes.
"""

from __future__ import annotations

import hashlib

from fastapi import Request, Response

from services.api.errors import PreconditionFailed

# What an answer without a body still says of itself.
KEPT = ("etag", "cache-control", "content-language", "content-location", "vary")


def named(request: Request, response: Response) -> Response:
    """The answer to a GET with an ETag; 304 in its place where the caller has it already."""
    body = getattr(response, "body", None)
    if response.status_code != 200 or not isinstance(body, bytes):
        return response
    tag = response.headers.get("etag")
    if tag is None:
        tag = tag_of(body)
        response.headers["ETag"] = tag
    wanted = request.headers.get("if-none-match")
    if wanted is None or not _meets(wanted, tag):
        return response
    return Response(status_code=304, headers={name: value for name, value in response.headers.items() if name in KEPT})


def tag_of(body: bytes) -> str:
    """The ETag of an answer that no version names."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def guard_create(request: Request, response: Response) -> None:
    """`PUT` with `If-None-Match: *` makes and never replaces: raises before what was replaced is committed."""
    if request.method != "PUT" or response.status_code != 200:
        return
    if request.headers.get("if-none-match", "").strip() == "*":
        raise PreconditionFailed("There is one already, and If-None-Match: * asks to replace none.")


def _meets(wanted: str, tag: str) -> bool:
    """Weakly compared, as the standard has it for If-None-Match."""
    bare = tag.removeprefix("W/")
    return wanted.strip() == "*" or bare in (each.strip().removeprefix("W/") for each in wanted.split(","))
