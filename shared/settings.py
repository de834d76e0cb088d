"""What every process reads from its environment. Each service adds its own in a subclass."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.urls import check_database_url, check_redis_url

_OURS = "Value error, "
PUBLIC_SECRET = "change-me"  # noqa: S105 - refused outside the embedded mode


class Settings(BaseSettings):
    """Settings common to all processes; environment variables are `SIXTEEN_` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="SIXTEEN_", extra="ignore", frozen=True)

    database_url: str = Field(description="Login address of PostgreSQL: postgresql://user:password@host/name.")
    redis_url: str = Field(description="redis://…, rediss://… or unix:///path/to/socket.")
    database_role: str | None = Field(default=None, description="Role to enter; empty stays with the login's own.")
    database_pool: int = Field(default=10, ge=1, le=200, description="Connections this process may hold.")
    statement_cache: int = Field(default=512, ge=0, description="0 behind PgBouncer in transaction mode.")
    statement_timeout_ms: int = Field(default=30_000, ge=100)
    secret_key: SecretStr = Field(default=SecretStr(PUBLIC_SECRET), description="Signs cursors; 32 random bytes.")
    embedded: bool = Field(default=False, description="Set by `make run` for its own children.")
    data_dir: Path = Path(".data")
    log_level: str = "INFO"

    @field_validator("database_url")
    @classmethod
    def require_postgresql(cls, url: str) -> str:
        return check_database_url(url)

    @field_validator("redis_url")
    @classmethod
    def require_redis(cls, url: str) -> str:
        return check_redis_url(url)

    @model_validator(mode="after")
    def refuse_public_secret(self) -> Self:
        if not self.embedded and self.secret_key.get_secret_value() == PUBLIC_SECRET:
            raise ValueError("SIXTEEN_SECRET_KEY is not set: give 32 random bytes, the same to every process")
        return self


def in_words(error: ValidationError) -> str:
    """What is wrong with the settings: a line for each, which names it."""
    lines = []
    for wrong in error.errors():
        # Our own words name what they are about.
        said, place = wrong["msg"], "_".join(str(part) for part in wrong["loc"]).upper()
        lines.append(said.removeprefix(_OURS) if said.startswith(f"{_OURS}SIXTEEN_") else f"SIXTEEN_{place}: {said}")
    return "\n".join(lines) + "\n"
