"""Writing a batch: its rows are copied into staging tables, carried over and told of, and counted as they are.

A statement that does less than it was given must not go unseen: what is counted as imported is in the database.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from services.api.fields import sort_key
from services.api.imports import staging, telling
from services.api.imports.course import Process, Step
from services.api.imports.job import Job
from services.api.imports.kinds import Kind
from services.api.imports.plan import Parsed
from services.api.imports.records import HEAD, Teller, make_ids, make_stander
from services.api.imports.references import Made
from shared.db import Row, Tx

_ROUND = list(staging.STEPS).index("round")


class Unwritten(Exception):
    """A statement has written fewer rows, or more, than it was given: nothing of the batch may be kept."""


def check_count(what: str, count: int, expected: int) -> None:
    if count != expected:
        raise Unwritten(f"{what}: {count} rows where {expected} were given")


async def make(tx: Tx, job: Job, kind: Kind, made: list[Made]) -> None:
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
    await _insert(tx, job, kind, columns, len(made))


async def write(
    tx: Tx,
    job: Job,
    rows: list[Parsed],
    existing: dict[str, Row],
    process: Process | None,
    steps: dict[str, list[Step]],
    old: int,
) -> int:
    """Writes the rows, of which `old` were there before, and tells of them; how many are in the database for certain.

    Raises Unwritten where a statement did not do what it was given.
    """
    kind = job.plan.kind
    columns = _columns_of(job, rows)
    records, recorded = _records(job, rows, columns, existing, process, steps, tx.now)
    await _stage(tx, kind, columns, records)
    if process is not None:
        await stage_steps(tx, recorded)
    new = len(rows) - old
    if new:
        await _insert(tx, job, kind, columns, new)
        if job.mapping.contacts is not None:
            await _insert_contacts(tx, rows, records, existing)
    if old:
        await _update(tx, job, kind, columns, [step for step in recorded if not step[3]], old)
    return new + old


async def _insert(tx: Tx, job: Job, kind: Kind, columns: tuple[str, ...], new: int) -> None:
    """Writes the staged rows that are new, and tells of them."""
    check_count(f"{kind.name} made", await tx.run(staging.insert_new(kind, columns), **job.values, now=tx.now), new)
    check_count(f"{kind.name} told", await tx.run(telling.tell_new(kind), **job.values, now=tx.now), new)


async def _insert_contacts(
    tx: Tx, rows: list[Parsed], records: list[tuple[Any, ...]], existing: dict[str, Row]
) -> None:
    """Who took part in the interactions that are new."""
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
    check_count("contacts named", await tx.run(staging.INSERT_CONTACTS), len(took_part))


async def _update(
    tx: Tx, job: Job, kind: Kind, columns: tuple[str, ...], moved: list[tuple[Any, ...]], old: int
) -> None:
    """Changes the staged rows that were there before, records what moved, and tells of both."""
    values = {**job.values, "now": tx.now}
    changing = columns if "occurred_at" in job.plan.columns() else columns[:-1]
    hidden = tuple(sorted(kind.hidden(guarded=True)))
    known = await tx.value(staging.update_changed(kind, changing, hidden), now=tx.now)
    check_count(f"{kind.name} known", known, old)
    if moved:
        await record_steps(tx, values, moved)
    await tx.run(telling.tell_changed(kind), **values)


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
                    int(step.action != "reopen"),
                    None,
                )
            )
    return records, recorded


async def _stage(tx: Tx, kind: Kind, columns: tuple[str, ...], records: list[tuple[Any, ...]]) -> None:
    """Copies records into the kind's staging table, which is emptied first."""
    table = staging.stage_table(kind)
    tx.statements += 1
    tail = tuple(staging.STANDING) if kind.name == "opportunities" else ()
    await tx.connection.copy_records_to_table(table, records=records, columns=[*HEAD, *columns, *tail])


async def record_steps(tx: Tx, values: dict[str, Any], staged: list[tuple[Any, ...]]) -> None:
    """Records the staged transitions of opportunities that were there before, round after round, and tells of them."""
    recorded = 0
    for number in sorted({step[_ROUND] for step in staged}):
        recorded += await tx.run(staging.RECORD_STEPS, round=number, **values)
    check_count("transitions", recorded, len(staged))
    await tx.run(telling.TELL_STEPS, **values)


async def stage_steps(tx: Tx, recorded: list[tuple[Any, ...]]) -> None:
    tx.statements += 1
    await tx.connection.copy_records_to_table("import_steps", records=recorded, columns=list(staging.STEPS))
