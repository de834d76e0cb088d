"""Identity providers, as the operator sets them: who may say who somebody is, and for which workspaces."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

# Signatures with a public key. One with a shared secret would let whoever knows our key sign, too.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
DEFAULT_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("RS256", "ES256")


def is_secure(url: str) -> bool:
    """Whether an address is https://, or http:// of this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _secure(url: str) -> str:
    if not is_secure(url):
        raise ValueError("must begin with https:// (http:// is for this machine alone)")
    return url


class IdentityProvider(BaseModel):
    """One issuer of OpenID Connect."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="What logins call it.")
    issuer: Annotated[str, AfterValidator(_secure)] = Field(description="Exactly as it stands in `iss`.")
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = Field(default=None, description="Of a confidential client.")
    audiences: tuple[str, ...] = Field(
        default=(), description="What else may stand in `aud` of a bearer token, beside the client_id."
    )
    algorithms: tuple[Algorithm, ...] = Field(default=DEFAULT_ALGORITHMS, min_length=1)
    scopes: str = Field(default="openid email profile", description="What a login asks the issuer for.")
    redirect_uris: tuple[str, ...] = Field(default=(), description="Where logins may come back to, exactly.")
    workspaces: tuple[UUID, ...] = Field(default=(), description="Whose members it may name; empty: everybody's.")
    workspace_claim: str | None = Field(default=None, description="Claim that names the workspace.")
    link_by_email: bool = Field(
        default=True, description="Whether a verified e-mail that is a member's makes the person that member."
    )

    @property
    def accepted_audiences(self) -> tuple[str, ...]:
        return (self.client_id, *self.audiences)
