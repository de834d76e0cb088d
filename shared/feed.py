"""Reading the outbox in order and without gaps.

A row's place is `(xid, id)`: the transaction that wrote it, and its own id. Rows are shown only once every older
transaction has ended (`xid` below the horizon, `pg_snapshot_xmin`): nothing can then be committed before a place that
has been read. Reading by the last id or time seen would lose whatever is committed late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from shared.db import Row

HORIZON: Final = "pg_snapshot_xmin(pg_current_snapshot())"
NIL: Final = UUID(int=0)


class Position(NamedTuple):
    """A place in the order of events; what comes after it has not been read."""

    xid: int
    id: UUID


BEGINNING: Final = Position(0, NIL)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in order, with the place to go on from.

    `more` says that there are further rows to be read at once; `held` that rows wait for an older transaction.
    """

    rows: list[Row]
    position: Position
    more: bool
    held: bool
    # The place of the last row that was looked at, and when that was recorded.
    seen: tuple[Position, datetime] | None
