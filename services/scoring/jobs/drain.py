"""One drain: the marks of one workspace, judged and done in one transaction (gather, decide, apply)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from services.scoring import marks, snapshots, store
from services.scoring.core.deficit import Experience
from services.scoring.core.judge import judge
from services.scoring.core.medians import Medians, medians_of
from services.scoring.jobs.batch import causes_of, gather, rank_batch, scores_of, spoiled_marks
from services.scoring.jobs.plan import Plan, make_plan
from services.scoring.judging import POISON, Judge
from services.scoring.marks import Taken
from services.scoring.settings import ScoringSettings
from services.scoring.snapshots import Selection
from services.scoring.staging import CREATE_TABLES
from services.scoring.workspace import Workspace, read_workspace
from shared import telemetry
from shared.clock import Clock
from shared.db import Database, Tx
from shared.effects import INTERACTIVE

log = structlog.get_logger(__name__)

# Data that can't be judged or written, as against a database that is away.
SPOILS: Final = (*POISON, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

_PUT_ASIDE = Counter("sixteen_marks_put_aside_total", "Marks and opportunities that could not be judged.")


class Spoiled(Exception):
    """A drain could not be done because of what it was given."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(f"{len(plan.marks)} marks")
        self.plan = plan


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual in a workspace, kept for a while: `medians` stand in for what is unknown, `experience` tells how
    often one class leads to the next."""

    medians: Medians
    experience: Experience


@dataclass(slots=True)
class Context:
    """What drains share within a process."""

    database: Database
    settings: ScoringSettings
    clock: Clock
    judge: Judge = judge
    usual: dict[UUID, tuple[float, Usual]] = field(default_factory=dict)
    models_written: set[UUID] = field(default_factory=set)
    # Called before the commit: where tests pull the plug.
    before_commit: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one drain did."""

    marks: int = 0
    judged: int = 0
    moves: int = 0
    seats: int = 0
    statements: int = 0
    poisoned: int = 0
    # Another process drains this workspace, or there was nothing due.
    idle: bool = False
    # Of the request behind it, when there was exactly one.
    request_id: str | None = None

    def plus(self, other: Outcome) -> Outcome:
        """Both together."""
        return Outcome(
            marks=self.marks + other.marks,
            judged=self.judged + other.judged,
            moves=self.moves + other.moves,
            seats=self.seats + other.seats,
            statements=self.statements + other.statements,
            poisoned=self.poisoned + other.poisoned,
            idle=self.idle and other.idle,
            request_id=self.request_id or other.request_id,
        )


@dataclass(frozen=True, slots=True)
class Done:
    """What was written for a selection; `spoiled` are those that could not be judged, with customer and error."""

    judged: int = 0
    moves: int = 0
    seats: int = 0
    spoiled: dict[bytes, tuple[bytes, Exception | None]] = field(default_factory=dict)

    def plus(self, other: Done) -> Done:
        """Both together."""
        return Done(
            self.judged + other.judged,
            self.moves + other.moves,
            self.seats + other.seats,
            self.spoiled | other.spoiled,
        )


async def drain(context: Context, workspace_id: UUID) -> Outcome:
    """Judges what is marked in a workspace: up to one batch of marks, or one part of a whole re-score.

    One transaction: whatever ends it early has changed nothing, and the marks stand. When what it was given can't be
    judged it is taken again in halves, until the mark that spoils it stands alone and is put aside.
    """
    started = time.perf_counter()
    try:
        outcome = await _drain(context, workspace_id)
    except BaseException:
        telemetry.DRAIN_TIME.labels(outcome="failed").observe(time.perf_counter() - started)
        raise
    seconds = time.perf_counter() - started
    if not outcome.idle:
        telemetry.DRAIN_TIME.labels(outcome="done").observe(seconds)
        log.info(
            "drained",
            workspace_id=str(workspace_id),
            request_id=outcome.request_id,
            marks=outcome.marks,
            judged=outcome.judged,
            moves=outcome.moves,
            seats=outcome.seats,
            milliseconds=round(seconds * 1000, 1),
        )
    return outcome


async def _drain(context: Context, workspace_id: UUID) -> Outcome:
    try:
        return await _once(context, workspace_id)
    except Spoiled as spoiled:
        return await _isolate(context, workspace_id, spoiled)


async def _isolate(context: Context, workspace_id: UUID, spoiled: Spoiled) -> Outcome:
    """Does what can be done of a plan that failed as a whole, and puts the rest aside."""
    outcome = Outcome()
    pending = [spoiled.plan]
    while pending:
        plan = pending.pop()
        halves = plan.halves()
        if not halves:
            log.error("mark_put_aside", workspace_id=str(workspace_id), plan=str(plan), exc_info=spoiled.__cause__)
            _PUT_ASIDE.inc()
            await _put_aside(context, workspace_id, plan)
            outcome = outcome.plus(Outcome(marks=len(plan.marks), poisoned=1))
            continue
        for half in halves:
            try:
                outcome = outcome.plus(await _once(context, workspace_id, half))
            except Spoiled as again:
                spoiled = again
                pending.append(half)
    return outcome


async def _put_aside(context: Context, workspace_id: UUID, plan: Plan) -> None:
    async with context.database.transaction(workspace_id, context.clock.now()) as tx:
        if await marks.lock(tx) is None:
            return
        if plan.cursor is None:
            await marks.postpone(tx, plan.marks, context.settings.poison_seconds)
        else:
            await marks.move_cursor(tx, plan.cursor)


async def _once(context: Context, workspace_id: UUID, given: Plan | None = None) -> Outcome:
    """One transaction. Raises `Spoiled` when what it was given can't be judged."""
    plan: Plan | None = None
    try:
        async with context.database.transaction(workspace_id, context.clock.now()) as tx:
            await tx.connection.execute(CREATE_TABLES)
            cursor = await marks.lock(tx)
            if cursor is None:
                return Outcome(idle=True)
            workspace = await read_workspace(tx, tx.now)
            plan = given or await make_plan(tx, context.settings, cursor)
            if plan is None or workspace is None:
                return Outcome(idle=True)
            outcome = await _do(context, tx, workspace, plan)
            if context.before_commit is not None:
                context.before_commit()
    except SPOILS as error:
        if plan is None:
            raise
        raise Spoiled(plan) from error
    context.models_written.add(workspace_id)
    _count(outcome, plan.marks)
    return outcome


async def _do(context: Context, tx: Tx, workspace: Workspace, plan: Plan) -> Outcome:
    """Does a plan and takes away its marks. `tx` holds the lock of the workspace until then."""
    if workspace.id not in context.models_written:
        await store.write_model(tx, workspace)
    usual = await _usual(context, tx, workspace)
    shares = plan.shares(context.settings.rescore_shares)
    if len(shares) == 1:
        done = await _apply(context, tx, workspace, usual, plan.marks, shares[0])
    else:
        # Each share is a transaction of its own. Should one be lost, the cursor has not moved: all are done again.
        found = await asyncio.gather(
            *(_share(context, workspace, usual, plan.marks, share) for share in shares), return_exceptions=True
        )
        done = Done()
        for result in found:
            if isinstance(result, BaseException):
                raise result
            done = done.plus(result)
    aside = spoiled_marks(done.spoiled, plan.marks)
    for key, (_, error) in done.spoiled.items():
        _PUT_ASIDE.inc()
        log.error(
            "opportunity_not_judged",
            workspace_id=str(workspace.id),
            opportunity_id=str(UUID(bytes=key)),
            exc_info=error,
        )
    # Marks come last, so that a request that marks the same subject waits for a commit and for nothing else.
    if aside:
        await marks.postpone(tx, aside, context.settings.poison_seconds)
    if plan.cursor is not None:
        await marks.move_cursor(tx, plan.cursor)
    finished = [mark for mark in plan.finished if mark not in aside]
    if finished:
        await marks.delete(tx, finished)
    requests = {mark.cause.get("request_id") for mark in plan.marks}
    return Outcome(
        marks=len(plan.marks),
        judged=done.judged,
        moves=done.moves,
        seats=done.seats,
        statements=tx.statements,
        poisoned=len(done.spoiled),
        request_id=requests.pop() if len(requests) == 1 else None,
    )


async def _share(
    context: Context, workspace: Workspace, usual: Usual, taken: list[Taken], selection: Selection
) -> Done:
    async with context.database.transaction(workspace.id, workspace.now) as tx:
        await tx.connection.execute(CREATE_TABLES)
        return await _apply(context, tx, workspace, usual, taken, selection)


async def _apply(
    context: Context,
    tx: Tx,
    workspace: Workspace,
    usual: Usual,
    taken: list[Taken],
    selection: Selection,
) -> Done:
    """Gathers, decides and writes what a selection comes to."""
    batch = await gather(tx, workspace, selection, usual.medians, usual.experience, context.judge)
    ranking = await rank_batch(tx, batch)
    scores = scores_of(batch)
    causes = causes_of(batch, ranking, taken)
    if scores is not None:
        await store.write_scores(tx, workspace, scores)
    await store.delete_scores(tx, batch.outcome_known)
    seats = await store.write_seats(tx, ranking)
    await store.write_events(tx, workspace, scores, ranking, causes)
    await store.write_loads(tx, workspace, ranking.loads)
    return Done(len(batch.facts), len(ranking.moves), seats, batch.spoiled)


async def _usual(context: Context, tx: Tx, workspace: Workspace) -> Usual:
    """What is usual in the workspace, not older than the settings say."""
    known = context.usual.get(workspace.id)
    if known is not None and time.monotonic() - known[0] < context.settings.medians_seconds:
        return known[1]
    medians = medians_of(await snapshots.read_median_facts(tx, workspace), workspace.policy, workspace.now_days)
    usual = Usual(medians, await snapshots.read_experience(tx))
    context.usual[workspace.id] = (time.monotonic(), usual)
    return usual


def _count(outcome: Outcome, taken: list[Taken]) -> None:
    telemetry.JUDGED.inc(outcome.judged)
    telemetry.MOVED.inc(outcome.moves)
    for mark in taken:
        if mark.lane == INTERACTIVE:
            telemetry.QUEUE_TIME.observe(max(mark.waited, 0.0))
