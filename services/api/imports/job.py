"""What all batches of one import share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.api.imports.course import Process
from services.api.imports.mapping import Mapping
from services.api.imports.plan import Plan
from services.api.imports.references import References
from shared.tenancy import Principal


@dataclass(slots=True)
class Job:
    """What all batches of one import share. `actor` is who began it, and bounds what it may touch."""

    id: UUID
    mapping: Mapping
    plan: Plan
    references: References
    actor: Principal
    request_id: str | None
    reopen: timedelta = timedelta(days=90)
    # Known since a commit, unlike one that a batch under way makes.
    process: Process | None = None
    processes: dict[UUID, Process] = field(default_factory=dict)

    @property
    def actor_id(self) -> UUID:
        return self.actor.member_id

    @property
    def values(self) -> dict[str, Any]:
        """Parameters that every statement of the import takes."""
        return {
            "historical": self.mapping.historical,
            "actor_id": self.actor_id,
            "request_id": self.request_id,
            "import_id": str(self.id),
            "source": self.mapping.source,
        }
