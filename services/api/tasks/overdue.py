"""A task is overdue from the day after it was due, by its workspace's clock, while it is open. It is told of once.

What is told is remembered with the task: a task that is moved to a later day may be told of again when that has passed;
one that is moved to an earlier day, or back, is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.api.tasks.resource import TASKS
from shared.db import Row, Tx, sql
from shared.effects import Event
from shared.outbox import write_effects

# A task that a request holds is left to the next look: by then it may be done. Whoever comes second to one that another
# worker has told of finds, with the lock, that it no longer is to be told.
_TELL = sql(
    """
    WITH overdue AS (
      SELECT t.id, w.time_zone FROM sales.tasks t JOIN sales.workspaces w ON w.id = t.workspace_id
      WHERE t.workspace_id = :workspace_id AND t.id = ANY(CAST(:ids AS uuid[])) AND t.status = 'open'
        AND t.deleted_at IS NULL AND t.due_on < (CAST(:now AS timestamptz) AT TIME ZONE w.time_zone)::date
        AND (t.overdue_told_on IS NULL OR t.due_on > t.overdue_told_on)
      ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    )
    UPDATE sales.tasks t SET overdue_told_on = t.due_on FROM overdue o
    WHERE t.workspace_id = :workspace_id AND t.id = o.id
    RETURNING t.*, greatest((t.due_on + 1)::timestamp AT TIME ZONE o.time_zone, t.recorded_at) AS overdue_at
    """
)


async def tell_overdue(tx: Tx, ids: Sequence[UUID]) -> int:
    """Marks those of the tasks that are overdue and were not told of, and leaves their events; how many they were."""
    rows = await tx.rows(_TELL, ids=list(ids), now=tx.now)
    for row in sorted(rows, key=lambda each: (each["overdue_at"], each["id"])):
        tx.effects.emit(
            Event("task.overdue", TASKS.name, row["id"], row["overdue_at"], _told(row), resource_version=row["version"])
        )
    await write_effects(tx)
    return len(rows)


def _told(row: Row) -> dict[str, Any]:
    hidden = TASKS.personal(row)
    return {name: value for name, value in TASKS.wire(row).items() if name not in hidden}
