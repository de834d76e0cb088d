"""A batch of a history: what happened to opportunities that are there, a row a transition.

A row is known again by its key: the last 48 bits of the id under which it is recorded are a digest of source and key,
looked for among the transitions of its own opportunity.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

from services.api.errors import wrong
from services.api.imports import processes, staging, telling, writing
from services.api.imports.conversions import Wrong
from services.api.imports.course import Process, Stage
from services.api.imports.job import Job
from services.api.imports.kinds import KINDS
from services.api.imports.line import Turn
from services.api.imports.past import BY_MANAGERS, OF_A_STAGE, Past, Said, WrongIn
from services.api.imports.plan import Parsed
from services.api.imports.reach import within
from services.api.imports.records import make_ids
from services.api.imports.references import plain
from shared.db import Row, Tx, sql
from shared.ids import new_id
from shared.models import opportunities
from shared.outbox import write_effects

# With everything that ever happened to each: (id, action, stage, when, passage withdrawn, when recorded).
STANDING = sql(
    "SELECT o.id, o.external_id, o.process_id, o.status, o.occurred_at, o.closed_at, o.close_reason, o.deleted_at,"
    " c.deleted_at AS customer_deleted_at, ("
    "   SELECT jsonb_agg(jsonb_build_array(t.id, t.action, t.stage_id, t.occurred_at, t.passage_id, t.recorded_at)"
    "     ORDER BY t.recorded_at, t.id)"
    "   FROM sales.transitions t WHERE t.workspace_id = o.workspace_id AND t.opportunity_id = o.id) AS history"
    " FROM sales.opportunities o JOIN sales.customers c ON c.workspace_id = o.workspace_id AND c.id = o.customer_id"
    " WHERE o.workspace_id = :workspace_id AND o.external_source = :source"
    "   AND o.external_id = ANY(CAST(:keys AS text[])) ORDER BY o.id FOR UPDATE OF o"
)
_DIGEST_BITS = 48
_DIGEST = (1 << _DIGEST_BITS) - 1
_COUNTED_BITS = 14


def digest_of(source: str, key: str) -> int:
    return int.from_bytes(blake2b(f"{source}\0{key}".encode(), digest_size=_DIGEST_BITS // 8).digest(), "big")


def make_known_ids() -> Callable[[int], UUID]:
    """Ids of version 7 that count up, so that rows keep their order, each ending in the digest it is given."""
    first = new_id().int
    stamp = first >> 80
    # A random beginning in the lower half of the 26 bits before the digest; the upper half is room to count.
    count = (first >> _DIGEST_BITS) & ((1 << _COUNTED_BITS) - 1) | ((first >> 64) & 0x7FF) << _COUNTED_BITS

    def make(digest: int) -> UUID:
        nonlocal count
        count += 1
        high = 0x7000 | count >> _COUNTED_BITS
        low = 0b10 << 62 | (count & ((1 << _COUNTED_BITS) - 1)) << _DIGEST_BITS | digest
        return UUID(int=stamp << 80 | high << 64 | low)

    return make


async def apply(tx: Tx, job: Job, rows: list[Parsed], turn: Turn) -> int:
    """Records the rows that have no errors; how many of them are recorded now. The rest is as for `batch.apply`."""
    hopeful = [row for row in rows if not row.errors]
    staged = _staged(tx, job, hopeful, await _pasts(tx, job, hopeful))
    if staged:
        await writing.stage_steps(tx, staged)
        await writing.record_steps(tx, {**job.values, "now": tx.now}, staged)
    turn.found()
    await turn.come()
    if staged:
        await _mark(tx, job, staged)
    await write_effects(tx, actor_id=job.actor_id, request_id=job.request_id)
    return sum(not row.errors for row in rows)


async def _pasts(tx: Tx, job: Job, rows: list[Parsed]) -> dict[str, Past]:
    """The opportunities that rows name and may change, each as it stands; the others' rows get errors."""
    keys = {named.key for row in rows if (named := row.references["opportunity"]) and named.key}
    reference = job.mapping.opportunity
    source = (reference and reference.source) or job.mapping.source
    found = {row["external_id"]: row for row in await tx.rows(STANDING, source=source, keys=list(keys))}
    seen = await within(tx, job.actor, opportunities, (row["id"] for row in found.values()))
    await processes.load(tx, job.processes, (row["process_id"] for row in found.values()))
    for row in rows:
        named = row.references["opportunity"]
        match = found.get(named.key or "") if named else None
        if named is None:
            _complain(job, row, WrongIn("opportunity", "required", "names no opportunity"))
        elif match is None:
            _complain(
                job, row, WrongIn("opportunity", "unknown_reference", f"names “{named.key}”, which is no opportunity")
            )
        elif match["id"] not in seen:
            words = f"names “{named.key}”, an opportunity of somebody outside your team"
            _complain(job, row, WrongIn("opportunity", "out_of_reach", words))
        elif match["deleted_at"] is not None:
            _complain(
                job, row, WrongIn("opportunity", "deleted_reference", f"names “{named.key}”, a deleted opportunity")
            )
    return {key: _past(row, job.processes[row["process_id"]]) for key, row in found.items()}


def _past(row: Row, process: Process) -> Past:
    past = Past(
        plain(row["id"]), process, row["status"], row["occurred_at"], row["closed_at"], row["close_reason"],
        customer_is_deleted=row["customer_deleted_at"] is not None,
    )  # fmt: skip
    stages = {str(stage.id): stage for stage in process.stages}
    standing: dict[str, tuple[int, tuple[UUID, datetime, datetime]]] = {}
    for id_, action, stage_id, at, passage_id, recorded_at in row["history"] or ():
        stage, happened = stages.get(stage_id), datetime.fromisoformat(at)
        past.known[UUID(id_).int & _DIGEST] = (action, stage.id if stage else None, happened)
        past.latest = max(past.latest or happened, happened)
        if action == "pass" and stage is not None:
            standing[id_] = (stage.position, (UUID(id_), happened, datetime.fromisoformat(recorded_at)))
        standing.pop(passage_id or "", None)
    past.passages = dict(standing.values())
    return past


def _staged(tx: Tx, job: Job, rows: list[Parsed], pasts: dict[str, Past]) -> list[tuple[Any, ...]]:
    """The staging table's records of what is new; what may not be is an error of its row."""
    make_id, events = make_known_ids(), make_ids()
    rounds: dict[UUID, tuple[int, str]] = {}
    staged: list[tuple[Any, ...]] = []
    for row in rows:
        named = row.references["opportunity"]
        if row.errors or named is None:
            continue
        past = pasts[named.key or ""]
        before, id_ = past.stage_id, make_id(digest_of(job.mapping.source, row.key))
        try:
            said = _said(job, row, past.process)
            if _is_known(past, said, id_):
                continue
            passage_id = past.take(said, id_, tx.now, job.reopen)
        except Wrong as error:
            _complain(job, row, error)
            continue
        past.known[id_.int & _DIGEST] = said.content
        # The database judges a statement's rows by what stood before it: only what is alike goes together.
        number, action = rounds.get(past.id, (0, said.action))
        number += action != said.action
        rounds[past.id] = (number, said.action)
        stage_id = said.stage.id if said.stage else None
        staged.append(
            (id_, next(events), past.id, False, said.action, stage_id, passage_id, said.reason, said.occurred_at,
             before, number, row.values.get("note"))
        )  # fmt: skip
    return staged


def _said(job: Job, row: Parsed, process: Process) -> Said:
    action, key = row.values["action"], row.values.get("stage_key")
    if action in BY_MANAGERS and job.actor.role not in {"manager", "admin"}:
        raise WrongIn("action", "forbidden", "is one that only a manager may record")
    stage: Stage | None = None
    if action in OF_A_STAGE:
        stage = process.stage(key) if key else None
        if key and stage is None:
            raise WrongIn("stage_key", "unknown_reference", f"names the stage {key}, which the process does not have")
    return Said(action, row.values["occurred_at"], stage, row.values.get("reason"))


def _is_known(past: Past, said: Said, id_: UUID) -> bool:
    """Whether this very row was recorded before, or what it says stands already."""
    known = past.known.get(id_.int & _DIGEST)
    if known is None:
        return past.stands(said)
    if known != said.content:
        words = "says something else than when it was recorded: what happened is not changed"
        raise WrongIn("external_id", "immutable", words)
    return True


def _complain(job: Job, row: Parsed, error: Wrong) -> None:
    pointer = job.plan.pointer_of(error.name if isinstance(error, WrongIn) else "action")
    row.errors.append(wrong(pointer, error.code, f"The row {error.message}."))


async def _mark(tx: Tx, job: Job, staged: list[tuple[Any, ...]]) -> None:
    """Has the opportunities that moved judged again, and their customers."""
    kind = KINDS["opportunities"]
    moved = {step[2]: (step[2], step[1], False, True) for step in staged}
    tx.statements += 1
    await tx.connection.copy_records_to_table(
        staging.stage_table(kind), records=list(moved.values()), columns=["id", "event_id", "is_new", "moved"]
    )
    marks = telling.mark(kind, any_old=True, any_made=False)
    assert marks is not None  # noqa: S101 - opportunities are judged
    await tx.run(marks, request_id=job.request_id)
