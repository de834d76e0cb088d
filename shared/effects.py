"""What a transaction leaves for later: events, dirty marks, audit entries.

A service collects them while it works (`tx.effects`); the edge writes all of them in one statement before the commit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.ids import new_id

INTERACTIVE, BULK = 0, 1


@dataclass(slots=True)
class Event:
    """Something that happened, as readers and webhooks will see it. `data` holds no personal values."""

    type: str
    subject_type: str
    subject_id: UUID
    occurred_at: datetime
    data: dict[str, Any]
    resource_version: int | None = None
    owner_id: UUID | None = None
    id: UUID = field(default_factory=new_id)
    # Of the type's schema (`shared.events`).
    version: int = 1


@dataclass(slots=True)
class Mark:
    """“Judge this again”: an opportunity, a customer, an owner's seats, or the whole workspace."""

    subject_type: str
    subject_id: UUID
    lane: int = INTERACTIVE
    cause: dict[str, Any] | None = None


@dataclass(slots=True)
class AuditEntry:
    """Who changed what. `changes` maps a field to [before, after], or to null where the value is personal."""

    action: str
    subject_type: str
    subject_id: UUID
    version: int | None
    changes: dict[str, Any]


@dataclass(slots=True)
class Effects:
    """All that one transaction leaves for later."""

    events: list[Event] = field(default_factory=list)
    marks: dict[tuple[str, UUID], Mark] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def mark(self, mark: Mark) -> None:
        """Marks a subject; without a cause of its own the latest event is the cause."""
        if mark.cause is None and self.events:
            last = self.events[-1]
            mark.cause = {
                "event_id": str(last.id),
                "type": last.type,
                "subject_type": last.subject_type,
                "subject_id": str(last.subject_id),
            }
        known = self.marks.get((mark.subject_type, mark.subject_id))
        if known is not None:
            mark.lane = min(mark.lane, known.lane)
        self.marks[mark.subject_type, mark.subject_id] = mark

    def clear(self) -> None:
        self.events.clear()
        self.marks.clear()
        self.audit.clear()

    def __bool__(self) -> bool:
        return bool(self.events or self.marks or self.audit)
