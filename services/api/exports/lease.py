"""Who works on an export: a lease in PostgreSQL, and a token without which nothing of it can be written."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.db import Database, Row, Tx, sql
from shared.ids import new_id

_DUE = "status IN ('queued', 'running') AND coalesce(lease_until, '-infinity') < now()"
_TIME = "coalesce(next_attempt_at, '-infinity') <= now()"
_MINE = "workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'"
DUE = "SELECT workspace_id, id FROM sales.due_exports(20)"
EXPIRED = "SELECT workspace_id, id FROM sales.expired_exports(100)"
# The next attempt is put off before an attempt begins, so that one that dies without a word is not tried at once again.
CLAIM = sql(
    f"""
    UPDATE sales.exports SET status = 'running', lease_token = :token, attempts = attempts + 1,
      lease_until = now() + make_interval(secs => :lease),
      next_attempt_at = now() + make_interval(secs => least(60, 0.5 * 2 ^ least(attempts, 10))),
      started_at = coalesce(started_at, :now), version = version + 1, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND {_DUE} AND {_TIME} RETURNING *
    """
)
# A workbook begins anew each time: what it has come to is no reason to begin its attempts anew as well.
PROGRESS = sql(
    f"""
    UPDATE sales.exports SET rows_written = :rows, total_bytes = :bytes,
      checkpoint = checkpoint || CAST(:checkpoint AS jsonb),
      attempts = CASE WHEN format = 'xlsx' THEN attempts ELSE 0 END,
      lease_until = now() + make_interval(secs => :lease), version = version + 1, updated_at = :now
    WHERE {_MINE} RETURNING cancel_requested
    """
)
RELEASE = sql(f"UPDATE sales.exports SET lease_until = NULL, lease_token = NULL, updated_at = :now WHERE {_MINE}")
FINISH = sql(
    f"""
    UPDATE sales.exports SET status = CAST(:status AS text), problem = CAST(:problem AS jsonb), finished_at = :now,
      expires_at = CASE WHEN CAST(:status AS text) = 'succeeded'
        THEN CAST(:now AS timestamptz) + make_interval(days => :days) END,
      lease_until = NULL, lease_token = NULL, next_attempt_at = NULL, version = version + 1, updated_at = :now
    WHERE {_MINE} RETURNING *
    """
)
EXPIRE = sql(
    "UPDATE sales.exports SET status = 'expired', version = version + 1, updated_at = :now"
    " WHERE workspace_id = :workspace_id AND id = :id AND status = 'succeeded' AND expires_at < now() RETURNING *"
)
DROP_CHUNKS = sql("DELETE FROM sales.export_chunks WHERE workspace_id = :workspace_id AND export_id = :id")


class LeaseLost(Exception):
    """Somebody else has taken the export over, or it has ended."""


async def due(database: Database, query: str) -> list[tuple[UUID, UUID]]:
    """(workspace, export) of those that are due, over all workspaces."""
    return [(row["workspace_id"], row["id"]) for row in await database.fetch(query)]


async def claim(tx: Tx, export_id: UUID, seconds: float) -> Row | None:
    """The export, which is now this worker's alone for `seconds`; None where somebody was faster."""
    return await tx.row(CLAIM, id=export_id, token=new_id(), lease=seconds, now=tx.now)


async def progress(tx: Tx, held: Row, seconds: float, **given: Any) -> bool:
    """Writes how far it has come; True where it is to be cancelled. Raises LeaseLost."""
    row = await tx.row(PROGRESS, id=held["id"], token=held["lease_token"], lease=seconds, now=tx.now, **given)
    if row is None:
        raise LeaseLost
    return bool(row["cancel_requested"])
