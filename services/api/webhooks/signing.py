"""Signatures of deliveries: Standard Webhooks, v1 (HMAC-SHA256) and v1a (ed25519).

What is signed is `id.timestamp.body`, with the very bytes that are sent. During a rotation every key that is still
good signs, so that a receiver with the old one and a receiver with the new one both verify.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HMAC: Final = "v1"
ED25519: Final = "v1a"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with
PRIVATE_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"
_SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key as it signs. `key` is the secret's bytes (v1) or the ed25519 seed, alone or followed by the public key."""

    kind: str
    key: bytes = field(repr=False)
    expires_at: datetime | None = None
    _private: Ed25519PrivateKey | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.kind == ED25519:
            private = Ed25519PrivateKey.from_private_bytes(self.key[:_SEED_BYTES])
            object.__setattr__(self, "_private", private)
        elif self.kind != HMAC:
            raise ValueError(f"no signatures are made of the kind {self.kind}")

    def is_good(self, at: datetime) -> bool:
        """Whether it signs at that time; it stops at the very end of its grace."""
        return self.expires_at is None or at < self.expires_at

    def sign(self, content: bytes) -> str:
        """One entry of `webhook-signature`."""
        if self._private is not None:
            made = self._private.sign(content)
        else:
            made = hmac.digest(self.key, content, hashlib.sha256)
        return f"{self.kind},{base64.b64encode(made).decode()}"


def signed_headers(keys: Iterable[SigningKey], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of an attempt made at `at`; raises ValueError where no key is good then."""
    stamp = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), stamp.encode(), body))
    signatures = [key.sign(content) for key in keys if key.is_good(at)]
    if not signatures:
        raise ValueError("no signing key is good at this time")
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": " ".join(signatures)}
