"""Headers, parameters and security that operations share, each said once."""

from __future__ import annotations

from typing import Any

from services.api.idempotency import IDEMPOTENCY_KEY as KEY

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "A value of your own, 1 to 255 printable ASCII characters, such as a UUID. The same request sent again under "
        "it within 24 hours is answered as it was the first time, with `Idempotency-Replayed: true`, and does nothing."
    ),
    "schema": {"type": "string", "pattern": f"^(?:{KEY.pattern})$"},
    "example": "5f0c2c0e-order-4711",
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of the answer you have: where it still holds, the answer is 304 without a body.",
    "schema": {"type": "string"},
    "example": '"3"',
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The strong `ETag` of the version you read: another version is not changed, the answer is 412.",
    "schema": {"type": "string", "pattern": r'^ *(?:\*|"[^",]*"(?: *, *"[^",]*")*) *$'},
    "example": '"3"',
}
CREATE_GUARD = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "`*` creates and never replaces: where there is one already, the answer is 412.",
    "schema": {"type": "string"},
    "example": "*",
}
IDEMPOTENCY_KEY_REQUIRED = {**IDEMPOTENCY_KEY, "required": True}
PARAMETERS = {
    "IdempotencyKey": IDEMPOTENCY_KEY,
    "IdempotencyKeyRequired": IDEMPOTENCY_KEY_REQUIRED,
    "IfMatch": IF_MATCH,
    "IfNoneMatch": IF_NONE_MATCH,
    "CreateGuard": CREATE_GUARD,
}

HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "Names this version of what is answered; for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "Location": {
        "description": "The path of what was made.",
        "schema": {"type": "string"},
        "example": "/v1/customers/0198c0de-0000-7000-8000-000000000001",
    },
    "RequestId": {
        "description": "Names this request in our logs; your own `X-Request-Id` where you sent one.",
        "schema": {"type": "string"},
        "example": "4bf92f3577b34da6a3ce929d0e0e4736",
    },
    "RetryAfter": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "RateLimit": {
        "description": "What is left of each limit: `r` requests in the next `t` seconds. Absent where none is set.",
        "schema": {"type": "string"},
        "example": '"key";r=119998;t=41, "workspace";r=239998;t=41',
    },
    "RateLimitPolicy": {
        "description": "The limits that hold: `q` requests in `w` seconds. Absent where none is set.",
        "schema": {"type": "string"},
        "example": '"key";q=120000;w=60, "workspace";q=240000;w=60',
    },
    "IdempotencyReplayed": {
        "description": "`true` where the answer is that of an earlier request with this Idempotency-Key.",
        "schema": {"type": "string"},
        "example": "true",
    },
}

SECURITY_SCHEMES: dict[str, Any] = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "An API key: `Authorization: Bearer sixteen_live_…`. It may do what the role of its member may, "
            "or only the scopes it was made with. A token of a login (`/v1/logins`), or of an identity provider that "
            "the installation trusts, is sent in the same way."
        ),
    }
}


def header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def parameter(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/parameters/{name}"}
