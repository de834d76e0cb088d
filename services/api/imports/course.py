"""What must be recorded so that an opportunity stands where a row says: its passages, and how it closed.

The rules are those of every other path (DOMAIN §7, §14): what has been passed irreversibly is not gone back over, a
won opportunity is not reopened. The trigger on transitions judges the rows once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.api.imports.conversions import Wrong
from services.api.imports.plan import Wanted


@dataclass(frozen=True, slots=True)
class Stage:
    id: UUID
    key: str
    position: int
    irreversible: bool
    wins: bool
    milestone: str
    skippable: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """A process with its stages in order."""

    id: UUID
    stages: tuple[Stage, ...]

    def stage(self, key: str) -> Stage | None:
        return next((stage for stage in self.stages if stage.key == key), None)

    @property
    def winning(self) -> Stage:
        return next(stage for stage in self.stages if stage.wins)


@dataclass(frozen=True, slots=True)
class Present:
    """Where an opportunity stands now. `passages` maps the position of each standing passage to (id, time)."""

    status: str = "open"
    position: int = 0
    closed_at: datetime | None = None
    completed: bool = False
    passages: Mapping[int, tuple[UUID, datetime]] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One transition to record."""

    action: str
    occurred_at: datetime
    stage: Stage | None = None
    passage_id: UUID | None = None
    reason: str | None = None


NEW = Present()


def decide(
    process: Process, present: Present, wanted: Wanted, opened: datetime | None, now: datetime, reopen: timedelta
) -> list[Step]:
    """The transitions from `present` to `wanted`, in order; raises Wrong where there is no way that is allowed."""
    standing = wanted.standing
    closing = "won" if standing.won else "lost" if standing.lost else "abandoned" if standing.abandoned else "open"
    target = _target(process, present, wanted)
    if present.status in {"won", "cancelled"}:
        return _after_winning(process, present, wanted, closing, target, opened, now)
    if present.status != "open" and closing == present.status:
        return []
    steps: list[Step] = []
    if present.status != "open":
        if present.closed_at is not None and now - present.closed_at > reopen:
            raise Wrong("transition_not_allowed", f"was {present.status} more than {reopen.days} days ago")
        steps.append(Step("reopen", now))
    if target < present.position:
        steps += _withdrawals(process, present, target, now)
    last = opened
    for step in _passes(process, present, wanted, target, closing, opened, now):
        last = _in_order(step.occurred_at, last)
        steps.append(step)
    if closing in {"lost", "abandoned"}:
        at = _in_order(wanted.closed_at or last or now, last)
        action = "lose" if closing == "lost" else "abandon"
        steps.append(Step(action, at, reason=standing.lost or standing.abandoned))
    return steps


def _in_order(at: datetime, last: datetime | None) -> datetime:
    if last is not None and at < last:
        raise Wrong("out_of_order", f"would have happened on {at.date()}, before what came earlier ({last.date()})")
    return at


def _target(process: Process, present: Present, wanted: Wanted) -> int:
    """The position at which the opportunity is to stand."""
    key = wanted.standing.stage
    stage = process.stage(key) if key else None
    if key and stage is None:
        raise Wrong("unknown_reference", f"leads to the stage {key}, which the opportunity's process does not have")
    if wanted.standing.won:
        return max(process.winning.position + 1, stage.position if stage else 0)
    if stage is None:
        # Where it stood when it closed is not said: after the last milestone that has a date.
        dated = [each.position for each in process.stages if each.key in wanted.passed_at and not each.wins]
        return max(present.position, min(max(dated, default=-1) + 1, process.winning.position))
    if stage.position > process.winning.position:
        raise Wrong("transition_not_allowed", f"stands in {stage.key}, after the milestone that wins: map it as won")
    return stage.position


def _after_winning(
    process: Process,
    present: Present,
    wanted: Wanted,
    closing: str,
    target: int,
    opened: datetime | None,
    now: datetime,
) -> list[Step]:
    if closing != "won":
        winning = process.winning
        if winning.irreversible:
            raise Wrong("milestone_irreversible", f"would go back over “{winning.milestone}”, which is irreversible")
        raise Wrong("transition_not_allowed", f"would reopen an opportunity that is {present.status}")
    if present.status == "cancelled" or present.completed:
        return []
    return _passes(process, present, wanted, target, closing, opened, now)


def _withdrawals(process: Process, present: Present, target: int, now: datetime) -> list[Step]:
    steps: list[Step] = []
    for position in sorted(present.passages or {}, reverse=True):
        if position < target:
            break
        stage = process.stages[position]
        if stage.irreversible:
            raise Wrong("milestone_irreversible", f"would go back over “{stage.milestone}”, which is irreversible")
        steps.append(Step("back", now, stage, (present.passages or {})[position][0]))
    return steps


def _passes(
    process: Process,
    present: Present,
    wanted: Wanted,
    target: int,
    closing: str,
    opened: datetime | None,
    now: datetime,
) -> list[Step]:
    """Passages up to the target, dated by the row; one without a date takes the next that is known."""
    passed = process.stages[present.position : target]
    if not passed:
        return []
    known: list[Any] = [wanted.passed_at.get(stage.key) for stage in passed]
    if closing == "won" and wanted.closed_at is not None:
        known = [wanted.closed_at if at is None and stage.wins else at for stage, at in zip(passed, known, strict=True)]
    following = wanted.closed_at
    dated: list[datetime] = []
    before = max((at for at in known if at is not None), default=opened or now)
    for at in reversed(known):
        following = at or following
        dated.append(following or before)
    return [Step("pass", at, stage) for stage, at in zip(passed, reversed(dated), strict=True)]
