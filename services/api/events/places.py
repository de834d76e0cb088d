"""Places in the feed as cursors: signed, good for the feed and the stream of one workspace, and of limited age."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.api.errors import InvalidCursor, Problem, wrong
from services.api.events import queries
from services.api.events.queries import Sight
from services.api.pagination import Cursors
from services.api.wire import as_uuid, dump
from shared.db import Row, Tx
from shared.feed import BEGINNING, Batch, Position

# A place is given again as it was asked for no longer than this.
FRESH: Final = timedelta(days=1)


class CursorExpired(Problem):
    status, code, title = 410, "cursor_expired", "What followed this place is no longer kept"


class Places:
    """Makes and reads the cursors of one workspace's events."""

    def __init__(self, cursors: Cursors, workspace_id: UUID, event_days: int, cluster: int) -> None:
        self._cursors = cursors
        # Numbers of transactions mean nothing in another cluster, where a backup may have been loaded.
        self._cluster = str(cluster)
        self._binding = dump([str(workspace_id), "events"])
        self._kept = timedelta(days=event_days)

    def cursor(self, position: Position, at: datetime) -> str:
        """A cursor for a place that was reached at this time."""
        return self._cursors.make(self._binding, [str(position.xid), at, self._cluster], position.id)

    def of_row(self, row: Row) -> str:
        return self.cursor(Position(row["xid"], row["id"]), row["recorded_at"])

    def of_batch(self, batch: Batch, now: datetime, asked: str | None) -> str:
        """Where to go on after a batch. While nothing has come the place asked for stays, so that the page does too;
        but not for so long that it would go stale."""
        if batch.seen is not None:
            return self.cursor(*batch.seen)
        if asked is not None and as_uuid(asked) is None and self._read(now, asked, "?after", FRESH) is not None:
            return asked
        return self.cursor(batch.position, now)

    async def find(self, tx: Tx, text: str | None, parameter: str, sight: Sight) -> Position:
        """The place that a cursor or an event's id names; None is the beginning. Raises InvalidCursor, CursorExpired.

        No statement is needed for a cursor, and one for an id.
        """
        if text is None:
            return BEGINNING
        id_ = as_uuid(text)
        if id_ is None:
            place = self._read(tx.now, text, parameter, self._kept)
            if place is None:
                raise self._expired(parameter)
            return place
        row = await queries.read_one(tx, id_, sight)
        if row is not None:
            return Position(row["xid"], row["id"])
        if id_.version == 7 and (id_.int >> 80) / 1000 < (tx.now - self._kept).timestamp():
            raise self._expired(parameter)
        raise _unknown(parameter, "There is no such event, or it is not yours to see.")

    def _read(self, now: datetime, text: str, parameter: str, age: timedelta) -> Position | None:
        """The place of a cursor; None where it is older than that."""
        try:
            (xid, at, cluster), id_ = self._cursors.read(self._binding, text, _place)
        except InvalidCursor:
            raise _unknown(
                parameter, "This is no cursor of this workspace's events. Begin again without one."
            ) from None
        return None if at < now - age or cluster != self._cluster else Position(xid, id_)

    def _expired(self, parameter: str) -> CursorExpired:
        words = (
            f"Events are kept for {self._kept.days} days, and this place is older, or from before a backup was loaded."
            " Read the records again, then go on."
        )
        return CursorExpired(words, errors=[wrong(parameter, "cursor_expired", words)])


def _place(value: Any) -> tuple[int, datetime, str]:
    xid, at, cluster = value
    return int(xid), datetime.fromisoformat(at), cluster


def _unknown(parameter: str, words: str) -> InvalidCursor:
    return InvalidCursor(words, errors=[wrong(parameter, "invalid_cursor", words)])
