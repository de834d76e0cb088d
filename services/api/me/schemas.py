"""Wire types of who is calling."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from services.api.members.schemas import Member
from services.api.workspaces.schemas import Workspace


class Me(BaseModel):
    """Who is calling, and what they may do."""

    member: Member
    workspace: Workspace
    role: str
    scopes: list[str] = Field(description="What this key may do.")
    reach: str = Field(description="How far the caller sees: all, team, or own (and shared).")
    owner_ids: list[UUID] = Field(description="Whose records a manager sees, with their own; a rep's own.")
    api_key_id: UUID | None
