"""Signing keys of an endpoint: made, shown in full to whoever may, replaced with grace, read by the engine."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.api.errors import Conflict, invalid
from services.api.webhooks.secrets import Sealed, Unreadable, Vault
from services.api.webhooks.signing import ED25519, HMAC, PRIVATE_PREFIX, PUBLIC_PREFIX, SECRET_PREFIX, SigningKey
from shared.db import Row, Tx, sql
from shared.ids import new_id

# Each attempt carries one signature per key: beside the present one so many old ones may still be in their grace.
MOST_OLD: Final = 5
_SECRET_BYTES: Final = 32
_FEWEST_BYTES, _MOST_BYTES = 24, 64

INSERT = sql(
    """
    INSERT INTO events.webhook_secrets
      (workspace_id, id, endpoint_id, kind, key_id, ciphertext, public_key, recorded_at)
    SELECT :workspace_id, s.id, :endpoint_id, s.kind, s.key_id, s.ciphertext, s.public_key, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:key_ids AS text[]), CAST(:ciphertexts AS bytea[]),
      CAST(:public_keys AS bytea[])) AS s(id, kind, key_id, ciphertext, public_key)
    """
)
EXPIRE = sql(
    "UPDATE events.webhook_secrets SET expires_at = :until WHERE workspace_id = :workspace_id"
    " AND endpoint_id = :endpoint_id AND kind = ANY(CAST(:kinds AS text[])) AND expires_at IS NULL"
)
END = sql(
    "DELETE FROM events.webhook_secrets WHERE workspace_id = :workspace_id AND endpoint_id = :endpoint_id"
    " AND kind = ANY(CAST(:kinds AS text[])) AND recorded_at <= :now"
)
# Old ones past their grace go: nothing is kept that could still be stolen.
FORGET = sql(
    "DELETE FROM events.webhook_secrets WHERE workspace_id = :workspace_id AND endpoint_id = :endpoint_id"
    " AND expires_at <= :now"
)
GOOD = sql(
    "SELECT id, endpoint_id, kind, key_id, ciphertext, public_key, recorded_at, expires_at FROM events.webhook_secrets"
    " WHERE workspace_id = :workspace_id AND endpoint_id = ANY(CAST(:endpoint_ids AS uuid[]))"
    " AND (expires_at IS NULL OR expires_at > :now) ORDER BY endpoint_id, kind, expires_at DESC NULLS FIRST, id"
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key before it is stored. `private` is the HMAC secret, or the ed25519 seed."""

    kind: str
    private: bytes
    public: bytes | None = None


def make_key(kind: str) -> NewKey:
    """A new key from the system's own randomness."""
    if kind == HMAC:
        return NewKey(HMAC, secrets.token_bytes(_SECRET_BYTES))
    return _ed25519(secrets.token_bytes(_SECRET_BYTES))


def _ed25519(seed: bytes) -> NewKey:
    return NewKey(ED25519, seed, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def parse_key(text: str, pointer: str) -> NewKey:
    """A key of the caller's own, `whsec_…` or `whsk_…`; raises Invalid at `pointer`, without repeating it."""
    prefix = next((each for each in (SECRET_PREFIX, PRIVATE_PREFIX) if text.startswith(each)), None)
    if prefix is None:
        words = f"A key begins with {SECRET_PREFIX} (v1) or {PRIVATE_PREFIX} (v1a), then base64."
        raise invalid(pointer, "malformed_key", words)
    try:
        raw = base64.b64decode(text.removeprefix(prefix), validate=True)
    except ValueError:
        raise invalid(pointer, "malformed_key", f"What follows {prefix} is not base64.") from None
    if prefix == SECRET_PREFIX:
        if not _FEWEST_BYTES <= len(raw) <= _MOST_BYTES:
            raise invalid(pointer, "malformed_key", f"A secret has {_FEWEST_BYTES} to {_MOST_BYTES} bytes.")
        return NewKey(HMAC, raw)
    if len(raw) not in {32, 64}:
        raise invalid(pointer, "malformed_key", "An ed25519 key is its seed of 32 bytes, or seed and public key.")
    key = _ed25519(raw[:32])
    if len(raw) == 64 and raw[32:] != key.public:
        raise invalid(pointer, "malformed_key", "The public half does not belong to the private one.")
    return key


async def store(tx: Tx, vault: Vault, endpoint_id: UUID, keys: Sequence[NewKey]) -> None:
    """Stores new present keys, encrypted, in one statement."""
    ids = [new_id() for _ in keys]
    sealed = [vault.seal(key.private, tx.workspace_id, id_) for key, id_ in zip(keys, ids, strict=True)]
    await tx.run(
        INSERT,
        endpoint_id=endpoint_id,
        now=tx.now,
        ids=ids,
        kinds=[key.kind for key in keys],
        key_ids=[each.key_id for each in sealed],
        ciphertexts=[each.ciphertext for each in sealed],
        public_keys=[key.public for key in keys],
    )


async def good(tx: Tx, endpoint_ids: Iterable[UUID]) -> list[Row]:
    """The stored keys that sign now, by endpoint: the present one of each kind before old ones in their grace."""
    return await tx.rows(GOOD, endpoint_ids=list(endpoint_ids), now=tx.now)


async def replace(
    tx: Tx, vault: Vault, endpoint_id: UUID, given: Sequence[NewKey], grace: timedelta, before: Sequence[Row]
) -> None:
    """Puts new keys in the place of the present ones of their kinds, which sign for `grace` longer.

    Without grace old ones end too. `before` are the keys that are good now.
    Raises Conflict where too many old ones would sign beside it.
    """
    kinds = {key.kind for key in given}
    replaced = [row for row in before if row["expires_at"] is None and row["kind"] in kinds]
    for kind in kinds:
        old = sum(row["kind"] == kind for row in before if row["expires_at"] is not None)
        if grace and old >= MOST_OLD:
            words = f"{old} old keys are still in their grace: let one expire, or rotate with grace_period_seconds 0."
            raise Conflict(words)
    for key in given:
        if any(_is_same(vault, tx.workspace_id, row, key) for row in before):
            raise invalid("/key", "same_key", "This key is in use at the endpoint already.")
    if not grace:
        # The one that has leaked may be an old one in its grace.
        await tx.run(END, endpoint_id=endpoint_id, kinds=sorted(kinds), now=tx.now)
    elif replaced:
        await tx.run(EXPIRE, endpoint_id=endpoint_id, kinds=sorted(kinds), until=tx.now + grace)
    await tx.run(FORGET, endpoint_id=endpoint_id, now=tx.now)
    await store(tx, vault, endpoint_id, given)


def _is_same(vault: Vault, workspace_id: UUID, row: Row, key: NewKey) -> bool:
    """Whether a stored key is this one; of one that can't be read any more nobody can tell, and it may be replaced."""
    try:
        return bool(row["kind"] == key.kind) and opened(vault, workspace_id, row) == key.private
    except Unreadable:
        return False


def opened(vault: Vault, workspace_id: UUID, row: Row) -> bytes:
    """The secret part of a stored key."""
    return vault.open(Sealed(row["key_id"], row["ciphertext"]), workspace_id, row["id"])


def signing_key(vault: Vault, workspace_id: UUID, row: Row) -> SigningKey:
    """A stored key as it signs."""
    return SigningKey(row["kind"], opened(vault, workspace_id, row), row["expires_at"])


def in_words(kind: str, private: bytes, public: bytes | None) -> str:
    """A key as its receiver needs it: the shared secret of v1, the public key of v1a."""
    if kind == HMAC:
        return SECRET_PREFIX + base64.b64encode(private).decode()
    return PUBLIC_PREFIX + base64.b64encode(public or b"").decode()


def shown(vault: Vault, workspace_id: UUID, row: Row) -> dict[str, Any]:
    """A stored key in words; nobody but us needs the private half of a v1a key, and nobody is shown it."""
    private = opened(vault, workspace_id, row) if row["kind"] == HMAC else b""
    text = in_words(row["kind"], private, row["public_key"])
    return {"kind": row["kind"], "key": text, "recorded_at": row["recorded_at"], "expires_at": row["expires_at"]}
