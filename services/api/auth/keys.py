"""API keys: `sixteen_live_<id>_<secret><checksum>`.

The id names the workspace and the key, so that the key is looked up inside its workspace, under row-level security,
like everything else. The checksum refuses a mistyped key before any look-up. Only a hash of the secret is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass
from uuid import UUID

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "sixteen_live_"
ID_LENGTH = 43  # base62 of 256 bits: the workspace's id, then the key's
SECRET_LENGTH = 30
CHECKSUM_LENGTH = 6
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """What a key says of itself; true only once the secret's hash has been compared."""

    workspace_id: UUID
    key_id: UUID
    secret_hash: bytes


def base62(value: int, length: int) -> str:
    letters = []
    for _ in range(length):
        value, rest = divmod(value, 62)
        letters.append(ALPHABET[rest])
    return "".join(reversed(letters))


def from_base62(text: str) -> int:
    value = 0
    for letter in text:
        value = value * 62 + _VALUES[letter]
    return value


def checksum(text: str) -> str:
    return base62(zlib.crc32(text.encode()), CHECKSUM_LENGTH)


def make_key(workspace_id: UUID, key_id: UUID) -> tuple[str, bytes]:
    """A new key and the hash of its secret, which is all that is stored."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    body = f"{PREFIX}{base62((workspace_id.int << 128) | key_id.int, ID_LENGTH)}_{secret}"
    return body + checksum(body), hash_secret(secret)


def hash_secret(secret: str) -> bytes:
    """SHA-256: the secret has 178 random bits, so that a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).digest()


def parse_key(key: str) -> ParsedKey | None:
    """The parts of a well-formed key; None for anything else, found without a look-up."""
    if not key.startswith(PREFIX) or len(key) != len(PREFIX) + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH:
        return None
    body, given = key[:-CHECKSUM_LENGTH], key[-CHECKSUM_LENGTH:]
    name, separator, secret = body[len(PREFIX) :].partition("_")
    if separator != "_" or not all(letter in _VALUES for letter in name + secret + given):
        return None
    if not hmac.compare_digest(checksum(body), given):
        return None
    number = from_base62(name)
    if number >> 256:
        return None
    return ParsedKey(UUID(int=number >> 128), UUID(int=number & ((1 << 128) - 1)), hash_secret(secret))
