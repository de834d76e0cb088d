"""Secrets at rest: AES-256-GCM under the installation's keys, bound to the workspace and the row they stand in.

A key is known by its id, the beginning of its hash, which stands beside what was encrypted with it. The first key
encrypts; the others only read what was encrypted before. Where no keys are set one follows from the secret key of the
installation, and it stays readable when keys are set later.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from services.api.settings import ApiSettings

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"sixteen stored secrets v1"


class Unreadable(Exception):
    """What is stored can't be decrypted: its key is no longer set, or it is not what was written."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Something encrypted, and the id of the key that reads it."""

    key_id: str
    ciphertext: bytes = field(repr=False)


class Vault:
    """Encrypts and decrypts with the installation's keys."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        ordered = list(keys)
        self._keys = {key_id(key): AESGCM(key) for key in ordered}
        self.present = key_id(ordered[0])

    def seal(self, plain: bytes, workspace_id: UUID, row_id: UUID) -> Sealed:
        """Encrypts for one row; moved to another it can't be read."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self.present].encrypt(nonce, plain, _place(workspace_id, row_id))
        return Sealed(self.present, nonce + sealed)

    def open(self, sealed: Sealed, workspace_id: UUID, row_id: UUID) -> bytes:
        """What was sealed; raises Unreadable."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Unreadable(f"the encryption key {sealed.key_id} is not set: see SIXTEEN_ENCRYPTION_KEYS")
        nonce, ciphertext = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            return key.decrypt(nonce, ciphertext, _place(workspace_id, row_id))
        except InvalidTag as error:
            raise Unreadable("what is stored is not what was written") from error


def key_id(key: bytes) -> str:
    """The name of a key: it tells keys apart and says nothing about them."""
    return hashlib.sha256(_PURPOSE + key).hexdigest()[:12]


def _place(workspace_id: UUID, row_id: UUID) -> bytes:
    return workspace_id.bytes + row_id.bytes


def derived_key(secret: str) -> bytes:
    """The key that follows from the installation's secret."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE).derive(secret.encode())


def parse_keys(text: str) -> list[bytes]:
    """Keys as SIXTEEN_ENCRYPTION_KEYS lists them; raises ValueError saying which is wrong, and never what it is."""
    keys = []
    for place, each in enumerate((part.strip() for part in text.split(",") if part.strip()), start=1):
        try:
            key = base64.b64decode(each, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(f"key {place} is not base64 of {KEY_BYTES} bytes")
        keys.append(key)
    return keys


@lru_cache(maxsize=8)
def _vault(keys: str, secret: str) -> Vault:
    return Vault([*parse_keys(keys), derived_key(secret)])


def vault_of(settings: ApiSettings) -> Vault:
    """The vault of these settings, made once."""
    return _vault(settings.encryption_keys.get_secret_value(), settings.secret_key.get_secret_value())
