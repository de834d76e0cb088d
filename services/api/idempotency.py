"""The Idempotency-Key of a request: what it covers, how it is held, and the answer it was given before."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

import orjson
from fastapi import Request, Response

from services.api.errors import BadRequest, IdempotencyKeyReused
from services.api.wire import JSON_TYPES
from shared.db import Row, sql
from shared.tenancy import Principal

IDEMPOTENCY_KEY = re.compile(r'"([!#-~](?:[ !#-~]{0,253}[!#-~])?)"|([!#-~](?:[ !#-~]{0,253}[!#-~])?)')
REPLAY = sql(
    "SELECT request_hash, status, headers, body FROM sales.idempotency_keys"
    " WHERE workspace_id = :workspace_id AND digest = :digest"
)


def key_digest(key: str, request: Request, principal: Principal) -> bytes:
    """One key is one request of one member: on another path, or from somebody else, it is another request."""
    found = IDEMPOTENCY_KEY.fullmatch(key.strip())
    if found is None:
        raise BadRequest(
            "Idempotency-Key must have 1 to 255 printable ASCII characters, with or without quotes around."
        )
    bare = found[1] or found[2]
    return hashlib.sha256(f"{principal.member_id} {request.method} {request.scope['path']}\n{bare}".encode()).digest()


async def request_hash(request: Request) -> bytes:
    """What makes a request the same one: its body, and the version it would change."""
    body = await request.body()
    if request.headers.get("content-type", "").startswith(JSON_TYPES) and body:
        body = orjson.dumps(await request.json(), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body + b"\n" + repr(request.headers.get("if-match")).encode()).digest()


def hold_key(workspace_id: UUID, digest: bytes) -> str:
    """The call that holds the key for this transaction: a second request with it waits a moment for the first.

    Where the key was answered before, beginning fails at once: a statement that fails later may be logged whole by
    the server, with all the words of its effects. The key's row is written with these.
    """
    lock = int.from_bytes(hashlib.sha256(workspace_id.bytes + digest).digest()[:8], "big", signed=True)
    return f"sales.hold_key('{workspace_id}', '\\x{digest.hex()}', {lock})"


def replay(row: Row, request_hash: bytes | None) -> Response:
    """The answer that was given to this request before; raises IdempotencyKeyReused where it was to another."""
    if row["request_hash"] != request_hash:
        raise IdempotencyKeyReused("This Idempotency-Key belongs to a request with another body.")
    return Response(row["body"], row["status"], {**row["headers"], "Idempotency-Replayed": "true"})
