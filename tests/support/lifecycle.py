"""What an opportunity's life must be like, in plain Python: the model that the whole application is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

VOID_WITHIN = timedelta(hours=24)
NOT_ALLOWED = "transition_not_allowed"
IRREVERSIBLE = "milestone_irreversible"


@dataclass(frozen=True)
class ModelStage:
    """A stage as the model needs it."""

    id: str
    irreversible: bool
    skippable: bool
    wins: bool


@dataclass(frozen=True)
class Actor:
    """Who calls: their role, and whose records a manager sees."""

    name: str
    role: str
    member_id: UUID
    team: frozenset[UUID] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """What a call must be answered with."""

    status: int
    code: str | None = None

    @property
    def ok(self) -> bool:
        return self.status < 300


DONE = Outcome(200)
NOT_FOUND = Outcome(404, "not_found")
FORBIDDEN = Outcome(403, "forbidden")
STALE = Outcome(412, "precondition_failed")
INVALID = Outcome(422, "invalid")
REFUSED = Outcome(409, NOT_ALLOWED)


@dataclass
class ModelOpportunity:
    """One opportunity as it must be. `standing` holds (position, recorded_at) of each passage that stands."""

    id: str
    stages: list[ModelStage]
    owner: UUID | None
    name: str
    version: int = 1
    status: str = "open"
    deleted: bool = False
    standing: list[tuple[int, datetime]] = field(default_factory=list)
    rows: int = 0

    @property
    def position(self) -> int:
        return self.standing[-1][0] + 1 if self.standing else 0

    @property
    def stage_id(self) -> str | None:
        return self.stages[self.position].id if self.position < len(self.stages) else None

    def seen_by(self, actor: Actor) -> bool:
        if actor.role in {"admin", "viewer"}:
            return True
        if actor.role == "manager":
            return self.owner is None or self.owner in actor.team
        return self.owner == actor.member_id

    def reachable(self, actor: Actor, stale: bool) -> Outcome | None:
        """The refusal that comes before any rule of the life itself; None where there is none."""
        if not self.seen_by(actor) or self.deleted:
            return NOT_FOUND
        return STALE if stale else None

    def passed(self, target: int | None, now: datetime) -> Outcome:
        if self.status not in {"open", "won"} or self.stage_id is None:
            return REFUSED
        place = self.position if target is None else target
        if place < self.position or any(not s.skippable for s in self.stages[self.position : place]):
            return REFUSED
        self.standing.append((place, now))
        if self.stages[place].wins:
            self.status = "won"
        return self._recorded(1)

    def back(self, target: int | None) -> Outcome:
        if self.status != "open" or not self.standing:
            return REFUSED
        place = self.standing[-1][0] if target is None else target
        if place > self.standing[-1][0]:
            return REFUSED
        gone = [each for each in self.standing if each[0] >= place]
        if any(self.stages[position].irreversible for position, _ in gone):
            return Outcome(409, IRREVERSIBLE)
        self.standing = self.standing[: len(self.standing) - len(gone)]
        return self._recorded(len(gone))

    def voided(self, actor: Actor, reason: str | None, now: datetime) -> Outcome:
        if actor.role not in {"manager", "admin"}:
            return FORBIDDEN
        if not reason:
            return INVALID
        if self.status not in {"open", "won"} or not self.standing or now - self.standing[-1][1] > VOID_WITHIN:
            return REFUSED
        self.standing.pop()
        if not any(self.stages[position].wins for position, _ in self.standing):
            self.status = "open"
        return self._recorded(1)

    def closed(self, action: str, reason: str | None) -> Outcome:
        if self.status != "open":
            return REFUSED
        if reason != "price":
            return INVALID
        self.status = {"lose": "lost", "abandon": "abandoned"}[action]
        return self._recorded(1)

    def reopened(self) -> Outcome:
        if self.status not in {"lost", "abandoned"}:
            return REFUSED
        self.status = "open"
        return self._recorded(1)

    def cancelled(self, actor: Actor, reason: str | None) -> Outcome:
        if actor.role not in {"manager", "admin"}:
            return FORBIDDEN
        if self.status != "won":
            return REFUSED
        if not reason:
            return INVALID
        self.status = "cancelled"
        return self._recorded(1)

    def _recorded(self, rows: int) -> Outcome:
        self.rows += rows
        self.version += 1
        return DONE
