"""Reading the outbox in order and without gaps.

A row's place is `(xid, id)`: the transaction that wrote it, and its own id. Rows are shown only once every older
transaction has ended (`xid` below the horizon, `pg_snapshot_xmin`): nothing can then be committed before a place that
has been read. Reading by the last id or time seen would lose whatever is committed late.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from shared.db import Connection, Row, Tx, sql
from shared.events import COLUMNS

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
    seen: tuple[Position, datetime] | None = None


_SHOWN: Final = ", ".join(f"e.{name}" for name in (*COLUMNS, "xid"))


def read_sql(where: str = "", columns: str = "", join: str = "") -> str:
    """The one statement that reads after a place; parameters workspace_id, xid, id and most.

    It always gives a row, so that the horizon comes with the events, out of the same snapshot. `where` narrows what is
    looked at; `columns` and `join` add to what is shown.
    """
    return f"""
    SELECT {HORIZON} AS horizon, f.*,
      EXISTS (SELECT FROM events.outbox h WHERE h.workspace_id = CAST(:workspace_id AS uuid) AND h.xid >= {HORIZON})
        AS held
    FROM (SELECT) one LEFT JOIN LATERAL (
      SELECT e.*{columns} FROM (
        SELECT {_SHOWN} FROM events.outbox e
        WHERE e.workspace_id = CAST(:workspace_id AS uuid) AND e.xid < {HORIZON}
          AND (e.xid, e.id) > (CAST(:xid AS xid8), CAST(:id AS uuid)){where}
        ORDER BY e.xid, e.id LIMIT :most
      ) e{join}
      ORDER BY e.xid, e.id
    ) f ON true
    """


_READ: Final = sql(read_sql())


async def read_after(source: Tx | Connection, workspace_id: UUID, position: Position, limit: int) -> Batch:
    """At most `limit` events of a workspace after `position`, in order; `source` is inside that workspace.

    Whoever goes on from `batch.position` again and again sees every committed event exactly once.
    """
    connection = source.connection if isinstance(source, Tx) else source
    given = {"workspace_id": workspace_id, "xid": position.xid, "id": position.id, "most": limit + 1}
    return batch_of(await connection.fetch(_READ.sql, *_READ.values(given)), position, limit)


def batch_of(rows: list[Any], position: Position, limit: int) -> Batch:
    """What `read_sql` gave for `limit + 1` rows; at the end the place is the horizon, which moves by itself."""
    found = [row for row in rows if row["id"] is not None]
    shown = found[:limit]
    more = len(found) > limit
    horizon = Position(rows[0]["horizon"], NIL)
    reached = Position(shown[-1]["xid"], shown[-1]["id"]) if more else max(position, horizon)
    return Batch(shown, reached, more, rows[0]["held"])
