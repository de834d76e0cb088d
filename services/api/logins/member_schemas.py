"""Wire types of what a member has of logins: links to identity providers, and sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.pagination import ListParams

_PROVIDER = "Name of the identity provider; null where it is no longer set."


class MemberLogin(BaseModel):
    """That somebody whom an identity provider knows is this member."""

    id: UUID
    member_id: UUID
    provider: str | None = Field(description=_PROVIDER)
    issuer: str
    subject: str = Field(description="Who it is to the provider (`sub`).")
    recorded_at: datetime = Field(description="When the link was made.")
    last_used_at: datetime | None = Field(description="When it last let them in, to the minute.")
    unlinked_at: datetime | None = Field(description="When it was ended; null while it lets them in.")


class MemberSession(BaseModel):
    """What a login left: from the login until its end, through all refreshes."""

    id: UUID
    member_id: UUID
    provider: str | None = Field(description=_PROVIDER)
    issuer: str
    recorded_at: datetime = Field(description="When they logged in.")
    updated_at: datetime = Field(description="When it was last refreshed, or ended.")
    expires_at: datetime = Field(description="When it ends unless it is refreshed before.")
    ended_at: datetime | None = Field(description="When it was ended before that.")


class SessionsEnded(BaseModel):
    """How many sessions were ended."""

    ended: int


class MemberLoginFilters(ListParams):
    """Filters and order of the links of a member."""

    sort: str | None = Field(default=None, description="recorded_at; - before it turns the order.")
    linked: bool | None = Field(default=None, description="false: those that were ended.")


class MemberSessionFilters(ListParams):
    """Filters and order of the sessions of a member."""

    sort: str | None = Field(default=None, description="recorded_at; - before it turns the order.")
    live: bool | None = Field(default=None, description="true: those that are still good.")
