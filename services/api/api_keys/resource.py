"""How API keys are stored and shown: never their secret."""

from __future__ import annotations

from typing import Any

from services.api.filters import by_time, equals, is_null
from services.api.resources import Resource
from services.api.wire import columns
from shared.db import Row
from shared.models import api_keys

_SHOWN = (
    "id", "member_id", "name", "last4", "scopes", "expires_at", "revoked_at", "last_used_at", "version", "occurred_at",
    "recorded_at", "updated_at",
)  # fmt: skip


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


API_KEYS = Resource(
    name="api_key",
    path="/v1/api-keys",
    table=api_keys,
    wire=wire,
    personal=lambda _: frozenset(("secret_hash",)),
    default_sort="-recorded_at",
    sorts={"recorded_at": by_time(api_keys.c.recorded_at, "recorded_at")},
    filters={"member_id": equals(api_keys.c.member_id), "live": is_null(api_keys.c.revoked_at)},
)
