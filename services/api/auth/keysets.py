"""What an issuer publishes: where its endpoints are, and the keys it signs with.

Both come from the issuer's own address and from nowhere else: what a token says of keys (`jwk`, `jku`, `x5u`) is never
read. Keys are kept for an hour; one that is not among them makes us look again, at most every half minute, so that
tokens with invented key ids cost the issuer nothing. An issuer that is away for a while is not missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import jwt
import orjson
import structlog

from services.api.auth.providers import IdentityProvider, is_secure
from services.api.errors import Unauthorized, Unavailable

FRESH_SECONDS: Final = 3600.0
USABLE_SECONDS: Final = 86_400.0
# Between two look-ups because of an unknown key, and after one that failed.
UNKNOWN_KEY_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 5.0
_LARGEST: Final = 512 * 1024
_TIMEOUT: Final = httpx.Timeout(5.0)
_KINDS: Final = {"RS": ("RSA",), "PS": ("RSA",), "ES": ("EC",), "Ed": ("OKP",)}
log = structlog.get_logger(__name__)


class Issuer:
    """One identity provider over the network. `monotonic` is the clock of its caches, in seconds."""

    def __init__(self, provider: IdentityProvider, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.provider = provider
        self._monotonic = monotonic
        self._client: httpx.AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []
        self._read_at = self._tried_at = float("-inf")
        self.reads = 0

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The public key of this id for this algorithm; raises Unauthorized, or Unavailable while nothing is known."""
        await self._refresh(FRESH_SECONDS, RETRY_SECONDS)
        found = self._find(kid, algorithm)
        if found is None:
            await self._refresh(0, UNKNOWN_KEY_SECONDS)
            found = self._find(kid, algorithm)
        if found is None:
            raise Unauthorized("The token is signed with a key that its issuer does not publish.")
        try:
            return jwt.PyJWK(found, algorithm)
        except jwt.PyJWTError:
            raise Unauthorized("The token's key can't be used.") from None

    async def endpoint(self, name: str) -> str:
        """The address of one of the issuer's endpoints, from its discovery document; raises Unavailable."""
        await self._refresh(FRESH_SECONDS, RETRY_SECONDS)
        url = self._metadata.get(name)
        if not isinstance(url, str) or not is_secure(url):
            raise Unavailable(f"The identity provider {self.provider.name} publishes no usable {name}.")
        return url

    async def post(self, url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Sends a form as the client we are; its status and JSON. Raises Unavailable."""
        secret = self.provider.client_secret
        auth = httpx.Auth() if secret is None else httpx.BasicAuth(self.provider.client_id, secret.get_secret_value())
        try:
            response = await self._http().post(url, data=form, auth=auth)
            body = _json(response)
        except (httpx.HTTPError, ValueError) as error:
            log.warning("identity_provider_unreachable", provider=self.provider.name, error=type(error).__name__)
            raise Unavailable("The identity provider can't be reached right now.") from None
        if response.status_code >= 500:
            raise Unavailable("The identity provider can't answer right now.")
        return response.status_code, body

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)
        return self._client

    def _find(self, kid: str | None, algorithm: str) -> dict[str, Any] | None:
        """The one key that is meant: by its id, or, of a token that names none, the only one of its kind."""
        kinds = _KINDS[algorithm[:2]]
        fitting = [
            key
            for key in self._keys
            if key.get("kty") in kinds and key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm
        ]
        if kid is not None:
            fitting = [key for key in fitting if key.get("kid") == kid]
        return fitting[0] if len(fitting) == 1 else None

    async def _refresh(self, fresh_for: float, not_before: float) -> None:
        """Reads again what is older than `fresh_for` seconds, unless that was tried within `not_before`."""
        before = self._read_at
        if self._monotonic() - before < fresh_for:
            return
        async with self._lock:
            now = self._monotonic()
            # Somebody else has read it while this one waited.
            if self._read_at > before:
                return
            if now - self._tried_at >= not_before:
                self._tried_at = now
                await self._read()
            if now - self._read_at > USABLE_SECONDS:
                raise Unavailable(f"The identity provider {self.provider.name} can't be reached right now.")

    async def _read(self) -> None:
        self.reads += 1
        try:
            metadata = await self._get(f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
            if metadata.get("issuer") != self.provider.issuer:
                raise ValueError("its discovery document is another issuer's")
            if not is_secure(str(metadata.get("jwks_uri"))):
                raise ValueError("its keys are not at a secure address")
            keys = (await self._get(str(metadata["jwks_uri"]))).get("keys")
            if not isinstance(keys, list):
                raise ValueError("its keys are no list")
        except (httpx.HTTPError, ValueError) as error:
            log.warning("identity_provider_not_read", provider=self.provider.name, error=str(error))
            return
        self._metadata, self._keys = metadata, [key for key in keys if isinstance(key, dict)]
        self._read_at = self._monotonic()

    async def _get(self, url: str) -> dict[str, Any]:
        response = await self._http().get(url)
        response.raise_for_status()
        return _json(response)


def _json(response: httpx.Response) -> dict[str, Any]:
    if len(response.content) > _LARGEST:
        raise ValueError("it says too much")
    body = orjson.loads(response.content)
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    return body
