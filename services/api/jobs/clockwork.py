"""Time moves things too (DOMAIN §14): what has come due is marked to be judged again, or told of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import structlog

from services.api.jobs.outages import OUTAGES
from services.api.tasks.overdue import tell_overdue
from shared.clock import Clock
from shared.db import Database, sql
from shared.duty import beat
from shared.effects import BULK
from shared.queue import Nudger

log = structlog.get_logger(__name__)

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = UUID(int=0)
# Over all workspaces, from where the last look ended: many subjects fall due at the same midnight.
SOURCES: Final = {
    name: f"SELECT workspace_id, subject_type, subject_id, next_due_at FROM scoring.due_{name}($1, $2, $3)"
    for name in ("scores", "seats")
}
# A subject that is marked already stays as it is: it will be judged, and its mark must not grow a new version.
MARK = sql(
    "INSERT INTO scoring.dirty_marks (workspace_id, subject_type, subject_id, lane, cause, marked_at)"
    f" SELECT :workspace_id, m.subject_type, m.subject_id, {BULK}, CAST(:cause AS jsonb), now()"
    " FROM unnest(CAST(:types AS text[]), CAST(:ids AS uuid[])) AS m(subject_type, subject_id)"
    " ORDER BY m.subject_type, m.subject_id ON CONFLICT DO NOTHING"
)
CAUSE: Final = {"type": "time.passed"}
OVERDUE_SECONDS: Final = 60.0
_OVERDUE: Final = "SELECT workspace_id, due_on, id FROM sales.overdue_tasks($1, $2, $3, $4, $5)"
_FIRST_TASK: Final = (_FIRST, date.min, _FIRST)


@dataclass(slots=True)
class _Place:
    at: datetime = _LONG_AGO
    id: UUID = _FIRST


class Clockwork:
    """Marks what is due, a bounded number of subjects at a time; returns at the end to the beginning."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most
        self._places = {name: _Place() for name in SOURCES}

    async def work(self) -> bool:
        """Marks one page of each source; True where there is another page."""
        more = False
        for name, query in SOURCES.items():
            beat()
            more = await self._page(name, query) or more
        return more

    async def _page(self, name: str, query: str) -> bool:
        place = self._places[name]
        rows = await self._database.fetch(query, place.at, place.id, self._most)
        by_workspace: dict[UUID, list[Any]] = {}
        for row in rows:
            by_workspace.setdefault(row["workspace_id"], []).append(row)
        outage: BaseException | None = None
        for workspace_id, due in by_workspace.items():
            beat()
            try:
                await self._mark(workspace_id, due)
            except Exception as error:
                log.warning("clockwork_failed", workspace_id=str(workspace_id), exc_info=error)
                if isinstance(error, OUTAGES):
                    outage = outage or error
        if outage is not None:
            raise outage
        full = len(rows) == self._most
        self._places[name] = _Place(rows[-1]["next_due_at"], rows[-1]["subject_id"]) if full else _Place()
        return full

    async def _mark(self, workspace_id: UUID, due: Sequence[Any]) -> None:
        subjects = sorted({(row["subject_type"], row["subject_id"]) for row in due})
        async with self._database.transaction(workspace_id) as tx:
            await tx.run(MARK, types=[kind for kind, _ in subjects], ids=[id_ for _, id_ in subjects], cause=CAUSE)


class OverdueTasks:
    """Tells of tasks that are overdue, a bounded number at a time; returns at the end to the beginning."""

    def __init__(self, database: Database, clock: Clock, nudger: Nudger, most: int) -> None:
        self._database = database
        self._clock = clock
        self._nudger = nudger
        self._most = most
        self._place = _FIRST_TASK

    async def work(self) -> bool:
        """Tells of one page; True where there is another."""
        rows = await self._database.fetch(_OVERDUE, self._clock.now(), *self._place, self._most)
        full = len(rows) == self._most
        # Moved first: what can't be told of now, whatever the cause, is found again in the next round.
        self._place = tuple(rows[-1].values()) if full else _FIRST_TASK
        by_workspace: dict[UUID, list[UUID]] = {}
        for row in rows:
            by_workspace.setdefault(row["workspace_id"], []).append(row["id"])
        outage: BaseException | None = None
        for workspace_id, ids in by_workspace.items():
            beat()
            try:
                async with self._database.transaction(workspace_id, self._clock.now()) as tx:
                    told = await tell_overdue(tx, ids)
            except Exception as error:
                log.warning("overdue_tasks_failed", workspace_id=str(workspace_id), exc_info=error)
                if isinstance(error, OUTAGES):
                    outage = outage or error
                continue
            if told:
                self._nudger.tell(workspace_id)
        if outage is not None:
            raise outage
        return full
