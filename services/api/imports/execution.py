"""The rows of an import, batch by batch: each batch, its errors and its progress are one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import IO, Any
from uuid import UUID

import asyncpg
import structlog

from services.api.attributes.values import DEFINITIONS
from services.api.imports import batch, lease, trial
from services.api.imports.course import Process
from services.api.imports.documents import check_document
from services.api.imports.job import Job
from services.api.imports.line import Line, TooEarly, Turn
from services.api.imports.mapping import Mapping
from services.api.imports.parts import Attempt, is_contested, is_of_a_row, without_doubles
from services.api.imports.plan import Parsed, Plan
from services.api.imports.processes import STAGES, processes_of
from services.api.imports.reach import find_actor
from services.api.imports.readers import Unreadable, open_source
from services.api.imports.references import References
from services.api.imports.survey import survey
from services.api.imports.writing import check_count
from services.api.jobs.settings import WorkerSettings
from services.api.processes import service as processes
from shared import telemetry
from shared.clock import Clock
from shared.db import Database, Row, Tx, sql
from shared.queue import DRAIN, SCORING_QUEUE, Nudger
from shared.tenancy import Reach

log = structlog.get_logger(__name__)

MOST_TRIES = 5
# What the first rows make (a process, members, products) all others wait for: these are few.
FIRST_BATCH = 250
SURROUNDINGS = sql(
    "SELECT w.currency, w.time_zone, (SELECT p.document -> 'reopen_days' FROM sales.policies p"
    "   WHERE p.workspace_id = w.id) AS reopen_days"
    " FROM sales.workspaces w WHERE w.id = :workspace_id"
)
PROCESS = sql(
    "SELECT id FROM sales.processes WHERE workspace_id = :workspace_id AND key = :key AND active"
    " ORDER BY edition DESC LIMIT 1"
)
CHUNKS = sql(
    "SELECT position, data FROM sales.import_chunks WHERE workspace_id = :workspace_id AND import_id = :id"
    " AND position >= :first ORDER BY position LIMIT 8"
)
ERRORS = sql(
    "INSERT INTO sales.import_errors (workspace_id, import_id, row, position, pointer, code, message)"
    " SELECT :workspace_id, :id, e.* FROM unnest(CAST(:rows AS int[]), CAST(:positions AS int[]),"
    " CAST(:pointers AS text[]), CAST(:codes AS text[]), CAST(:messages AS text[])) e"
)


@dataclass(slots=True)
class Worker:
    """What imports share within a process. `stopping` ends an import after the batch under way."""

    database: Database
    settings: WorkerSettings
    clock: Clock
    nudger: Nudger
    stopping: bool = False


class Cancelled(Exception):
    """Somebody asked for the import to end."""


class Stopped(Exception):
    """The worker ends; the import goes on elsewhere."""


class Execution:
    """The rows of one import, from the file to the database."""

    def __init__(self, worker: Worker, held: Row, file: IO[bytes]) -> None:
        self._worker = worker
        self._held = held
        self._file = file
        # For all that is logged from here on in this import's own task, its end included.
        structlog.contextvars.bind_contextvars(request_id=held["request_id"], workspace_id=str(held["workspace_id"]))
        self._mapping: Mapping = check_document(held["mapping"])
        self._row = int(held["checkpoint"].get("row", 0))
        self.has_moved = False
        self._trial: trial.Trial | None = None

    async def run(self) -> None:
        if self._held["cancel_requested"]:
            raise Cancelled
        await self._fetch()
        job = await self._prepare()
        source = await asyncio.to_thread(open_source, self._file, self._held["format"], self._mapping.file)
        rows = source.rows
        size = self._worker.settings.import_batch
        overlaps = self._overlaps(job)
        first = min(size, FIRST_BATCH) if overlaps else size
        with ExitStack() as stack:
            if self._held["dry_run"]:
                self._trial = stack.enter_context(trial.opened(job))
            # A dry run that goes on after a kill reads again what it has judged: later rows are judged against it.
            done = 0 if self._trial else self._row
            reading = asyncio.create_task(asyncio.to_thread(self._next, job.plan, rows, first, done))
            line = Line(overlaps=overlaps)
            try:
                while parsed := await reading:
                    # The next rows are read while these are written.
                    reading = asyncio.create_task(asyncio.to_thread(self._next, job.plan, rows, size))
                    # A dry run divides its batches within their transaction.
                    for part in [parsed] if self._trial else without_doubles(parsed):
                        turn = await line.enter(row.key for row in part)
                        line.begin(turn, self._import(job, part, turn))
                    if self._worker.stopping:
                        break
                await line.close()
            finally:
                if not reading.done():
                    reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                await line.leave()
        if self._worker.stopping and parsed:
            raise Stopped

    def _overlaps(self, job: Job) -> bool:
        """Whether two batches may be under way: not where the first could change what the second may see."""
        alone = self._held["dry_run"] or self._held["attempts"] > 1 or self._mapping.duplicates != "keep"
        # What happens to an opportunity may be spread over two batches.
        alone = alone or self._mapping.kind == "transitions"
        return not alone and job.actor.reach is Reach.ALL

    def _next(self, plan: Plan, rows: Iterator[tuple[int, Any]], size: int, done: int = 0) -> list[Parsed]:
        if done:
            for _ in islice(rows, done):
                pass
        parsed = []
        for number, cells in islice(rows, size):
            row = plan.parse(number, cells)
            if self._trial is not None and not row.errors:
                row.cells = cells
            parsed.append(row)
        return parsed

    async def _fetch(self) -> None:
        """Puts the upload into a file of this process; memory stays flat."""
        first = 0
        while True:
            async with self._transaction() as tx:
                chunks = await tx.rows(CHUNKS, id=self._held["id"], first=first)
            if not chunks:
                return
            for chunk in chunks:
                await asyncio.to_thread(self._file.write, chunk["data"])
            first = chunks[-1]["position"] + 1

    def _transaction(self) -> Any:
        return self._worker.database.transaction(self._held["workspace_id"], self._worker.clock.now())

    async def _prepare(self) -> Job:
        """Surveys the file once, and compiles the mapping for it."""
        held, mapping = self._held, self._mapping
        async with self._transaction() as tx:
            actor = await find_actor(tx, held, mapping)
            around = await tx.row(SURROUNDINGS)
            definitions = await tx.rows(DEFINITIONS, subject=_subject(mapping))
            now: datetime = tx.now
        assert around is not None  # noqa: S101 - the import stands in this workspace
        zone = mapping.zone(around["time_zone"])
        shift_days = held["checkpoint"].get("shift_days")
        if shift_days is None:
            today: date = now.astimezone(zone).date()
            found = await asyncio.to_thread(survey, self._file, held["format"], mapping, zone, today)
            shift_days = found.shift_days
            async with self._transaction() as tx:
                await self._progress(tx, total=found.rows, checkpoint={"shift_days": shift_days, "row": 0})
        columns = (await asyncio.to_thread(open_source, self._file, held["format"], mapping.file)).columns
        plan = Plan(
            mapping, columns, zone=zone, currency=around["currency"], now=now, definitions=definitions,
            shift=timedelta(days=shift_days),
        )  # fmt: skip
        return Job(
            held["id"], mapping, plan, References(mapping, plan.pointers, actor), actor,
            held["request_id"], timedelta(days=int(around["reopen_days"] or 90)),
        )  # fmt: skip

    async def _import(self, job: Job, rows: list[Parsed], turn: Turn) -> None:
        """Imports rows in one transaction; where the database refuses one, they are halved until it is found."""
        for attempt in range(MOST_TRIES):
            try:
                await self._once(job, rows, turn)
            except TooEarly:
                await turn.come(however_long=True)
                await self._import(job, rows, turn)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError):
                await asyncio.sleep(0.05 * 2**attempt)
                continue
            except asyncpg.PostgresError as error:
                if is_contested(error) and attempt < MOST_TRIES - 1:
                    continue
                if not (is_of_a_row(error) or is_contested(error)):
                    raise
                await self._refused(job, rows, turn, error)
            return
        raise TimeoutError("the rows of this import are held by other work")

    async def _refused(self, job: Job, rows: list[Parsed], turn: Turn, error: asyncpg.PostgresError) -> None:
        await turn.come(however_long=True)
        hopeful = [row for row in rows if not row.errors]
        if len(rows) == 1:
            rows[0].errors.append(trial.as_error(error))
            await self._import(job, rows, turn)
            return
        log.info("import_batch_halved", import_id=str(self._held["id"]), rows=len(hopeful), error=str(error))
        middle = len(rows) // 2
        await self._import(job, rows[:middle], turn)
        await self._import(job, rows[middle:], turn)

    async def _once(self, job: Job, rows: list[Parsed], turn: Turn) -> None:
        references = job.references.branch()
        with Attempt(rows):
            async with self._transaction() as tx:
                if self._trial is not None:
                    written = await self._trial.judge(tx, rows, self._process_of, turn)
                    await self._trial.keep(rows)
                else:
                    process = await self._process_of(tx, job)
                    written = await batch.apply(tx, job, references, rows, process, turn)
                failed = sum(bool(row.errors) for row in rows)
                # What is counted is what the database has counted, and every other row has said why.
                check_count("rows without errors", len(rows) - failed, written)
                counts, cancelled = await self._report(tx, rows)
        # Rows that an attempt before this one has judged are no progress.
        self.has_moved = self.has_moved or counts["read"] > 0
        if self._trial is None:
            references.keep(made=True)
            job.process = process
            self._worker.nudger.nudge(SCORING_QUEUE, DRAIN)
            self._worker.nudger.tell(self._held["workspace_id"])
        telemetry.IMPORT_ROWS.labels("imported").inc(counts["imported"])
        telemetry.IMPORT_ROWS.labels("failed").inc(counts["failed"])
        if cancelled:
            raise Cancelled

    async def _report(self, tx: Tx, rows: list[Parsed]) -> tuple[dict[str, int], bool]:
        """Writes what has become of the rows, and how far that is; true where the import is to be cancelled."""
        new = [row for row in rows if row.number > self._row]
        failed = sum(bool(row.errors) for row in new)
        counts = {"read": len(new), "failed": failed, "imported": len(new) - failed}
        if not new:
            return counts, await self._progress(tx)
        await self._keep_errors(tx, [row for row in new if row.errors or row.notes])
        return counts, await self._progress(tx, checkpoint={"row": new[-1].number}, **counts)

    async def _progress(self, tx: Tx, **given: Any) -> bool:
        return await lease.progress(tx, self._held, self._worker.settings.import_lease_seconds, **given)

    async def _keep_errors(self, tx: Tx, rows: list[Parsed]) -> None:
        listed = [(row.number, place, told) for row in rows for place, told in enumerate((*row.errors, *row.notes))]
        if listed:
            await tx.run(
                ERRORS,
                id=self._held["id"],
                rows=[number for number, _, _ in listed],
                positions=[place for _, place, _ in listed],
                pointers=[error.pointer for _, _, error in listed],
                codes=[error.code for _, _, error in listed],
                messages=[error.message.replace("\x00", "") for _, _, error in listed],
            )

    async def _process_of(self, tx: Tx, job: Job) -> Process | None:
        """The process of new opportunities, made where the workspace has none of its key."""
        wanted = self._mapping.process
        if wanted is None or job.process is not None:
            return job.process
        process_id = await tx.value(PROCESS, key=wanted.key)
        if process_id is None:
            if wanted.stages is None and wanted.template is None:
                words = f"The workspace has no process {wanted.key}: give its stages, or a template."
                raise Unreadable("/mapping/process/key", "unknown_reference", words)
            process_id = (await processes.create(tx, job.actor, wanted))["id"]
        return await self._stages(tx, process_id)

    async def _stages(self, tx: Tx, process_id: UUID) -> Process:
        found = processes_of(await tx.rows(STAGES, ids=[process_id]))[process_id]
        stage = self._mapping.stage
        if stage is not None:
            places = [(f"/mapping/stage/values/{value}/stage", each.stage) for value, each in stage.values.items()]
            places += [(f"/mapping/stage/passed_at/{key}", key) for key in stage.passed_at]
            for place, key in places:
                if key is not None and found.stage(key) is None:
                    raise Unreadable(place, "unknown_reference", f"The process has no stage {key}.")
        return found


def _subject(mapping: Mapping) -> str:
    return {"opportunities": "opportunity", "customers": "customer"}.get(mapping.kind, "")
