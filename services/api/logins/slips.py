"""The slip of a login under way: what we must know again when it comes back, kept by the page that began it.

It is encrypted, so that nothing is stored for a stranger who only begins; and the page keeps it to itself (it never
travels through the identity provider), so that a login that somebody else began can't be completed in its place.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LIFETIME: Final = timedelta(minutes=15)
_NONCE: Final = 12
_PURPOSE: Final = b"sixteen login slips v1"


class BadSlip(Exception):
    """What was sent is no slip of ours, or has run out."""


@dataclass(frozen=True, slots=True)
class Slip:
    """What a login began with. `workspace_id` is text, or null where it was left open."""

    provider: str
    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    workspace_id: str | None
    expires_at: float


def _cipher(secret_key: str) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, None, _PURPOSE).derive(secret_key.encode()))


def seal(slip: Slip, secret_key: str) -> str:
    nonce = os.urandom(_NONCE)
    sealed = _cipher(secret_key).encrypt(nonce, orjson.dumps(slip), None)
    return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")


def unseal(text: str, secret_key: str, now: datetime) -> Slip:
    """The slip; raises BadSlip."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        slip = Slip(**orjson.loads(_cipher(secret_key).decrypt(raw[:_NONCE], raw[_NONCE:], None)))
    except (ValueError, InvalidTag, TypeError):
        raise BadSlip from None
    if slip.expires_at <= now.timestamp():
        raise BadSlip
    return slip
