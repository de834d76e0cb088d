"""Who works on an import: a lease in PostgreSQL, and a token without which nothing of it can be written.

The next attempt is put off before an attempt begins, so that one that dies without a word is not tried at once again.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.db import Database, Row, Tx, sql
from shared.ids import new_id

_DUE = "status IN ('queued', 'running') AND coalesce(lease_until, '-infinity') < now()"
_TIME = "coalesce(next_attempt_at, '-infinity') <= now()"
# Over all workspaces; the same condition as that of the claim.
DUE = "SELECT workspace_id, id FROM sales.due_imports(50)"
CLAIM = sql(
    f"""
    UPDATE sales.imports i SET status = 'running', lease_token = :token, attempts = attempts + 1,
      lease_until = now() + make_interval(secs => :lease),
      next_attempt_at = now() + make_interval(secs => least(60, 0.5 * 2 ^ least(attempts, 10))),
      started_at = coalesce(started_at, :now), version = version + 1, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND {_DUE} AND {_TIME} AND NOT EXISTS (
      SELECT FROM sales.imports o WHERE o.workspace_id = i.workspace_id AND o.id <> i.id AND o.status = 'running'
        AND o.lease_until >= now())
    RETURNING *
    """
)
RENEW = sql(
    "UPDATE sales.imports SET lease_until = now() + make_interval(secs => :lease)"
    " WHERE workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'"
)
RELEASE = sql(
    "UPDATE sales.imports SET lease_until = NULL, lease_token = NULL, updated_at = :now"
    " WHERE workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'"
)
PROGRESS = sql(
    """
    UPDATE sales.imports SET rows_read = rows_read + :read, rows_imported = rows_imported + :imported,
      rows_failed = rows_failed + :failed, checkpoint = checkpoint || CAST(:checkpoint AS jsonb),
      attempts = CASE WHEN :read > 0 THEN 0 ELSE attempts END,
      rows_total = coalesce(CAST(:total AS int), rows_total),
      lease_until = now() + make_interval(secs => :lease), version = version + 1, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'
    RETURNING cancel_requested
    """
)
FINISH = sql(
    """
    UPDATE sales.imports SET status = CASE WHEN :status <> 'done' THEN :status
        WHEN rows_failed = 0 THEN 'succeeded' WHEN rows_imported = 0 THEN 'failed' ELSE 'partially_failed' END,
      problem = CAST(:problem AS jsonb), finished_at = :now, lease_until = NULL, lease_token = NULL,
      next_attempt_at = NULL, version = version + 1, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'
    RETURNING *
    """
)

DROP_CHUNKS = sql("DELETE FROM sales.import_chunks WHERE workspace_id = :workspace_id AND import_id = :id")


class LeaseLost(Exception):
    """Somebody else has taken the import over, or it has ended."""


async def due(database: Database) -> list[tuple[UUID, UUID]]:
    """(workspace, import) of those that wait for a worker, oldest first, over all workspaces."""
    return [(row["workspace_id"], row["id"]) for row in await database.fetch(DUE)]


async def claim(tx: Tx, import_id: UUID, seconds: float) -> Row | None:
    """The import, which is now this worker's alone for `seconds`; None where somebody was faster."""
    return await tx.row(CLAIM, id=import_id, token=new_id(), lease=seconds, now=tx.now)


async def progress(tx: Tx, held: Row, seconds: float, *, total: int | None = None, **given: Any) -> bool:
    """Writes how far the import has come; True where it is to be cancelled. Raises LeaseLost."""
    values: dict[str, Any] = {"read": 0, "imported": 0, "failed": 0, "checkpoint": {}, **given}
    row = await tx.row(
        PROGRESS, id=held["id"], token=held["lease_token"], lease=seconds, total=total, now=tx.now, **values
    )
    if row is None:
        raise LeaseLost
    return bool(row["cancel_requested"])
