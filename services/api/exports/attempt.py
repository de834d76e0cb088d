"""One attempt at an export: from its claim to its end, or to the moment at which somebody else goes on.

CSV and NDJSON go on after the last piece that was committed, whatever killed the worker; a workbook, whose parts hang
together, is begun again. The file holds what was recorded before the export began, as it stands when its turn comes.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from services.api.auth.identity import make_principal
from services.api.errors import Problem
from services.api.exports import lease
from services.api.exports.columns import KINDS, Kind, select_rows
from services.api.exports.service import bound_filters
from services.api.exports.writers import TooManyRows, Workbook, getters, header_csv, rows_csv, rows_ndjson
from services.api.imports.reach import ACTOR
from services.api.jobs.outages import given_up, is_outage
from services.api.jobs.settings import WorkerSettings
from shared.clock import Clock
from shared.db import Database, Row, Tx, sql
from shared.effects import AuditEntry, Event
from shared.outbox import write_effects
from shared.queue import Nudger
from shared.tenancy import Principal

log = structlog.get_logger(__name__)

BATCH = 2_000
PIECE = 1024 * 1024
DAYS = 7
NOBODY = UUID(int=0)
CHUNK = sql(
    "INSERT INTO sales.export_chunks (workspace_id, export_id, position, data)"
    " VALUES (:workspace_id, :id, :position, :data)"
)
STAGE_KEYS = sql(
    "SELECT s.key FROM sales.stages s WHERE s.workspace_id = :workspace_id GROUP BY s.key"
    " ORDER BY min(s.position), s.key"
)
ATTRIBUTE_KEYS = sql(
    "SELECT key FROM sales.attribute_definitions WHERE workspace_id = :workspace_id AND subject = :subject ORDER BY key"
)


@dataclass(slots=True)
class Exporter:
    """What exports share within a process. `stopping` ends one after the batch under way."""

    database: Database
    settings: WorkerSettings
    clock: Clock
    nudger: Nudger
    stopping: bool = False


class Ended(Exception):
    """The export ends here: `status`, and what is wrong."""

    def __init__(self, status: str, code: str = "", message: str = "") -> None:
        super().__init__(message or status)
        self.status = status
        self.problem = {"pointer": "", "code": code, "message": message} if code else None


class Stopped(Exception):
    """The worker ends; the export goes on elsewhere."""


async def run(worker: Exporter, workspace_id: UUID, export_id: UUID) -> bool:
    """Claims an export and works on it; False where there was nothing to claim."""
    async with worker.database.transaction(workspace_id, worker.clock.now()) as tx:
        held = await lease.claim(tx, export_id, worker.settings.import_lease_seconds)
    if held is None:
        return False
    try:
        await _run(worker, held)
    except lease.LeaseLost:
        log.warning("export_lease_lost", export_id=str(export_id))
    return True


async def _run(worker: Exporter, held: Row) -> None:
    try:
        await _Attempt(worker, held).run()
        await _finish(worker, held, "succeeded", None)
    except Ended as end:
        await _finish(worker, held, end.status, end.problem)
    except Problem as error:
        await _finish(worker, held, "failed", {"pointer": "/filters", "code": error.code, "message": error.detail})
    except Stopped:
        await _release(worker, held)
    except lease.LeaseLost:
        raise
    except Exception as error:
        log.exception("export_attempt_failed", export_id=str(held["id"]), workspace_id=str(held["workspace_id"]))
        if held["attempts"] >= worker.settings.import_attempts and not is_outage(error):
            await _finish(worker, held, "failed", given_up(held["attempts"], error))
        else:
            await _release(worker, held)


class _Attempt:
    """The rows of one export, from the database to its pieces."""

    def __init__(self, worker: Exporter, held: Row) -> None:
        self._worker = worker
        self._held = held
        self._kind: Kind = KINDS[held["kind"]]
        done = held["checkpoint"] if held["format"] != "xlsx" else {}
        self._after = UUID(done["after"]) if done.get("after") else NOBODY
        self._position = int(done.get("position", 0))
        self._rows = held["rows_written"] if done else 0
        self._bytes = held["total_bytes"] if done else 0
        self._names: list[str] = list(done.get("columns", ()))

    def _transaction(self) -> Any:
        return self._worker.database.transaction(self._held["workspace_id"], self._worker.clock.now())

    async def run(self) -> None:
        if self._held["cancel_requested"]:
            raise Ended("cancelled")
        async with self._transaction() as tx:
            actor = await self._actor(tx)
            filters = await bound_filters(tx, self._kind, self._held["filters"])
            if not self._names:
                await self._begin(tx)
        deleted = bool(filters.pop("include_deleted", False))
        names = tuple(sorted(filters))
        query = select_rows(self._kind.name, actor.reach, names, deleted)
        given = {
            **{f"f_{name}": filters[name] for name in names},
            **actor.binds,
            "until": self._held["started_at"] + timedelta(microseconds=1),
            "batch": BATCH,
        }
        gets = getters(self._names)
        if self._held["format"] == "xlsx":
            await self._workbook(query, given, gets)
            return
        while True:
            async with self._transaction() as tx:
                rows = await tx.rows(query, after_id=self._after, **given)
                if not rows:
                    return
                data = await asyncio.to_thread(self._encode, rows, gets)
                await self._add(tx, data)
                await self._progress(tx, rows)
            if len(rows) < BATCH:
                return

    async def _actor(self, tx: Tx) -> Principal:
        """Who asked for it, as they stand now."""
        row = await tx.row(ACTOR, actor_id=self._held["created_by"])
        if row is None:
            raise Ended("failed", "forbidden", "The member who asked for the export is no longer active.")
        actor = make_principal(tx.workspace_id, row["id"], row["role"], team=row["team"], name=row["name"])
        missing = sorted({"exports:write", self._kind.scope} - actor.scopes)
        if missing:
            words = f"The member who asked for the export may no longer have it: it needs {', '.join(missing)}."
            raise Ended("failed", "forbidden", words)
        return actor

    async def _begin(self, tx: Tx) -> None:
        """Settles the columns, and clears what an attempt at a workbook left."""
        left_out = frozenset(self._held["checkpoint"].get("left_out", ()))
        names = [name for name in self._kind.columns if name not in left_out]
        if self._kind.of_stages:
            names += [f"passed_at.{row['key']}" for row in await tx.rows(STAGE_KEYS)]
        if self._kind.subject:
            keys = await tx.rows(ATTRIBUTE_KEYS, subject=self._kind.subject)
            names += [f"attributes.{row['key']}" for row in keys]
        self._names = names
        await tx.run(lease.DROP_CHUNKS, id=self._held["id"])
        if self._held["format"] == "csv":
            await self._add(tx, header_csv(names))
        await self._progress(tx, [])

    def _encode(self, rows: list[Row], gets: list[Any]) -> bytes:
        return rows_csv(rows, gets) if self._held["format"] == "csv" else rows_ndjson(rows, self._names, gets)

    async def _add(self, tx: Tx, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            await tx.run(CHUNK, id=self._held["id"], position=self._position, data=piece)
            self._position += 1
            self._bytes += len(piece)

    async def _progress(self, tx: Tx, rows: list[Row]) -> None:
        self._rows += len(rows)
        self._after = rows[-1]["id"] if rows else self._after
        place = {"after": str(self._after), "position": self._position, "columns": self._names}
        cancelled = await lease.progress(
            tx, self._held, self._worker.settings.import_lease_seconds,
            rows=self._rows, bytes=self._bytes, checkpoint=place,
        )  # fmt: skip
        if cancelled:
            raise Ended("cancelled")
        if self._worker.stopping:
            raise Stopped

    async def _workbook(self, query: Any, given: dict[str, Any], gets: list[Any]) -> None:
        with tempfile.TemporaryDirectory(prefix="sixteen-export-") as folder:
            path = Path(folder) / "export.xlsx"
            book = Workbook(path, self._names)
            try:
                while True:
                    async with self._transaction() as tx:
                        rows = await tx.rows(query, after_id=self._after, **given)
                        await self._progress(tx, rows)
                    await asyncio.to_thread(book.add, rows, gets)
                    if len(rows) < BATCH:
                        break
            except TooManyRows:
                words = "A sheet holds 1,048,576 rows, and there are more: ask for CSV, or filter."
                raise Ended("failed", "too_many_rows", words) from None
            finally:
                await self._close(book)
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, PIECE):
                    async with self._transaction() as tx:
                        await self._add(tx, piece)
                        await self._progress(tx, [])

    async def _close(self, book: Workbook) -> None:
        """Puts the workbook together, which may outlast a lease: it is renewed meanwhile."""
        closing = asyncio.ensure_future(asyncio.to_thread(book.close))
        try:
            while not closing.done():
                await asyncio.wait((closing,), timeout=self._worker.settings.import_lease_seconds / 3)
                if not closing.done():
                    async with self._transaction() as tx:
                        await self._progress(tx, [])
        finally:
            # Its folder must not go while the thread writes into it.
            await closing


async def _release(worker: Exporter, held: Row) -> None:
    async with worker.database.transaction(held["workspace_id"], worker.clock.now()) as tx:
        await tx.run(lease.RELEASE, id=held["id"], token=held["lease_token"], now=tx.now)


async def _finish(worker: Exporter, held: Row, status: str, problem: dict[str, Any] | None) -> None:
    """Ends the export and says so; a file that is not whole is nobody's."""
    async with worker.database.transaction(held["workspace_id"], worker.clock.now()) as tx:
        token = held["lease_token"]
        row = await tx.row(
            lease.FINISH, id=held["id"], token=token, status=status, problem=problem, days=DAYS, now=tx.now
        )
        if row is None:
            raise lease.LeaseLost
        if status != "succeeded":
            await tx.run(lease.DROP_CHUNKS, id=held["id"])
        told = {
            name: row[name] for name in ("id", "kind", "format", "status", "rows_written", "total_bytes", "problem")
        }
        tx.effects.emit(Event("export.completed", "export", row["id"], tx.now, told, row["version"]))
        audited = {"status": ["running", row["status"]], "rows_written": [None, row["rows_written"]]}
        tx.effects.audit.append(AuditEntry("export.completed", "export", row["id"], row["version"], audited))
        await write_effects(tx, actor_id=row["created_by"], request_id=row["request_id"])
    worker.nudger.tell(held["workspace_id"])
    log.info(
        "export_completed",
        export_id=str(row["id"]),
        workspace_id=str(row["workspace_id"]),
        status=row["status"],
        rows=row["rows_written"],
    )


async def expire(worker: Exporter, workspace_id: UUID, export_id: UUID) -> None:
    """Lets a file go whose days are over."""
    async with worker.database.transaction(workspace_id, worker.clock.now()) as tx:
        row = await tx.row(lease.EXPIRE, id=export_id, now=tx.now)
        if row is not None:
            await tx.run(lease.DROP_CHUNKS, id=export_id)
            changes = {"status": ["succeeded", "expired"]}
            tx.effects.audit.append(AuditEntry("export.expired", "export", export_id, row["version"], changes))
            await write_effects(tx)
