"""A backup that was loaded into another cluster: nothing is skipped by what its numbers of transactions meant there.

Its events are given numbers of the present, so that readers see them, and the relay's positions become snapshots of
the present. What the relay had not handed on when the backup was made, and what has happened since it was loaded, is
handed on; the rest stays as it was.
"""

from __future__ import annotations

from typing import Final

import structlog

from shared.db import Database
from shared.duty import beat

log = structlog.get_logger(__name__)

# One after another: who comes second finds nothing left to do. Any constant that nobody else uses.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('events.settle'))"
_RELAYED: Final = "SELECT number::text AS number, settled FROM events.settle_relayed()"
_POSITIONS: Final = "SELECT settled, moved FROM events.settle_positions($1::text::xid8)"


async def settle_restored(database: Database) -> int:
    """Settles what came from another cluster; the number of events that lay in the future.

    Two transactions, whose numbers tell what was handed on from what was not. Cut off between them, the second is made
    up for by the next call; until then the relay leaves such positions alone.
    """
    async with database.connection() as connection:
        async with connection.transaction():
            await connection.execute(_LOCK)
            # Each statement may take as long as a statement may.
            beat()
            relayed = await connection.fetchrow(_RELAYED)
            assert relayed is not None  # noqa: S101 - a function's OUT parameters are one row
        beat()
        async with connection.transaction():
            await connection.execute(_LOCK)
            beat()
            others = await connection.fetchrow(_POSITIONS, relayed["number"])
            assert others is not None  # noqa: S101 - likewise
    settled = int(relayed["settled"] + others["settled"])
    if settled or others["moved"]:
        log.info("restored_events_settled", events=settled, positions=others["moved"])
    return settled
