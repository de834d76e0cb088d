"""What the api and its worker read from the environment."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.api.auth.providers import IdentityProvider
from services.api.webhooks.secrets import parse_keys
from shared.settings import Settings

_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://(?:[a-z0-9.\-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")


class ApiSettings(Settings):
    """Settings of `api` and `api-worker`."""

    # What is wrong with a secret is said without the secret.
    model_config = SettingsConfigDict(hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8016, ge=0, le=65535)
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses and networks of proxies, commas between, whose X-Forwarded-For says who calls.",
    )
    cors_origins: tuple[str, ...] = Field(default=(), description="Origins that may call from a browser.")
    body_limit: int = Field(default=1_000_000, description="Largest JSON body, in bytes.")
    upload_limit: int = Field(default=2 * 1024**3, description="Largest upload, in bytes.")
    identity_ttl: float = Field(default=2.0, ge=0, description="Seconds a verified API key is remembered.")
    rate_limit_workspace: int = Field(
        default=240_000, ge=0, description="Requests a minute of one workspace, in all processes; 0 = no limit."
    )
    rate_limit_key: int = Field(
        default=120_000, ge=0, description="Requests a minute of one key or login; 0 = no limit."
    )
    rate_limit_tickets: int = Field(default=600, ge=0, description="Stream tickets a minute of one key; 0 = no limit.")
    rate_limit_failures: int = Field(
        default=120, ge=0, description="Keys and tokens refused, a minute and address, before all are; 0 = no limit."
    )
    rate_limit_logins: int = Field(default=60, ge=0, description="Logins a minute and address; 0 = no limit.")
    identity_providers: tuple[IdentityProvider, ...] = Field(
        default=(), description="Issuers of OpenID Connect, as JSON."
    )
    access_token_seconds: int = Field(default=600, ge=60, le=3600, description="For how long an access token is good.")
    login_idle_days: int = Field(default=14, ge=1, description="After so many days without a refresh a login ends.")
    login_days: int = Field(default=90, ge=1, description="After so many days each login ends.")
    idempotency_hours: int = Field(default=24, ge=24)
    graceful_shutdown: int = Field(default=5, ge=1)
    metrics_port: int = Field(default=0, ge=0, le=65535, description="Where the worker serves its probes; 0 = not.")
    sweep_seconds: float = Field(default=1.0, gt=0)
    streams: int = Field(default=1000, ge=1, description="Most live streams of one process.")
    streams_per_caller: int = Field(default=20, ge=1, description="Most live streams of one key in one process.")
    event_days: int = Field(default=30, ge=30, description="Days that events are kept.")
    encryption_keys: SecretStr = Field(
        default=SecretStr(""),
        description="Keys for stored secrets: base64 of 32 bytes each, commas between; the first one encrypts.",
    )
    webhook_endpoints: int = Field(default=50, ge=1, description="Webhook endpoints a workspace may have.")
    webhook_http: bool = Field(default=False, description="Deliver to http:// too; https:// alone by default.")
    webhook_ports: tuple[int, ...] = Field(default=(), description="Ports that webhooks may go to beside 80 and 443.")

    @field_validator("identity_providers")
    @classmethod
    def check_identity_providers(cls, providers: tuple[IdentityProvider, ...]) -> tuple[IdentityProvider, ...]:
        """A token's issuer and a login's name each lead to one provider."""
        if len({each.issuer for each in providers}) < len(providers) or len({each.name for each in providers}) < len(
            providers
        ):
            raise ValueError("SIXTEEN_IDENTITY_PROVIDERS: two have the same name or issuer")
        return providers

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def split_trusted_proxies(cls, value: Any) -> Any:
        return tuple(each.strip() for each in value.split(",") if each.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def check_trusted_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        """Where everybody is trusted, everybody says who they are."""
        for proxy in proxies:
            try:
                network = ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"SIXTEEN_TRUSTED_PROXIES: {error}") from None
            if network.prefixlen == 0:
                raise ValueError(f"SIXTEEN_TRUSTED_PROXIES: {proxy} is everybody; name the proxies")
        return proxies

    @field_validator("cors_origins")
    @classmethod
    def check_cors_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        """An origin with a path, or with `/` at its end, would never match one."""
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"SIXTEEN_CORS_ORIGINS: {origin!r} is no origin such as https://app.example.com")
        return origins

    @field_validator("encryption_keys")
    @classmethod
    def check_encryption_keys(cls, keys: SecretStr) -> SecretStr:
        """Wrong keys are found at the start, not when the first secret is stored."""
        parse_keys(keys.get_secret_value())
        return keys

    @property
    def role(self) -> str:
        return "sixteen_api" if self.database_role is None else self.database_role
