"""Tokens that an identity provider signed: checked in full, or refused.

What decides comes from the settings: which issuers there are, with which algorithms and for which audiences. The
token's own header chooses a key among those its issuer publishes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import jwt

from services.api.auth.keysets import Issuer
from services.api.auth.providers import IdentityProvider
from services.api.errors import Unauthorized
from services.api.wire import as_uuid
from shared.tenancy import TokenOrigin

SKEW_SECONDS: Final = 30
LONGEST: Final = 16_384
_LONGEST_NAME: Final = 255
# Later is nothing that can be told as a time.
_LATEST: Final = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
_TYPES: Final = {None, "jwt", "at+jwt", "application/at+jwt", "application/jwt"}
_DECODER: Final = jwt.PyJWT({"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class Claims:
    """What a checked token says. `email` is there only where its issuer has verified it."""

    provider: IdentityProvider
    subject: str
    expires_at: int
    email: str | None
    jti: str | None
    workspace_id: UUID | None

    @property
    def issuer(self) -> str:
        return self.provider.issuer

    @property
    def origin(self) -> TokenOrigin:
        """What is kept of it with that which it was used for; it is good for as long as it is taken, skew included."""
        until = datetime.fromtimestamp(self.expires_at + SKEW_SECONDS, UTC)
        return TokenOrigin(self.issuer, self.subject, self.jti, until)


def is_jwt(text: str) -> bool:
    """Whether a credential looks like a signed token, which no key of ours does."""
    return text.count(".") == 2


class Tokens:
    """The issuers whose tokens are taken."""

    def __init__(self, providers: Iterable[IdentityProvider]) -> None:
        self.issuers = {provider.issuer: Issuer(provider) for provider in providers}
        self.by_name = {each.provider.name: each for each in self.issuers.values()}

    async def check(self, token: str) -> Claims:
        """What a bearer token says; raises Unauthorized, or Unavailable where its issuer can't be asked."""
        issuer = self._issuer_of(token)
        return await self._check(issuer, token, issuer.provider.accepted_audiences, None)

    async def check_login(self, issuer: Issuer, token: str, nonce: str) -> Claims:
        """What the ID token of a login says, which must be the one that was asked for."""
        return await self._check(issuer, token, (issuer.provider.client_id,), nonce)

    async def close(self) -> None:
        for issuer in self.issuers.values():
            await issuer.close()

    def _issuer_of(self, token: str) -> Issuer:
        """Whom the token says it is from, not yet believed."""
        if not self.issuers:
            raise Unauthorized("No identity provider is set here: send an API key.")
        if len(token) > LONGEST:
            raise Unauthorized("The token is longer than tokens are.")
        try:
            unchecked = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError):
            raise Unauthorized("The token is malformed.") from None
        issuer = unchecked.get("iss")
        found = self.issuers.get(issuer) if isinstance(issuer, str) else None
        if found is None:
            raise Unauthorized("The token is of no issuer that is known here.")
        return found

    async def _check(self, issuer: Issuer, token: str, audiences: tuple[str, ...], nonce: str | None) -> Claims:
        provider = issuer.provider
        kid, algorithm = _header(token, provider)
        key = await issuer.key(kid, algorithm)
        try:
            said = _DECODER.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=list(audiences),
                issuer=provider.issuer,
                leeway=SKEW_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthorized("The token has expired.") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise Unauthorized(f"The token is refused: {_reason(error)}.") from None
        if nonce is not None and said.get("nonce") != nonce:
            raise Unauthorized("The token is that of another login.")
        return _claims(provider, said, audiences)


def _header(token: str, provider: IdentityProvider) -> tuple[str | None, str]:
    """Key id and algorithm, both input: the one only finds a key, the other must be one that is set."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise Unauthorized("The token is malformed.") from None
    algorithm, kid, type_ = header.get("alg"), header.get("kid"), header.get("typ")
    if algorithm not in provider.algorithms:
        raise Unauthorized("The token is signed with an algorithm that is not taken from its issuer.")
    if "crit" in header:
        raise Unauthorized("The token asks for extensions that are not known here.")
    if (type_.lower() if isinstance(type_, str) else type_) not in _TYPES:
        raise Unauthorized("The token is of another type than those that open something.")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _LONGEST_NAME):
        raise Unauthorized("The token's key id is malformed.")
    return kid, str(algorithm)


def _reason(error: Exception) -> str:
    """Which check failed, and nothing of what the token holds."""
    reasons: dict[type[Exception], str] = {
        jwt.InvalidAudienceError: "it is meant for somebody else",
        jwt.InvalidIssuerError: "it is of another issuer",
        jwt.ImmatureSignatureError: "it is not valid yet",
        jwt.MissingRequiredClaimError: "a claim it must have is missing",
        jwt.InvalidSignatureError: "its signature is wrong",
    }
    return reasons.get(type(error), "it is malformed")


def _is_name(value: Any) -> bool:
    """Whether it is a text that somebody or something can be known by here."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and "\0" not in value


def _claims(provider: IdentityProvider, said: dict[str, Any], audiences: tuple[str, ...]) -> Claims:
    subject, jti, email = said["sub"], said.get("jti"), said.get("email")
    if not _is_name(subject):
        raise Unauthorized("The token names nobody.")
    if jti is not None and not _is_name(jti):
        raise Unauthorized("The token's jti is malformed.")
    if int(said["exp"]) > _LATEST:
        raise Unauthorized("The token's exp is no time.")
    # A token for several is one that somebody else was given, too: it must have been made for us.
    several = isinstance(said["aud"], list) and len(said["aud"]) > 1
    if (several or "azp" in said) and said.get("azp", provider.client_id) not in audiences:
        raise Unauthorized("The token was made for another client.")
    told = said.get("email_verified")
    verified = (told is True or told == "true") and isinstance(email, str) and "\0" not in email
    workspace_id = None
    if provider.workspace_claim is not None:
        workspace_id = as_uuid(str(said.get(provider.workspace_claim)))
        if workspace_id is None:
            raise Unauthorized("The token names no workspace.")
    return Claims(provider, subject, int(said["exp"]), str(email) if verified else None, jti, workspace_id)
