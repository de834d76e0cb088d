"""Wire types of API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from services.api.fields import Instant, Known, Name, Strict
from services.api.pagination import ListParams
from shared.catalog.labels import Label
from shared.catalog.people import SCOPES


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


Scope = Annotated[str, Known({scope: Label(scope, scope) for scope in SCOPES})]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=2 * len(SCOPES)), AfterValidator(_each_once)]


class ApiKeyCreate(Strict):
    """A new key, for oneself or (administrators) for another member."""

    name: Name = Field(examples=["Nightly sync"])
    member_id: UUID | None = Field(default=None, description="Whose key it is to be; the caller's by default.")
    scopes: Scopes | None = Field(
        default=None, description="What it may do: of what its holder and the caller may; all of that by default."
    )
    expires_at: Instant | None = None


class ApiKey(BaseModel):
    """A key as it is known after it was made: its secret is not."""

    id: UUID
    member_id: UUID
    name: str
    last4: str = Field(description="The last four characters of the key.")
    scopes: list[str] = Field(description="Empty: all that the holder's role may do.")
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime


class ApiKeyCreated(ApiKey):
    """A new key with its secret, shown this once."""

    key: str | None = Field(
        description="Null where the answer repeats an earlier one (Idempotency-Key): the secret is not kept."
    )


class ApiKeyFilters(ListParams):
    """Filters and order of the list of keys."""

    sort: str | None = Field(default=None, description="recorded_at; - before it turns the order.")
    member_id: UUID | None = None
    live: bool | None = Field(default=None, description="false: those that were revoked.")
