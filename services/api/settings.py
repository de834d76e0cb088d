"""What the api and its worker read from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.api.webhooks.secrets import parse_keys
from shared.settings import Settings


class ApiSettings(Settings):
    """Settings of `api` and `api-worker`."""

    # What is wrong with a secret is said without the secret.
    model_config = SettingsConfigDict(hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8016, ge=0, le=65535)
    cors_origins: tuple[str, ...] = Field(default=(), description="Origins that may call from a browser.")
    body_limit: int = Field(default=1_000_000, description="Largest JSON body, in bytes.")
    upload_limit: int = Field(default=2 * 1024**3, description="Largest upload, in bytes.")
    identity_ttl: float = Field(default=2.0, ge=0, description="Seconds a verified API key is remembered.")
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

    @field_validator("encryption_keys")
    @classmethod
    def check_encryption_keys(cls, keys: SecretStr) -> SecretStr:
        """Wrong keys are found at the start, not when the first secret is stored."""
        parse_keys(keys.get_secret_value())
        return keys

    @property
    def role(self) -> str:
        return "sixteen_api" if self.database_role is None else self.database_role
