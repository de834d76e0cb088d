"""How an opportunity advances: pass, back, void, lose, abandon, reopen, cancel (DOMAIN §7, §14).

The service decides what a call means and refuses with a reason that helps; the trigger of migration 0003 enforces the
same rules on whatever writes, and derives stage and status from the rows written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.api.errors import MilestoneIrreversible, NotFound, TransitionNotAllowed, invalid, wrong
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.service import require_customer
from services.api.opportunities.transition_queries import RECORD, pass_where_sound, select_with_course
from services.api.opportunities.transition_schemas import TransitionRequest
from services.api.owners import require_manager
from services.api.times import check_not_future
from services.api.wire import check_if_match
from shared.catalog.selling import CLOSE_REASONS
from shared.db import Row, Tx
from shared.effects import AuditEntry, Event
from shared.ids import new_id
from shared.tenancy import Principal

VOID_WITHIN = timedelta(hours=24)
REOPEN_DAYS = 90
EVENTS = {
    "pass": "milestone_passed",
    "back": "milestone_withdrawn",
    "void": "milestone_voided",
    "lose": "lost",
    "abandon": "abandoned",
    "reopen": "reopened",
    "cancel": "cancelled",
}


# Their reasons are codes of the catalog.
CLOSINGS = frozenset(("lose", "abandon"))


@dataclass(frozen=True, slots=True)
class Step:
    """One row to record: the stage whose milestone it concerns, and the passage it withdraws."""

    stage: Row | None = None
    passage_id: UUID | None = None


async def transition(
    tx: Tx, principal: Principal, id_: UUID, body: TransitionRequest, if_match: str | None
) -> tuple[Row, list[UUID]]:
    """Makes one transition; the opportunity after it, and the ids of what was recorded.

    The usual case, passing the milestone that comes next, is one statement. Whatever else it is, or why it is not
    allowed, the course of the opportunity tells.

    Raises TransitionNotAllowed, MilestoneIrreversible, Forbidden, PreconditionFailed, Invalid.
    """
    if body.action == "pass" and (passed := await _pass_next(tx, principal, id_, body, if_match)):
        return passed
    before = await tx.row(select_with_course(principal.reach), id=id_, **principal.binds)
    if before is None:
        raise NotFound("There is no such opportunity, or it is not yours to see.")
    check_if_match(if_match, before["version"])
    course = [_with_times(stage) for stage in before["course"]]
    occurred_at = _occurred_at(tx, before, course, body)
    steps = _DECIDE[body.action](tx, principal, before, course, body)
    if before["status"] != "open" and body.action in {"reopen", "void"}:
        await require_customer(tx, before)  # it may be open again by this
    ids = [new_id() for _ in steps]
    after = await tx.row(
        RECORD,
        opportunity_id=id_,
        action=body.action,
        ids=ids,
        stages=[step.stage["id"] if step.stage else None for step in steps],
        passages=[step.passage_id for step in steps],
        reason=body.reason,
        note=body.note,
        evidence=body.evidence,
        member_id=principal.member_id,
        occurred_at=occurred_at,
        recorded_at=tx.now,
    )
    assert after is not None  # noqa: S101 - it has been locked since `before`
    _note(tx, before, after, body, steps, occurred_at)
    return after, ids


async def _pass_next(
    tx: Tx, principal: Principal, id_: UUID, body: TransitionRequest, if_match: str | None
) -> tuple[Row, list[UUID]] | None:
    """Passes the milestone of the stage the opportunity stands in; None where that is not what the call asks for."""
    transition_id = new_id()
    row = await tx.row(
        pass_where_sound(principal.reach),
        id=id_,
        transition_id=transition_id,
        stage_id=body.stage_id,
        reason=body.reason,
        note=body.note,
        evidence=body.evidence,
        member_id=principal.member_id,
        occurred_at=body.occurred_at,
        now=tx.now,
        **principal.binds,
    )
    if row is None:
        return None
    check_if_match(if_match, row["version"] - 1)
    check_not_future(tx.now, row["passed_at"], "A transition")
    stage = {"id": row["passed_id"], "key": row["key"], "irreversible": row["irreversible"], "wins": row["wins"]}
    before = {"status": "open", "stage_id": stage["id"]}
    _note(tx, before, row, body, [Step(stage)], row["passed_at"])
    return row, [transition_id]


def _with_times(stage: dict[str, Any]) -> Row:
    for name in ("id", "passage_id"):
        stage[name] = UUID(stage[name]) if stage[name] else None
    for name in ("passed_at", "passage_recorded_at"):
        stage[name] = datetime.fromisoformat(stage[name]) if stage[name] else None
    return stage


def _occurred_at(tx: Tx, before: Row, course: Sequence[Row], body: TransitionRequest) -> datetime:
    passed = [stage["passed_at"] for stage in course if stage["passed_at"]]
    last = max(passed, default=before["occurred_at"])
    # What came before may have been recorded by a clock that is fast: this is then taken to follow at once.
    occurred_at = body.occurred_at or max(tx.now, last)
    if occurred_at < last:
        what = "The opportunity's last milestone was passed" if passed else "The opportunity came about"
        words = f"{what} at {last.isoformat()}; this can't have been before."
        raise invalid("/occurred_at", "out_of_order", words)
    check_not_future(tx.now, occurred_at, "A transition")
    return occurred_at


def _standing(course: Sequence[Row]) -> list[Row]:
    return [stage for stage in course if stage["passage_id"] is not None]


def _pass(tx: Tx, principal: Principal, before: Row, course: Sequence[Row], body: TransitionRequest) -> list[Step]:
    if before["status"] not in {"open", "won"} or before["stage_id"] is None:
        raise TransitionNotAllowed(f"The opportunity is {before['status']}: no milestone is left to pass.")
    stage = _stage(course, body.stage_id or before["stage_id"])
    position = before["stage_position"]
    if stage["position"] < position:
        raise TransitionNotAllowed(f"The milestone “{stage['milestone_en']}” lies behind this opportunity.")
    between = [each for each in course if position <= each["position"] < stage["position"] and not each["skippable"]]
    if between:
        names = ", ".join(each["key"] for each in between)
        raise TransitionNotAllowed(
            f"These stages come first and may not be skipped: {names}.",
            errors=[wrong("/stage_id", "stage_not_skippable", f"{each['key']} comes first.") for each in between],
        )
    return [Step(stage)]


def _back(tx: Tx, principal: Principal, before: Row, course: Sequence[Row], body: TransitionRequest) -> list[Step]:
    _require_status(before, "open")
    standing = _standing(course)
    if not standing:
        raise TransitionNotAllowed("No milestone has been passed: there is nothing to go back over.")
    target = _stage(course, body.to_stage_id, "/to_stage_id") if body.to_stage_id else standing[-1]
    if target["position"] > standing[-1]["position"]:
        raise TransitionNotAllowed("Going back leads to a stage that has been passed.")
    withdrawn = [stage for stage in reversed(standing) if stage["position"] >= target["position"]]
    blocking = next((stage for stage in withdrawn if stage["irreversible"]), None)
    if blocking is not None:
        raise MilestoneIrreversible(
            f"“{blocking['milestone_en']}” has been passed and is irreversible: the stages before it can't be redone.",
            errors=[wrong("/to_stage_id", "milestone_irreversible", f"{blocking['key']} can't be gone back over.")],
        )
    return [Step(stage, stage["passage_id"]) for stage in withdrawn]


def _void(tx: Tx, principal: Principal, before: Row, course: Sequence[Row], body: TransitionRequest) -> list[Step]:
    require_manager(principal, "void a passage")
    _require_reason(body)
    if before["status"] not in {"open", "won"}:
        raise TransitionNotAllowed(f"The opportunity is {before['status']}.")
    standing = _standing(course)
    if not standing:
        raise TransitionNotAllowed("No milestone has been passed: there is nothing to void.")
    last = standing[-1]
    if body.stage_id is not None and body.stage_id != last["id"]:
        raise TransitionNotAllowed("Only the latest passage can be voided; a later one stands.")
    if tx.now - last["passage_recorded_at"] > VOID_WITHIN:
        raise TransitionNotAllowed("A passage can be voided only within 24 hours of being recorded.")
    return [Step(last, last["passage_id"])]


def _close(tx: Tx, principal: Principal, before: Row, course: Sequence[Row], body: TransitionRequest) -> list[Step]:
    _require_status(before, "open")
    _require_reason(body)
    if body.reason not in CLOSE_REASONS:
        raise invalid("/reason", "unknown_code", f"The reason must be one of {', '.join(CLOSE_REASONS)}.")
    return [Step()]


def _reopen(tx: Tx, principal: Principal, before: Row, course: Sequence[Row], body: TransitionRequest) -> list[Step]:
    if before["status"] == "won":
        raise TransitionNotAllowed("A won opportunity is not reopened; a contract that falls through is cancelled.")
    if before["status"] not in {"lost", "abandoned"}:
        raise TransitionNotAllowed(f"The opportunity is {before['status']}.")
    days = REOPEN_DAYS if before["reopen_days"] is None else int(before["reopen_days"])
    if tx.now - before["closed_at"] > timedelta(days=days):
        raise TransitionNotAllowed(f"It closed more than {days} days ago; record a new opportunity.")
    return [Step()]


def _cancel(tx: Tx, principal: Principal, before: Row, course: Sequence[Row], body: TransitionRequest) -> list[Step]:
    require_manager(principal, "cancel a won contract")
    _require_status(before, "won")
    _require_reason(body)
    return [Step()]


_DECIDE = {
    "pass": _pass,
    "back": _back,
    "void": _void,
    "lose": _close,
    "abandon": _close,
    "reopen": _reopen,
    "cancel": _cancel,
}


def _stage(course: Sequence[Row], stage_id: UUID, pointer: str = "/stage_id") -> Row:
    for stage in course:
        if stage["id"] == stage_id:
            return stage
    raise invalid(pointer, "unknown_reference", "The stage does not belong to the opportunity's process.")


def _require_status(before: Row, status: str) -> None:
    if before["status"] != status:
        raise TransitionNotAllowed(f"The opportunity is {before['status']}, not {status}.")


def _require_reason(body: TransitionRequest) -> None:
    if not body.reason:
        raise invalid("/reason", "required", "This transition needs a reason.")


def _note(
    tx: Tx, before: Row, after: Row, body: TransitionRequest, steps: Sequence[Step], occurred_at: datetime
) -> None:
    """Events, audit and marks of a transition: one event a milestone, and one more where the opportunity is won."""
    hidden = OPPORTUNITIES.personal(after)
    base = {name: value for name, value in OPPORTUNITIES.wire(after).items() if name not in hidden}
    # Words that a person wrote are kept in the history alone.
    reason = body.reason if body.action in CLOSINGS else None
    for step in steps:
        data: dict[str, Any] = {**base, "reason": reason, "previous_stage_id": before["stage_id"]}
        if step.stage is not None:
            data["milestone"] = {name: step.stage[name] for name in ("key", "irreversible", "wins")}
            data["milestone"]["stage_id"] = step.stage["id"]
        tx.effects.emit(_event(EVENTS[body.action], after, data, occurred_at))
    if after["status"] == "won" and before["status"] != "won":
        tx.effects.emit(_event("won", after, base, occurred_at))
    tx.effects.audit.append(
        AuditEntry(
            f"opportunity.{body.action}",
            "opportunity",
            after["id"],
            after["version"],
            {
                "reason": reason,
                "status": [before["status"], after["status"]],
                "stage_id": [before["stage_id"], after["stage_id"]],
            },
        )
    )
    for mark in OPPORTUNITIES.marks(after):
        tx.effects.mark(mark)


def _event(name: str, after: Row, data: dict[str, Any], occurred_at: datetime) -> Event:
    return Event(
        type=f"opportunity.{name}",
        subject_type="opportunity",
        subject_id=after["id"],
        occurred_at=occurred_at,
        data=data,
        resource_version=after["version"],
        owner_id=after["owner_id"],
    )
