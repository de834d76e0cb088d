"""One batch of an import: what its rows name is found, what they say is decided and written, set-based.

All of it is part of the caller's transaction. Rows that can't be imported keep their errors and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from services.api.errors import wrong
from services.api.imports import doubles, history, processes, staging, telling, writing
from services.api.imports.conversions import Wrong
from services.api.imports.course import NEW, Present, Process, Step, decide
from services.api.imports.doubles import SUBJECTS
from services.api.imports.job import Job
from services.api.imports.kinds import CUSTOMER_KIND, PRODUCTS, TRANSITIONS, Kind
from services.api.imports.line import Turn
from services.api.imports.parts import Attempt
from services.api.imports.plan import Parsed
from services.api.imports.reach import within
from services.api.imports.references import References
from shared.db import Query, Row, Tx, sql
from shared.outbox import write_effects

_STANDING = """
  , t.status, t.stage_id, t.stage_position, t.closed_at, t.completed_at, t.process_id, (
    SELECT jsonb_object_agg(s.position, jsonb_build_array(p.id, p.occurred_at)) FROM sales.transitions p
    JOIN sales.stages s ON s.workspace_id = p.workspace_id AND s.id = p.stage_id
    WHERE p.workspace_id = t.workspace_id AND p.opportunity_id = t.id AND p.action = 'pass' AND NOT EXISTS (
      SELECT FROM sales.transitions c WHERE c.workspace_id = p.workspace_id AND c.passage_id = p.id)) AS passages"""


@lru_cache(maxsize=16)
def _existing(kind: Kind) -> Query:
    columns = ", ".join(f"t.{name}" for name in ("id", "external_id", *kind.references))
    more = _STANDING if kind.name == "opportunities" else ""
    if kind.name in SUBJECTS:
        more = (
            ", EXISTS (SELECT FROM sales.merges m WHERE m.workspace_id = t.workspace_id"
            f" AND m.kind = '{kind.subject}' AND m.from_id = t.id AND m.undone_at IS NULL) AS merged"
        )
    return sql(
        f"SELECT {columns}{more} FROM sales.{kind.name} t WHERE t.workspace_id = :workspace_id"
        " AND t.external_source = :source AND t.external_id = ANY(CAST(:keys AS text[]))"
        " ORDER BY t.id FOR UPDATE OF t"
    )


async def apply(
    tx: Tx, job: Job, references: References, rows: list[Parsed], process: Process | None, turn: Turn
) -> int:
    """Imports the rows that have no errors; afterwards those that still have none are in the database.

    The number of these, as the database counts them. No two rows may have the same key. Raises what the database
    raises where it refuses a row nobody suspected, and Unwritten.
    """
    await tx.connection.execute(staging.PREPARE)
    kind = job.plan.kind
    if kind is TRANSITIONS:
        return await history.apply(tx, job, rows, turn)
    hopeful = [row for row in rows if not row.errors]
    if not hopeful:
        await turn.come()
        return 0
    found = await tx.rows(_existing(kind), source=job.mapping.source, keys=[row.key for row in hopeful])
    existing = {row["external_id"]: row for row in found}
    seen = await within(tx, job.actor, kind.table, (row["id"] for row in found))
    if process is not None:
        job.processes[process.id] = process
        await processes.load(tx, job.processes, (row["process_id"] for row in found))
    steps: dict[str, list[Step]] = {}

    def judge(row: Parsed) -> None:
        present = existing.get(row.key)
        if present is not None:
            _check_present(job, kind, row, present, is_seen=present["id"] in seen)
        if process is not None and not row.errors:
            steps[row.key] = _steps(job, row, present, process, tx.now)

    left = hopeful
    while left:
        left = await _decide(tx, job, references, left, existing, judge, turn if process is job.process else None)
    good = [row for row in hopeful if not row.errors]
    await references.make_members(tx)
    await writing.make(tx, job, CUSTOMER_KIND, references.new_customers)
    await writing.make(tx, job, PRODUCTS, references.new_products)
    # What is there already may be refused: only of the good rows can it be said which are new.
    old = sum(row.key in existing for row in good)
    written = await writing.write(tx, job, good, existing, process, steps, old) if good else 0
    await turn.come()
    # Marks come last, and batch after batch: what two batches both touch is never waited for with other locks held.
    marks = telling.mark(kind, any_old=old > 0, any_made=bool(references.new_customers))
    if marks is not None and (good or references.new_customers):
        await tx.run(marks, request_id=job.request_id)
    await write_effects(tx, actor_id=job.actor_id, request_id=job.request_id)
    return written


async def _decide(
    tx: Tx,
    job: Job,
    references: References,
    rows: list[Parsed],
    existing: dict[str, Row],
    judge: Callable[[Parsed], None],
    turn: Turn | None,
) -> list[Parsed]:
    """Finds what the rows name and what is wrong with them; gives those for which that has to be done again.

    These are the others where one that has made something is refused as a twin: they may not find that. `turn` is told
    when nothing was made.
    """
    attempt = Attempt(rows)
    judged = await references.resolve(tx, rows, existing, judge)
    if turn is not None and not references.has_made:
        references.keep(made=False)
        turn.found()
    for row in rows:
        if row.number not in judged:
            judge(row)
    twins = await _twins(tx, job, [row for row in rows if not row.errors and row.key not in existing])
    if references.makers.keys().isdisjoint(twins):
        return []
    told = [(row, row.errors[:]) for row in rows if row.number in twins]
    attempt.undo()
    for row, errors in told:
        row.errors[:] = errors
    return [row for row in rows if row.number not in twins]


async def _twins(tx: Tx, job: Job, fresh: list[Parsed]) -> set[int]:
    """Looks for twins of new rows; the numbers of those that are refused for theirs."""
    if job.mapping.duplicates != "keep":
        await doubles.look(tx, job.actor, job.plan.kind.name, fresh, skip=job.mapping.duplicates == "skip")
    return {row.number for row in fresh if row.errors}


def _check_present(job: Job, kind: Kind, row: Parsed, present: Row, *, is_seen: bool) -> None:
    """What a row may not do to the record that is there."""
    if not is_seen:
        words = "The record belongs to somebody outside your team."
        row.errors.append(wrong(job.plan.key_pointer, "out_of_reach", words))
    elif present.get("merged"):
        words = "The record was merged into another one: change that one, or undo the merge."
        row.errors.append(wrong(job.plan.key_pointer, "already_merged", words))
    else:
        _check_fixed(job, kind, row, present)


def _check_fixed(job: Job, kind: Kind, row: Parsed, present: Row) -> None:
    """An import hands nothing over and moves nothing to another customer: other calls do that, with a reason."""
    pointers = job.plan.pointers
    owned = "owner_id" in kind.references
    for column in (*kind.fixed, *(("owner_id",) if owned else ())):
        given = row.values.get(column)
        if given is not None and given != present[column]:
            name = column.removesuffix("_id")
            words = f"The record has another {name}, which an import does not change."
            row.errors.append(wrong(pointers.get(name, f"/{name}"), "immutable", words))


def _steps(job: Job, row: Parsed, present: Row | None, process: Process, now: datetime) -> list[Step]:
    """The transitions of a row; none, and an error of the row, where they are not allowed."""
    if row.wanted is None:
        return []
    opened = row.values.get("occurred_at")
    try:
        if present is None:
            steps = decide(process, NEW, row.wanted, opened, now, job.reopen)
            if opened is None:
                row.values["occurred_at"] = min((step.occurred_at for step in steps), default=now)
            return steps
        standing = Present(
            present["status"],
            present["stage_position"],
            present["closed_at"],
            present["completed_at"] is not None,
            {
                int(position): (UUID(id_), datetime.fromisoformat(at))
                for position, (id_, at) in (present["passages"] or {}).items()
            },
        )
        return decide(job.processes[present["process_id"]], standing, row.wanted, None, now, job.reopen)
    except Wrong as error:
        row.errors.append(wrong(job.plan.stage_pointer, error.code, f"The row {error.message}."))
        return []
