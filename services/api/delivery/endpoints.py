"""Endpoints as the engine sees them: where to, signed with what, how patiently, and how it went so far."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from services.api.delivery.breaker import CLOSED, Breaker
from services.api.webhooks import keys, makers
from services.api.webhooks.secrets import Sealed, Unreadable, Vault
from services.api.webhooks.signing import SigningKey
from shared.db import Row, Tx, sql

LOAD = sql(
    f"""
    SELECT e.id, e.url, e.throttle_rate, e.timeout_seconds, e.retry_schedule, e.headers_encrypted, e.headers_key_id,
      e.signatures, e.disabled, s.failing_since, s.last_success_at, s.breaker, s.breaker_until, s.breaker_openings,
      s.window_started_at, s.window_attempts, s.window_failures, {makers.COLUMNS}
    FROM events.webhook_endpoints e {makers.JOIN}
    LEFT JOIN events.webhook_endpoint_states s ON s.workspace_id = e.workspace_id AND s.endpoint_id = e.id
    WHERE e.workspace_id = :workspace_id AND e.id = ANY (CAST(:ids AS uuid[]))
    """
)
_MOST_KNOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an attempt needs to know. `trouble` says why nothing can be signed."""

    workspace_id: UUID
    id: UUID
    url: str
    headers: Mapping[str, str] = field(repr=False)
    keys: Sequence[SigningKey]
    timeout_seconds: float
    schedule: Sequence[int] | None
    throttle_rate: int | None
    failing: bool
    proven: bool
    breaker: Breaker
    last_success_at: datetime | None = None
    trouble: str | None = None
    maker_role: str | None = None
    maker_active: bool | None = None

    def may_be_told(self, type_: str) -> bool:
        """Whether who answers for it may read events of this type now."""
        return makers.may_be_told({"maker_role": self.maker_role, "maker_active": self.maker_active}, type_)


class Endpoints:
    """Reads endpoints, and remembers what was decrypted by the ciphertext it came from."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._keys: OrderedDict[UUID, tuple[bytes, SigningKey]] = OrderedDict()
        self._headers: OrderedDict[UUID, tuple[bytes, dict[str, str]]] = OrderedDict()

    async def load(self, tx: Tx, ids: Sequence[UUID]) -> dict[UUID, Endpoint]:
        """The endpoints there are of `ids`, in two statements."""
        rows = await tx.rows(LOAD, ids=list(ids))
        found: dict[UUID, list[Row]] = {}
        for secret in await keys.good(tx, ids):
            found.setdefault(secret["endpoint_id"], []).append(secret)
        return {row["id"]: self._endpoint(tx.workspace_id, row, found.get(row["id"], [])) for row in rows}

    def _endpoint(self, workspace_id: UUID, row: Row, secrets: Sequence[Row]) -> Endpoint:
        trouble = None
        signing: list[SigningKey] = []
        headers: dict[str, str] = {}
        try:
            signing = [self._key(workspace_id, each) for each in secrets if each["kind"] in row["signatures"]]
            headers = self._headers_of(workspace_id, row)
        except Unreadable as error:
            trouble = str(error)
        return Endpoint(
            workspace_id=workspace_id,
            id=row["id"],
            url=row["url"],
            headers=headers,
            keys=signing,
            timeout_seconds=float(row["timeout_seconds"]),
            schedule=row["retry_schedule"],
            throttle_rate=row["throttle_rate"],
            failing=row["failing_since"] is not None,
            proven=row["last_success_at"] is not None and row["failing_since"] is None,
            breaker=breaker_of(row),
            last_success_at=row["last_success_at"],
            trouble=trouble,
            maker_role=row["maker_role"],
            maker_active=row["maker_active"],
        )

    def _key(self, workspace_id: UUID, row: Row) -> SigningKey:
        known = self._keys.get(row["id"])
        if known is None or known[0] != row["ciphertext"] or known[1].expires_at != row["expires_at"]:
            known = (row["ciphertext"], keys.signing_key(self._vault, workspace_id, row))
            _remember(self._keys, row["id"], known)
        return known[1]

    def _headers_of(self, workspace_id: UUID, row: Row) -> dict[str, str]:
        sealed = row["headers_encrypted"]
        if sealed is None:
            return {}
        known = self._headers.get(row["id"])
        if known is None or known[0] != sealed:
            opened = self._vault.open(Sealed(row["headers_key_id"], sealed), workspace_id, row["id"])
            known = (sealed, orjson.loads(opened))
            _remember(self._headers, row["id"], known)
        return known[1]


def _remember(store: OrderedDict[UUID, Any], key: UUID, value: object) -> None:
    store[key] = value
    while len(store) > _MOST_KNOWN:
        store.popitem(last=False)


def breaker_of(row: Mapping[str, Any]) -> Breaker:
    """The breaker as its row keeps it; one that never wrote a row is closed."""
    if row["breaker"] is None:
        return Breaker()
    return Breaker(
        state=CLOSED if row["breaker"] == CLOSED else "open",
        until=row["breaker_until"],
        openings=row["breaker_openings"],
        window_started_at=row["window_started_at"],
        attempts=row["window_attempts"],
        failures=row["window_failures"],
    )
