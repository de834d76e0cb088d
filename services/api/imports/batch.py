"""One batch of an import: what its rows name is found, what they say is decided and written, set-based.

All of it is part of the caller's transaction. Rows that can't be imported keep their errors and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any
from uuid import UUID

import orjson

from services.api.errors import wrong
from services.api.fields import sort_key
from services.api.imports import staging
from services.api.imports.course import NEW, Present, Process, Stage, Step, decide
from services.api.imports.kinds import CUSTOMER_KIND, PRODUCTS, Kind
from services.api.imports.mapping import Mapping
from services.api.imports.plan import Parsed, Plan
from services.api.imports.reach import within
from services.api.imports.references import Made, References
from services.api.imports.values import Wrong
from shared.db import Query, Row, Tx, sql
from shared.ids import new_id
from shared.outbox import write_effects
from shared.tenancy import Principal

STAGES = sql(
    "SELECT process_id, id, key, position, irreversible, wins, milestone_en FROM sales.stages"
    " WHERE workspace_id = :workspace_id AND process_id = ANY(CAST(:ids AS uuid[])) ORDER BY process_id, position"
)
_STANDING = """
  , t.status, t.stage_position, t.closed_at, t.completed_at, t.process_id, (
    SELECT jsonb_object_agg(s.position, jsonb_build_array(p.id, p.occurred_at)) FROM sales.transitions p
    JOIN sales.stages s ON s.workspace_id = p.workspace_id AND s.id = p.stage_id
    WHERE p.workspace_id = t.workspace_id AND p.opportunity_id = t.id AND p.action = 'pass' AND NOT EXISTS (
      SELECT FROM sales.transitions c WHERE c.workspace_id = p.workspace_id AND c.passage_id = p.id)) AS passages"""


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
        }


@lru_cache(maxsize=16)
def _existing(kind: Kind) -> Query:
    columns = ", ".join(f"t.{name}" for name in ("id", "external_id", *kind.references))
    more = _STANDING if kind.name == "opportunities" else ""
    return sql(
        f"SELECT {columns}{more} FROM sales.{kind.name} t WHERE t.workspace_id = :workspace_id"
        " AND t.external_source = :source AND t.external_id = ANY(CAST(:keys AS text[]))"
        " ORDER BY t.id FOR UPDATE OF t"
    )


async def apply(tx: Tx, job: Job, rows: list[Parsed], process: Process | None) -> None:
    """Imports the rows that have no errors; afterwards those that still have none are in the database.

    No two rows may have the same key. Raises what the database raises where it refuses a row nobody suspected.
    """
    await tx.connection.execute(staging.PREPARE)
    kind = job.plan.kind
    hopeful = [row for row in rows if not row.errors]
    if not hopeful:
        return
    found = await tx.rows(_existing(kind), source=job.mapping.source, keys=[row.key for row in hopeful])
    existing = {row["external_id"]: row for row in found}
    await job.references.resolve(tx, hopeful, existing)
    seen = await within(tx, job.actor, kind.table, (row["id"] for row in found))
    for row in hopeful:
        present = existing.get(row.key)
        if present is not None and present["id"] not in seen:
            words = "The record belongs to somebody outside your team."
            row.errors.append(wrong(job.plan.key_pointer, "out_of_reach", words))
        elif present is not None:
            _check_fixed(job, kind, row, present)
    steps: dict[str, list[Step]] = {}
    if process is not None:
        await _load_processes(tx, job, process, found)
        for row in hopeful:
            if not row.errors:
                steps[row.key] = _steps(job, row, existing.get(row.key), process, tx.now)
    good = [row for row in hopeful if not row.errors]
    await _make(tx, job, CUSTOMER_KIND, job.references.new_customers)
    await _make(tx, job, PRODUCTS, job.references.new_products)
    await _write(tx, job, good, existing, process, steps)
    await write_effects(tx, actor_id=job.actor_id, request_id=job.request_id)


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


async def _load_processes(tx: Tx, job: Job, process: Process, found: Sequence[Row]) -> None:
    """The stages of every process that opportunities of this batch follow."""
    job.processes[process.id] = process
    lacking = {row["process_id"] for row in found} - job.processes.keys()
    if lacking:
        job.processes |= processes_of(await tx.rows(STAGES, ids=list(lacking)))


def processes_of(rows: Iterable[Row]) -> dict[UUID, Process]:
    stages: dict[UUID, list[Stage]] = {}
    for row in rows:
        stages.setdefault(row["process_id"], []).append(
            Stage(row["id"], row["key"], row["position"], row["irreversible"], row["wins"], row["milestone_en"])
        )
    return {process_id: Process(process_id, tuple(each)) for process_id, each in stages.items()}


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


async def _make(tx: Tx, job: Job, kind: Kind, made: list[Made]) -> None:
    """Writes records that rows name and that were not there."""
    if not made:
        return
    names = tuple(name for name in made[0].values if name != "sort_key")
    columns = (*names, "occurred_at") if "occurred_at" in staging.staged_columns(kind) else names
    records = []
    for each in made:
        changes = _created(kind, each.values)
        head = (each.id, new_id(), new_id(), job.mapping.source, each.key, True, False, changes, None)
        records.append((*head, each.values.get("sort_key"), *(each.values[name] for name in names), each.occurred_at))
    await _stage(tx, kind, columns, records)
    await tx.run(staging.insert_new(kind, columns), now=tx.now, historical=job.mapping.historical)
    await _tell(tx, job, kind)


async def _write(
    tx: Tx,
    job: Job,
    rows: list[Parsed],
    existing: dict[str, Row],
    process: Process | None,
    steps: dict[str, list[Step]],
) -> None:
    kind = job.plan.kind
    if not rows:
        return
    references = tuple(name for name in kind.references if name in rows[0].values)
    columns = tuple(dict.fromkeys((*job.plan.columns(), *references, "occurred_at")))
    ids = _ids()
    records, recorded, any_old = [], [], False
    for row in rows:
        present = existing.get(row.key)
        is_new = present is None
        any_old = any_old or not is_new
        id_ = next(ids) if present is None else present["id"]
        head = (id_, next(ids), next(ids), job.mapping.source, row.key, is_new)
        taken = steps.get(row.key, ())
        records.append(_record(job, row, head, columns, bool(taken), process))
        for step in taken:
            event_id = None if is_new else next(ids)
            stage_id = step.stage.id if step.stage else None
            recorded.append(
                (
                    next(ids),
                    event_id,
                    id_,
                    is_new,
                    step.action,
                    stage_id,
                    step.passage_id,
                    step.reason,
                    step.occurred_at,
                )
            )
    await _stage(tx, kind, columns, records, with_process=process is not None)
    await tx.run(staging.insert_new(kind, columns), now=tx.now, historical=job.mapping.historical)
    if any_old:
        changing = columns if "occurred_at" in job.plan.columns() else columns[:-1]
        hidden = tuple(sorted(kind.hidden(guarded=True)))
        await tx.run(staging.update_changed(kind, changing, hidden), now=tx.now)
    if recorded:
        await _record_steps(tx, job, recorded)
    await _tell(tx, job, kind)


def _ids() -> Iterator[UUID]:
    """New ids that count up from one made in the ordinary way: rows written together keep their order, cheaply."""
    first = new_id().int
    return (UUID(int=first + step) for step in count())


def _record(
    job: Job, row: Parsed, head: tuple[Any, ...], columns: tuple[str, ...], moved: bool, process: Process | None
) -> tuple[Any, ...]:
    kind, values, is_new = job.plan.kind, row.values, head[-1]
    changes = _created(kind, values) if is_new else None
    attributes = orjson.dumps(row.attributes).decode() if row.attributes else None
    name = values.get("name")
    key = (name.lower()[:400] if name.isascii() else sort_key(name)) if name and kind.has_sort_key else None
    facts = [values.get(column) for column in columns]
    if process is not None:
        facts += (process.id, process.stages[0].id, values.get("occurred_at"))
    return (*head, moved and not is_new, changes, attributes, key, *facts)


def _created(kind: Kind, values: dict[str, Any]) -> str:
    """What the audit trail keeps of a new row: field → [null, value], or null where the value is personal."""
    column, value = kind.guarded or ("", "")
    hidden = kind.hidden(guarded=values.get(column) == value)
    kept = {
        name: None if name in hidden else (None, value)
        for name, value in values.items()
        if value is not None and name != "sort_key"
    }
    return orjson.dumps(kept, default=str).decode()


async def _stage(
    tx: Tx, kind: Kind, columns: tuple[str, ...], records: list[tuple[Any, ...]], *, with_process: bool = False
) -> None:
    """Copies records into the kind's staging table, which is emptied first."""
    table = staging.stage_table(kind)
    tx.statements += 2
    await tx.connection.execute(f"DELETE FROM {table}")
    head = ("id", "event_id", "audit_id", "external_source", "external_id", "is_new", "moved", "changes", "attributes")
    tail = ("process_id", "stage_id", "stage_entered_at") if with_process else ()
    await tx.connection.copy_records_to_table(table, records=records, columns=[*head, "sort_key", *columns, *tail])


async def _record_steps(tx: Tx, job: Job, recorded: list[tuple[Any, ...]]) -> None:
    tx.statements += 1
    await tx.connection.copy_records_to_table("import_steps", records=recorded, columns=list(staging.STEPS))
    values = {"historical": job.mapping.historical, "now": tx.now}
    if any(step[4] == "reopen" for step in recorded):
        await tx.run(staging.RECORD_STEPS, reopenings=True, **values)
    await tx.run(staging.RECORD_STEPS, reopenings=False, **values)
    if not all(step[3] for step in recorded):
        await tx.run(
            staging.TELL_STEPS,
            actor_id=job.actor_id,
            request_id=job.request_id,
            import_id=str(job.id),
            now=tx.now,
        )


async def _tell(tx: Tx, job: Job, kind: Kind) -> None:
    await tx.run(
        staging.write_effects(kind),
        actor_id=job.actor_id,
        request_id=job.request_id,
        import_id=str(job.id),
        now=tx.now,
    )
