"""What the next drain of a workspace is about: a batch of marks, or the next part of a whole re-score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

from services.scoring import marks, snapshots
from services.scoring.marks import CUSTOMER, OPPORTUNITY, OWNER, WORKSPACE, Cursor, Taken
from services.scoring.settings import ScoringSettings
from services.scoring.snapshots import Selection
from shared.db import Tx
from shared.effects import BULK, INTERACTIVE


@dataclass(frozen=True, slots=True)
class Plan:
    """`marks` explain what happens; those in `finished` are done with it. `cursor` is where a whole re-score stands
    afterwards, None when this is none."""

    marks: list[Taken]
    finished: list[Taken] = field(default_factory=list)
    selection: Selection = field(default_factory=Selection)
    cursor: Cursor | None = None

    def __str__(self) -> str:
        if self.cursor is not None:
            return f"part of a whole re-score up to {self.cursor.at}"
        return ", ".join(f"{mark.type} {mark.id}" for mark in self.marks)

    def shares(self, count: int) -> list[Selection]:
        """A part of a whole re-score in up to `count` selections that no owner is in twice."""
        if self.cursor is None:
            return [self.selection]
        owners, ids = sorted(self.selection.owners), sorted(self.selection.opportunities)
        shares = [Selection(set(ids[at::count]), owners=set(owners[at::count])) for at in range(count)]
        return [share for share in shares if share.owners or share.opportunities] or [self.selection]

    def halves(self) -> list[Plan]:
        """The same in two parts; none when it can't be divided."""
        if self.cursor is not None:
            return _divided(self)
        middle = len(self.marks) // 2
        return [_of_marks(part) for part in (self.marks[:middle], self.marks[middle:])] if middle else []


def _of_marks(taken: list[Taken]) -> Plan:
    chosen = Selection()
    by_type = {OPPORTUNITY: chosen.opportunities, CUSTOMER: chosen.customers, OWNER: chosen.reseated}
    for mark in taken:
        by_type[mark.type].add(mark.key)
    return Plan(taken, taken, chosen)


def _divided(plan: Plan) -> list[Plan]:
    chosen = plan.selection
    if len(chosen.owners) > 1:
        owners = sorted(chosen.owners)
        middle = len(owners) // 2
        first, second = Selection(owners=set(owners[:middle])), Selection(owners=set(owners[middle:]))
        return [_halfway(plan, first, owners[middle - 1]), replace(plan, selection=second)]
    if len(chosen.opportunities) > 1:
        ids = sorted(chosen.opportunities)
        middle = len(ids) // 2
        first, second = Selection(opportunities=set(ids[:middle])), Selection(opportunities=set(ids[middle:]))
        return [_halfway(plan, first, ids[middle - 1]), replace(plan, selection=second)]
    return []


def _halfway(plan: Plan, chosen: Selection, last: bytes) -> Plan:
    cursor = replace(plan.cursor, at=UUID(bytes=last)) if plan.cursor else None
    return Plan(plan.marks, [], chosen, cursor)


async def make_plan(tx: Tx, settings: ScoringSettings, cursor: Cursor) -> Plan | None:
    """What is to be done next; None when nothing is due.

    A whole re-score waits for interactive work, but not for ever: after `rescore_wait_seconds` comes a small part of
    it all the same, and then interactive work again.
    """
    taken = await marks.take(tx, settings.drain_batch)
    single = [mark for mark in taken if mark.type != WORKSPACE]
    whole = next((mark for mark in taken if mark.type == WORKSPACE), None)
    if whole is not None:
        if not any(mark.lane == INTERACTIVE for mark in single):
            return await _next_part(tx, settings.rescore_batch, cursor, whole)
        rested = whole.waited if cursor.rested is None else min(whole.waited, cursor.rested)
        if rested > settings.rescore_wait_seconds:
            return await _next_part(tx, settings.rescore_contested_batch, cursor, whole)
    if not single:
        return None
    plan = _of_marks(single)
    if any(mark.lane == BULK for mark in single):
        # An import makes members with the rows that name them: those who own nothing open are named by no mark.
        plan.selection.reseated.update(owner.bytes for owner in await snapshots.untriaged(tx, settings.drain_batch))
    return plan


async def _next_part(tx: Tx, limit: int, cursor: Cursor, whole: Taken) -> Plan:
    """The next part of a whole re-score, of about `limit` subjects. It goes owner by owner, so that nobody is ranked
    while half of their subjects are judged by an old policy, and from the beginning when the mark has moved
    meanwhile."""
    if cursor.version != whole.version:
        cursor = Cursor(None, ownerless=False, version=whole.version)
    if not cursor.ownerless:
        owners = await snapshots.owners_after(tx, cursor.at, limit)
        if owners:
            chosen = Selection(owners={owner.bytes for owner in owners})
            return Plan([whole], [], chosen, replace(cursor, at=owners[-1]))
        cursor = replace(cursor, at=None, ownerless=True)
    ids = await snapshots.ownerless_after(tx, cursor.at, limit)
    if ids:
        return Plan([whole], [], Selection(opportunities={key.bytes for key in ids}), replace(cursor, at=ids[-1]))
    return Plan([whole], [whole], Selection(), Cursor(None, ownerless=False, version=None))
