"""Dirty marks: who is next, what is to be judged again, and what has been.

Marks are read without a lock, for the api upserts them in every request and must never wait for a judgement. A mark
is deleted only in the version that was read: what moved meanwhile stays marked and is judged once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from shared.db import Database, Row, Tx, sql
from shared.effects import BULK, INTERACTIVE

# One look at the index for each workspace, not one for each mark.
_DUE = """
WITH RECURSIVE due AS (
  (SELECT workspace_id, lane, marked_at FROM scoring.dirty_marks
   WHERE marked_at <= now() ORDER BY workspace_id, lane, marked_at LIMIT 1)
  UNION ALL
  SELECT n.* FROM due d CROSS JOIN LATERAL (
    SELECT m.workspace_id, m.lane, m.marked_at FROM scoring.dirty_marks m
    WHERE m.workspace_id > d.workspace_id AND m.marked_at <= now()
    ORDER BY m.workspace_id, m.lane, m.marked_at LIMIT 1) n
)
SELECT workspace_id, lane FROM due ORDER BY lane, marked_at
"""
_DEPTH = "SELECT depth, age FROM scoring.queue_depth()"
_ADD_DRAIN = sql("INSERT INTO scoring.drains (workspace_id) VALUES (:workspace_id) ON CONFLICT DO NOTHING")
_LOCK_DRAIN = sql(
    "SELECT cursor, cursor_ownerless, cursor_version,"
    " extract(epoch FROM clock_timestamp() - last_drained_at)::float8 AS rested FROM scoring.drains"
    " WHERE workspace_id = :workspace_id FOR UPDATE SKIP LOCKED"
)
_KNOWN_DRAIN = sql("SELECT 1 FROM scoring.drains WHERE workspace_id = :workspace_id")
_MOVE_CURSOR = sql(
    "UPDATE scoring.drains SET cursor = :cursor, cursor_ownerless = :ownerless, cursor_version = :version,"
    " last_drained_at = clock_timestamp() WHERE workspace_id = :workspace_id"
)
_MARK = (
    "SELECT subject_type, subject_id, version, lane, cause, marked_at,"
    " extract(epoch FROM now() - marked_at)::float8 AS waited"
    " FROM scoring.dirty_marks WHERE workspace_id = :workspace_id AND marked_at <= now()"
)
# The workspace's own mark is always among them: behind a full batch of others it would never be seen.
_TAKE = sql(
    f"({_MARK} AND subject_type <> 'workspace' ORDER BY lane, marked_at, subject_id LIMIT :limit)"
    f" UNION ALL ({_MARK} AND subject_type = 'workspace')"
)
# Rows that a request is upserting at this moment are passed over: they stay marked anyway, and nobody waits.
_VERSIONS = """
WITH seen AS (
  SELECT d.subject_type, d.subject_id FROM scoring.dirty_marks d
  JOIN unnest(CAST(:types AS text[]), CAST(:ids AS uuid[]), CAST(:versions AS bigint[])) AS m(type, id, version)
    ON d.subject_type = m.type AND d.subject_id = m.id AND d.version = m.version
  WHERE d.workspace_id = :workspace_id
  FOR UPDATE OF d SKIP LOCKED
)
"""
_SAME = "d.workspace_id = :workspace_id AND d.subject_type = s.subject_type AND d.subject_id = s.subject_id"
_DELETE = sql(f"{_VERSIONS} DELETE FROM scoring.dirty_marks d USING seen s WHERE {_SAME}")
_POSTPONE = sql(
    f"{_VERSIONS} UPDATE scoring.dirty_marks d SET lane = {BULK}, marked_at = now() + make_interval(secs => :seconds)"
    f" FROM seen s WHERE {_SAME}"
)

OPPORTUNITY: Final = "opportunity"
CUSTOMER: Final = "customer"
OWNER: Final = "owner"
WORKSPACE: Final = "workspace"


@dataclass(frozen=True, slots=True)
class Taken:
    """A mark as it was read."""

    type: str
    id: UUID
    version: int
    lane: int
    cause: dict[str, Any]
    marked_at: datetime
    waited: float

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls(
            row["subject_type"],
            row["subject_id"],
            row["version"],
            row["lane"],
            row["cause"] if isinstance(row["cause"], dict) else {},
            row["marked_at"],
            row["waited"],
        )

    @property
    def key(self) -> bytes:
        return self.id.bytes


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a whole re-score has come: through the owners up to `at`, or through the ownerless opportunities.
    `rested` are the seconds since the last part of one; None before the first."""

    at: UUID | None
    ownerless: bool
    version: int | None
    rested: float | None = None


async def due_workspaces(database: Database) -> list[tuple[UUID, bool]]:
    """(workspace, whether interactive work waits there) of every workspace with due marks, most urgent first."""
    rows = await database.fetch(_DUE)
    return [(row["workspace_id"], row["lane"] == INTERACTIVE) for row in rows]


async def depth_and_age(database: Database) -> tuple[int, float]:
    """How many marks there are over all workspaces, and the age of the oldest in seconds."""
    row = await database.fetchrow(_DEPTH)
    return (int(row["depth"]), float(row["age"])) if row else (0, 0.0)


async def lock(tx: Tx) -> Cursor | None:
    """Makes this transaction the only drainer of its workspace; None when another one is."""
    row = await tx.row(_LOCK_DRAIN)
    if row is None:
        if await tx.row(_KNOWN_DRAIN) is not None:
            return None
        await tx.run(_ADD_DRAIN)
        row = await tx.row(_LOCK_DRAIN)
        if row is None:
            return None
    return Cursor(row["cursor"], row["cursor_ownerless"], row["cursor_version"], row["rested"])


async def take(tx: Tx, limit: int) -> list[Taken]:
    """The first `limit` due marks of subjects, interactive ones first, oldest first; then the workspace's own."""
    return [Taken.of(row) for row in await tx.rows(_TAKE, limit=limit)]


async def delete(tx: Tx, marks: list[Taken]) -> int:
    """Deletes the marks that are still in the version that was read; how many those were."""
    return await tx.run(_DELETE, **_named(marks))


async def postpone(tx: Tx, marks: list[Taken], seconds: float) -> int:
    """Lets marks that can't be judged rest behind everything else; how many still stood in the version read."""
    return await tx.run(_POSTPONE, seconds=seconds, **_named(marks))


async def move_cursor(tx: Tx, cursor: Cursor) -> None:
    """Keeps how far a whole re-score has come, in the transaction that came so far."""
    await tx.run(_MOVE_CURSOR, cursor=cursor.at, ownerless=cursor.ownerless, version=cursor.version)


def _named(marks: list[Taken]) -> dict[str, list[Any]]:
    return {
        "types": [mark.type for mark in marks],
        "ids": [mark.id for mark in marks],
        "versions": [mark.version for mark in marks],
    }
