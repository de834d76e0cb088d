"""An opportunity's history as a file tells it, row after row: what each row records, or why it may not.

The rules are those of every other path (DOMAIN §7, §14). Only the times are the file's own: an opportunity may be
reopened within the workspace's days after it closed, reckoned from one to the other as the file dates them. The
trigger on transitions judges the rows once more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.api.imports.conversions import Wrong
from services.api.imports.course import Process, Stage
from services.api.opportunities.transitions import VOID_WITHIN
from shared.catalog.selling import CLOSE_REASONS

OF_A_STAGE = frozenset(("pass", "back", "void"))
BY_MANAGERS = frozenset(("void", "cancel"))
CLOSINGS = {"lose": "lost", "abandon": "abandoned", "cancel": "cancelled"}
_NEED_REASON = frozenset(("void", *CLOSINGS))


class WrongIn(Wrong):
    """What is wrong with one field of a row."""

    def __init__(self, name: str, code: str, message: str) -> None:
        super().__init__(code, message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Said:
    """One row: what happened, when, and the milestone that it concerns."""

    action: str
    occurred_at: datetime
    stage: Stage | None
    reason: str | None

    @property
    def content(self) -> tuple[Any, ...]:
        return (self.action, self.stage.id if self.stage else None, self.occurred_at)


@dataclass(slots=True)
class Past:
    """Where an opportunity stands after what has been recorded, and after the rows taken since."""

    id: UUID
    process: Process
    status: str
    opened_at: datetime
    closed_at: datetime | None = None
    close_reason: str | None = None
    # Position of each standing passage: (id, when it was passed, when that was recorded).
    passages: dict[int, tuple[UUID, datetime, datetime]] = field(default_factory=dict)
    # The latest time of anything that is recorded.
    latest: datetime | None = None
    customer_is_deleted: bool = False
    # Digest of a row that is recorded: what it said.
    known: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def position(self) -> int:
        return max(self.passages, default=-1) + 1

    @property
    def stage_id(self) -> UUID | None:
        stages = self.process.stages
        return stages[self.position].id if self.position < len(stages) else None

    def stands(self, said: Said) -> bool:
        """Whether what the row says is so already, whoever recorded it."""
        if said.action == "pass" and said.stage is not None:
            standing = self.passages.get(said.stage.position)
            return standing is not None and standing[1] == said.occurred_at
        status = CLOSINGS.get(said.action)
        closed = (status, said.occurred_at, said.reason)
        return status is not None and closed == (self.status, self.closed_at, self.close_reason)

    def take(self, said: Said, id_: UUID, now: datetime, reopen: timedelta) -> UUID | None:
        """Takes the row as recorded now under this id; the passage that it withdraws, if it does. Raises Wrong."""
        if said.action in _NEED_REASON and not said.reason:
            raise WrongIn("reason", "required", "needs a reason")
        if said.action in {"lose", "abandon"} and said.reason not in CLOSE_REASONS:
            words = f"has a reason that is none of {', '.join(CLOSE_REASONS)}; map it in the mapping"
            raise WrongIn("reason", "unknown_code", words)
        self._check_order(said.occurred_at)
        passage: UUID | None = None
        if said.action == "pass":
            self._pass(said, id_, now)
        elif said.action in OF_A_STAGE:
            passage = self._withdraw(said, now)
        elif said.action == "reopen":
            self._reopen(said, reopen)
        else:
            self._close(said)
        self.latest = said.occurred_at
        return passage

    def _check_order(self, at: datetime) -> None:
        if at < self.opened_at:
            raise WrongIn(
                "occurred_at", "out_of_order", f"is before the opportunity came about ({_day(self.opened_at)})"
            )
        if self.latest is not None and at < self.latest:
            words = (
                f"is before what is recorded already ({_day(self.latest)}): give the rows in the order they happened"
            )
            raise WrongIn("occurred_at", "out_of_order", words)

    def _pass(self, said: Said, id_: UUID, now: datetime) -> None:
        stage = _stage_of(said)
        if self.status not in {"open", "won"} or self.position >= len(self.process.stages):
            raise Wrong("transition_not_allowed", f"passes a milestone of an opportunity that is {self.status}")
        if stage.position < self.position:
            raise WrongIn("stage_key", "transition_not_allowed", f"passes “{stage.milestone}”, which lies behind")
        between = self.process.stages[self.position : stage.position]
        lacking = [each.key for each in between if not each.skippable]
        if lacking:
            raise WrongIn("stage_key", "stage_not_skippable", f"skips stages that come first: {', '.join(lacking)}")
        self.passages[stage.position] = (id_, said.occurred_at, now)
        if stage.wins:
            self.status, self.closed_at = "won", said.occurred_at

    def _withdraw(self, said: Said, now: datetime) -> UUID:
        stage = _stage_of(said)
        allowed = {"open", "won"} if said.action == "void" else {"open"}
        if self.status not in allowed:
            raise Wrong("transition_not_allowed", f"goes back in an opportunity that is {self.status}")
        if self.position != stage.position + 1:
            words = f"withdraws “{stage.milestone}”, which is not the latest milestone passed"
            raise WrongIn("stage_key", "transition_not_allowed", words)
        if said.action == "back" and stage.irreversible:
            words = f"would go back over “{stage.milestone}”, which is irreversible"
            raise WrongIn("stage_key", "milestone_irreversible", words)
        passage, _, recorded_at = self.passages[stage.position]
        if said.action == "void" and now - recorded_at > VOID_WITHIN:
            raise Wrong("transition_not_allowed", "voids a passage that was recorded more than 24 hours ago")
        del self.passages[stage.position]
        if self.status == "won" and not any(self.process.stages[each].wins for each in self.passages):
            self.status, self.closed_at = "open", None
        return passage

    def _close(self, said: Said) -> None:
        needed = "won" if said.action == "cancel" else "open"
        if self.status != needed:
            raise Wrong("transition_not_allowed", f"closes an opportunity that is {self.status}, not {needed}")
        self.status, self.closed_at, self.close_reason = CLOSINGS[said.action], said.occurred_at, said.reason

    def _reopen(self, said: Said, reopen: timedelta) -> None:
        if self.status not in {"lost", "abandoned"}:
            raise Wrong("transition_not_allowed", f"reopens an opportunity that is {self.status}")
        if self.closed_at is not None and said.occurred_at - self.closed_at > reopen:
            raise Wrong(
                "transition_not_allowed", f"reopens an opportunity more than {reopen.days} days after it closed"
            )
        if self.customer_is_deleted:
            raise Wrong("conflict", "reopens an opportunity whose customer has been deleted")
        self.status, self.closed_at, self.close_reason = "open", None, None


def _stage_of(said: Said) -> Stage:
    if said.stage is None:
        raise WrongIn("stage_key", "required", "names no stage, whose milestone it concerns")
    return said.stage


def _day(at: datetime) -> str:
    return at.isoformat(timespec="minutes")
