"""One attempt at an import: from its claim to its end, or to the moment at which somebody else goes on.

Whatever kills this process between two statements, the next attempt goes on after the last committed batch.
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from services.api.errors import Problem
from services.api.imports import lease
from services.api.imports.execution import Cancelled, Execution, Stopped, Worker
from services.api.imports.readers import Unreadable, cut
from services.api.jobs.outages import given_up, is_outage
from shared.db import Row
from shared.effects import AuditEntry, Event
from shared.outbox import write_effects

log = structlog.get_logger(__name__)

LONGEST_WORDS = 2_000
# An attempt that kills its process counts, but so does one whose process was killed: many times more are forgiven.
SILENT_DEATHS = 4


async def run(worker: Worker, workspace_id: UUID, import_id: UUID) -> bool:
    """Claims an import and works on it; False where there was nothing to claim."""
    async with worker.database.transaction(workspace_id, worker.clock.now()) as tx:
        held = await lease.claim(tx, import_id, worker.settings.import_lease_seconds)
    if held is None:
        return False
    renewing = asyncio.create_task(_renew(worker, held), name="renew lease")
    try:
        await _run(worker, held)
    except lease.LeaseLost:
        log.warning("import_lease_lost", import_id=str(import_id))
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
    return True


async def _run(worker: Worker, held: Row) -> None:
    execution: Execution | None = None
    if held["attempts"] > worker.settings.import_attempts * SILENT_DEATHS:
        words = (
            f"{held['attempts'] - 1} attempts ended without a word, as one does that needs more memory than there is."
        )
        await _finish(worker, held, "failed", {"pointer": "", "code": "gave_up", "message": words})
        return
    try:
        with tempfile.TemporaryFile() as file:
            execution = Execution(worker, held, file)
            await execution.run()
        await _finish(worker, held, "done", None)
    except Cancelled:
        await _finish(worker, held, "cancelled", None)
    except Stopped:
        await _release(worker, held)
    except Unreadable as error:
        await _fail(worker, held, error.pointer, error.code, error.message)
    except Problem as error:
        await _fail(worker, held, "/mapping", error.code, error.detail)
    except lease.LeaseLost:
        raise
    except Exception as error:
        log.exception("import_attempt_failed", import_id=str(held["id"]), workspace_id=str(held["workspace_id"]))
        stuck = execution is None or not execution.has_moved
        if stuck and held["attempts"] >= worker.settings.import_attempts and not is_outage(error):
            await _finish(worker, held, "failed", given_up(held["attempts"], error))
        else:
            await _release(worker, held)


async def _fail(worker: Worker, held: Row, pointer: str, code: str, message: str) -> None:
    """Ends the import with words that may quote the file; where they can't be kept, with words that don't."""
    try:
        await _finish(worker, held, "failed", {"pointer": _kept(pointer), "code": code, "message": _kept(message)})
    except lease.LeaseLost:
        raise
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("import_problem_not_kept", import_id=str(held["id"]), workspace_id=str(held["workspace_id"]))
        words = "The file can't be imported, and what is wrong with it can't be written down."
        await _finish(worker, held, "failed", {"pointer": "", "code": code, "message": words})


def _kept(text: str) -> str:
    """What a database holds and a reader bears: neither NUL nor halves of characters, and not without end."""
    return cut(text.replace("\x00", "").encode("utf-8", "replace").decode(), LONGEST_WORDS)


async def _renew(worker: Worker, held: Row) -> None:
    """Keeps the lease while something slow is under way; a database that is away is met again by the next batch."""
    while True:
        await asyncio.sleep(worker.settings.import_lease_seconds / 3)
        try:
            async with worker.database.transaction(held["workspace_id"]) as tx:
                seconds = worker.settings.import_lease_seconds
                await tx.run(lease.RENEW, id=held["id"], token=held["lease_token"], lease=seconds)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("lease_not_renewed", import_id=str(held["id"]), error=str(error))


async def _release(worker: Worker, held: Row) -> None:
    async with worker.database.transaction(held["workspace_id"], worker.clock.now()) as tx:
        await tx.run(lease.RELEASE, id=held["id"], token=held["lease_token"], now=tx.now)


async def _finish(worker: Worker, held: Row, status: str, problem: dict[str, Any] | None) -> None:
    """Ends the import and says so."""
    async with worker.database.transaction(held["workspace_id"], worker.clock.now()) as tx:
        token = held["lease_token"]
        row = await tx.row(lease.FINISH, id=held["id"], token=token, status=status, problem=problem, now=tx.now)
        if row is None:
            raise lease.LeaseLost
        await tx.run(lease.DROP_CHUNKS, id=held["id"])
        told = {
            name: row[name]
            for name in ("id", "kind", "status", "dry_run", "rows_read", "rows_imported", "rows_failed", "problem")
        }
        tx.effects.emit(Event("import.completed", "import", row["id"], tx.now, told, row["version"]))
        audited = {"status": ["running", row["status"]], "rows_imported": [None, row["rows_imported"]]}
        tx.effects.audit.append(AuditEntry("import.completed", "import", row["id"], row["version"], audited))
        await write_effects(tx, actor_id=row["created_by"], request_id=row["request_id"])
    worker.nudger.tell(held["workspace_id"])
    log.info("import_completed", import_id=str(row["id"]), workspace_id=str(row["workspace_id"]), **{
        name: row[name] for name in ("status", "rows_read", "rows_imported", "rows_failed")
    })  # fmt: skip
