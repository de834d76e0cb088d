"""One batch of an import: what its rows name is found, what they say is decided and written, set-based.

All of it is part of the caller's transaction. Rows that can't be imported keep their errors and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from services.api.errors import wrong
from services.api.fields import sort_key
from services.api.imports import doubles, staging, telling
from services.api.imports.course import NEW, Present, Process, Stage, Step, decide
from services.api.imports.doubles import SUBJECTS
from services.api.imports.kinds import CUSTOMER_KIND, PRODUCTS, Kind
from services.api.imports.line import Turn
from services.api.imports.mapping import Mapping
from services.api.imports.plan import Parsed, Plan
from services.api.imports.reach import within
from services.api.imports.records import HEAD, Teller, make_ids, make_stander
from services.api.imports.references import Made, References, plain
from services.api.imports.values import Wrong
from shared.db import Query, Row, Tx, sql
from shared.outbox import write_effects
from shared.tenancy import Principal

STAGES = sql(
    "SELECT process_id, id, key, position, irreversible, wins, milestone_en FROM sales.stages"
    " WHERE workspace_id = :workspace_id AND process_id = ANY(CAST(:ids AS uuid[])) ORDER BY process_id, position"
)
_STANDING = """
  , t.status, t.stage_id, t.stage_position, t.closed_at, t.completed_at, t.process_id, (
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
    # Known since a commit, unlike one that a batch under way makes.
    process: Process | None = None
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
            "source": self.mapping.source,
        }


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
) -> None:
    """Imports the rows that have no errors; afterwards those that still have none are in the database.

    No two rows may have the same key. Raises what the database raises where it refuses a row nobody suspected.
    """
    await tx.connection.execute(staging.PREPARE)
    kind = job.plan.kind
    hopeful = [row for row in rows if not row.errors]
    if not hopeful:
        await turn.come()
        return
    found = await tx.rows(_existing(kind), source=job.mapping.source, keys=[row.key for row in hopeful])
    existing = {row["external_id"]: row for row in found}
    await references.resolve(tx, hopeful, existing)
    seen = await within(tx, job.actor, kind.table, (row["id"] for row in found))
    if not references.has_made and process is job.process:
        references.keep(made=False)
        turn.found()
    if existing:
        _check_present(job, kind, hopeful, existing, seen)
    steps: dict[str, list[Step]] = {}
    if process is not None:
        await _load_processes(tx, job, process, found)
        for row in hopeful:
            if not row.errors:
                steps[row.key] = _steps(job, row, existing.get(row.key), process, tx.now)
    if job.mapping.duplicates != "keep":
        fresh = [row for row in hopeful if not row.errors and row.key not in existing]
        await doubles.look(tx, job.actor, kind.name, fresh, skip=job.mapping.duplicates == "skip")
    good = [row for row in hopeful if not row.errors]
    await _make(tx, job, CUSTOMER_KIND, references.new_customers)
    await _make(tx, job, PRODUCTS, references.new_products)
    any_old = bool(good) and await _write(tx, job, good, existing, process, steps)
    await turn.come()
    # Marks come last, and batch after batch: what two batches both touch is never waited for with other locks held.
    marks = telling.mark(kind, any_old=any_old, any_made=bool(references.new_customers))
    if marks is not None and (good or references.new_customers):
        await tx.run(marks, request_id=job.request_id)
    await write_effects(tx, actor_id=job.actor_id, request_id=job.request_id)


def _check_present(job: Job, kind: Kind, rows: list[Parsed], existing: dict[str, Row], seen: Collection[UUID]) -> None:
    """What a row may not do to the record that is there."""
    for row in rows:
        present = existing.get(row.key)
        if present is None:
            continue
        if present["id"] not in seen:
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
            Stage(plain(row["id"]), row["key"], row["position"], row["irreversible"], row["wins"], row["milestone_en"])
        )
    return {process_id: Process(plain(process_id), tuple(each)) for process_id, each in stages.items()}


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
    dated = "occurred_at" in staging.staged_columns(kind)
    columns = (*names, "occurred_at") if dated else names
    teller = Teller(kind, columns, job.mapping.source, tx.now, str(job.id))
    ids, records = make_ids(), []
    for each in made:
        values = {**each.values, "occurred_at": each.occurred_at} if dated else each.values
        if dated and each.occurred_at is None:
            values["occurred_at"] = tx.now
        changes, data = teller.tell(each.id, each.key, values, None)
        head = (each.id, next(ids), next(ids), each.key, True, False, changes, None, data, each.values.get("sort_key"))
        records.append((*head, *(values[name] for name in columns)))
    await _stage(tx, kind, columns, records)
    await tx.run(staging.insert_new(kind, columns), **job.values, now=tx.now)
    await tx.run(telling.tell_new(kind), **job.values, now=tx.now)


async def _write(
    tx: Tx,
    job: Job,
    rows: list[Parsed],
    existing: dict[str, Row],
    process: Process | None,
    steps: dict[str, list[Step]],
) -> bool:
    """Writes the rows and tells of them; whether any of them was there before."""
    kind = job.plan.kind
    columns = _columns_of(job, rows)
    records, recorded = _records(job, rows, columns, existing, process, steps, tx.now)
    await _stage(tx, kind, columns, records)
    if process is not None:
        await _stage_steps(tx, recorded)
    values = {**job.values, "now": tx.now}
    if len(existing) < len(rows):
        await tx.run(staging.insert_new(kind, columns), **values)
        if job.mapping.contacts is not None:
            took_part = [
                (record[0], contact_id)
                for row, record in zip(rows, records, strict=True)
                if row.key not in existing
                for contact_id in dict.fromkeys(row.contact_ids)
            ]
            tx.statements += 1
            await tx.connection.copy_records_to_table(
                "import_contacts_of", records=took_part, columns=["interaction_id", "contact_id"]
            )
            await tx.run(staging.INSERT_CONTACTS)
        await tx.run(telling.tell_new(kind), **values)
    any_old = any(row.key in existing for row in rows) if existing else False
    if any_old:
        changing = columns if "occurred_at" in job.plan.columns() else columns[:-1]
        hidden = tuple(sorted(kind.hidden(guarded=True)))
        await tx.run(staging.update_changed(kind, changing, hidden), now=tx.now)
        moved = [step for step in recorded if not step[3]]
        for reopenings in (True, False):
            if any((step[4] == "reopen") is reopenings for step in moved):
                await tx.run(staging.RECORD_STEPS, reopenings=reopenings, **values)
        if moved:
            await tx.run(telling.TELL_STEPS, **values)
        await tx.run(telling.tell_changed(kind), **values)
    return any_old


def _columns_of(job: Job, rows: list[Parsed]) -> tuple[str, ...]:
    references = tuple(name for name in job.plan.kind.references if name in rows[0].values)
    return tuple(dict.fromkeys((*job.plan.columns(), *references, "occurred_at")))


def _records(
    job: Job,
    rows: list[Parsed],
    columns: tuple[str, ...],
    existing: dict[str, Row],
    process: Process | None,
    steps: dict[str, list[Step]],
    now: datetime,
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The staging tables' records: one a row, and one a transition."""
    kind = job.plan.kind
    teller = Teller(kind, columns, job.mapping.source, now, str(job.id))
    stand = make_stander(process) if process is not None else None
    ids = make_ids()
    records, recorded = [], []
    none = (None,) * len(staging.STANDING)
    for row in rows:
        values, key = row.values, row.key
        present = existing.get(key) if existing else None
        is_new = present is None
        id_ = next(ids) if present is None else present["id"]
        taken = steps.get(key, ())
        changes = data = standing = None
        if is_new:
            if values.get("occurred_at") is None:
                values["occurred_at"] = now
            if stand is not None:
                standing = stand(values["occurred_at"], taken)
            changes, data = teller.tell(id_, key, values, standing, row.contact_ids)
        attributes = orjson.dumps(row.attributes).decode() if row.attributes else None
        name = values.get("name") if kind.has_sort_key else None
        sorting = (name.lower()[:400] if name.isascii() else sort_key(name)) if name else None
        moved = bool(taken) and not is_new
        record = [id_, next(ids), next(ids), key, is_new, moved, changes, attributes, data, sorting]
        record += [values.get(column) for column in columns]
        if stand is not None:
            record += none if standing is None else standing.values()
        records.append(tuple(record))
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
                    None if present is None else present["stage_id"],
                )
            )
    return records, recorded


async def _stage(tx: Tx, kind: Kind, columns: tuple[str, ...], records: list[tuple[Any, ...]]) -> None:
    """Copies records into the kind's staging table, which is emptied first."""
    table = staging.stage_table(kind)
    tx.statements += 1
    tail = tuple(staging.STANDING) if kind.name == "opportunities" else ()
    await tx.connection.copy_records_to_table(table, records=records, columns=[*HEAD, *columns, *tail])


async def _stage_steps(tx: Tx, recorded: list[tuple[Any, ...]]) -> None:
    tx.statements += 1
    await tx.connection.copy_records_to_table("import_steps", records=recorded, columns=list(staging.STEPS))
