"""What must not be kept for ever: partitions of events, answers for Idempotency-Keys, what merges took over."""

from __future__ import annotations

from typing import Final

import structlog

from services.api.delivery.restored import settle_restored
from services.api.merges.resource import UNDOABLE
from shared.db import Database
from shared.duty import beat

log = structlog.get_logger(__name__)

PARTITION_SECONDS: Final = 3600.0
PURGE_SECONDS: Final = 300.0
_PURGED_AT_ONCE: Final = 5_000
_PURGE: Final = "SELECT sales.purge_idempotency_keys($1, $2)"
_FORGET: Final = "SELECT sales.forget_merges($1, $2)"


class Housekeeping:
    """Duties that belong to no workspace."""

    def __init__(self, database: Database, event_days: int, idempotency_hours: int) -> None:
        self._database = database
        self._event_days = event_days
        self._hours = idempotency_hours

    async def partitions(self) -> bool:
        """Makes the partitions of the coming week and drops those beyond the days that events are kept."""
        async with self._database.connection() as connection:
            await connection.execute("SELECT events.ensure_partitions(current_date - 1, current_date + 7)")
            beat()
            async with connection.transaction():
                # Old partitions go only while nobody reads them: else at the next look.
                await connection.execute("SET LOCAL lock_timeout = '2s'")
                # One day more than promised: what a long transaction wrote is read later than it was recorded.
                dropped = await connection.fetchval(
                    "SELECT events.drop_partitions(current_date - $1::int)", self._event_days + 1
                )
        if dropped:
            log.info("partitions_dropped", count=dropped)
        return False

    async def settle(self) -> bool:
        """Lets events be seen, and handed on, that a backup from another cluster brought along."""
        await settle_restored(self._database)
        return False

    async def purge_keys(self) -> bool:
        """Forgets old answers, a batch at a time, of all workspaces; True where there is another batch."""
        purged = await self._database.fetchval(_PURGE, self._hours, _PURGED_AT_ONCE)
        return int(purged) == _PURGED_AT_ONCE

    async def forget_merges(self) -> bool:
        """Forgets what stood in the fields of merges that can't be undone any more; True where there is more."""
        forgotten = await self._database.fetchval(_FORGET, UNDOABLE.days, _PURGED_AT_ONCE)
        return int(forgotten) == _PURGED_AT_ONCE
