"""The relay: hands what is new in the outbox to the endpoints that want it.

What has been seen is a snapshot of the database. New is what the present snapshot shows and that one did not: exact
whatever order transactions commit in, without waiting for the longest of them, and without remembering ids. A
workspace's snapshot is written with its deliveries, so that a crash between the two can't be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final
from uuid import UUID

import structlog

from services.api.delivery.fanout import TAKERS, fan_out
from services.api.delivery.orphans import disable_orphans
from services.api.delivery.restored import settle_restored
from services.api.jobs.outages import OUTAGES
from services.api.webhooks.makers import may_have
from shared.clock import Clock
from shared.db import Database, Tx, sql
from shared.events import COLUMNS

log = structlog.get_logger(__name__)

_PAGE: Final = 500
# What has been seen says how far to look back, whatever the time of an event; and all are looked for: what is left out
# of a look is seen by it all the same.
_SINCE: Final = "-infinity"
_MOST: Final = 1_000_000
# The snapshot and what is due by it come from one statement, and so from one moment.
_CLUSTER: Final = "(SELECT system_identifier FROM pg_control_system())"
_LOOK: Final = (
    f"SELECT pg_current_snapshot()::text AS seen, {_CLUSTER} AS cluster,"
    f" ARRAY(SELECT workspace_id FROM events.relay_due($1::text::pg_snapshot, '{_SINCE}', {_MOST})) AS due"
)
_BEGIN: Final = (
    f"SELECT pg_current_snapshot()::text AS seen, {_CLUSTER} AS cluster,"
    " ARRAY(SELECT workspace_id FROM events.relay_workspaces()) AS due"
)
# A position of another cluster says nothing here until it is settled.
HOLD = sql(
    f"SELECT seen, cluster = {_CLUSTER} AS ours FROM events.relay_positions WHERE workspace_id = :workspace_id"
    " FOR NO KEY UPDATE SKIP LOCKED"
)
_HAS_POSITION = sql("SELECT 1 FROM events.relay_positions WHERE workspace_id = :workspace_id")
# Whole transactions: a page never ends within one.
NEW = sql(
    f"""
    SELECT pg_current_snapshot()::text AS now, o.* FROM (SELECT) one LEFT JOIN LATERAL (
      SELECT {", ".join(COLUMNS)}, xid FROM events.outbox
      WHERE workspace_id = :workspace_id AND xid >= pg_snapshot_xmax(CAST(CAST(:seen AS text) AS pg_snapshot))
      UNION ALL
      SELECT {", ".join(COLUMNS)}, xid FROM events.outbox
      WHERE workspace_id = :workspace_id
        AND xid = ANY (ARRAY(SELECT pg_snapshot_xip(CAST(CAST(:seen AS text) AS pg_snapshot))))
      ORDER BY xid FETCH FIRST {_PAGE} ROWS WITH TIES
    ) o ON true ORDER BY o.xid, o.id
    """
)
MOVE = sql("UPDATE events.relay_positions SET seen = :seen, updated_at = :now WHERE workspace_id = :workspace_id")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions had ended: all below `xmax` but those in `running`."""

    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """PostgreSQL's own form, `xmin:xmax:running,…`."""
        _, xmax, running = text.split(":")
        return cls(int(xmax), frozenset(int(each) for each in running.split(",") if each))

    def __str__(self) -> str:
        xmin = min(self.running, default=self.xmax)
        return f"{xmin}:{self.xmax}:{','.join(str(each) for each in sorted(self.running))}"

    def after(self, now: Snapshot, last: int) -> Snapshot:
        """What has been seen when of all that `now` shows beyond this only transactions up to `last` were read."""
        xmax = max(self.xmax, last + 1)
        waiting = {each for each in self.running if each > last or each in now.running}
        return Snapshot(xmax, frozenset(waiting | {each for each in now.running if self.xmax <= each < xmax}))


class Page(Enum):
    """What became of a workspace: all read, more to read, held by another worker at the moment, or unsettled."""

    THROUGH = auto()
    MORE = auto()
    HELD = auto()
    RESTORED = auto()


@dataclass(frozen=True, slots=True)
class _Read:
    """A page: whether it was the last for now, the endpoints that were told, and those that nobody answers for."""

    through: bool
    told: set[UUID] = field(default_factory=set)
    orphans: Sequence[UUID] = ()


def _nothing() -> None:
    """Nobody watches."""


class Relay:
    """Looks for what is new over all workspaces, and hands it on one workspace at a time.

    `tell` is called, after the commit, with the endpoints of a workspace that have something to be sent.
    """

    def __init__(self, database: Database, clock: Clock, tell: Callable[[UUID, set[UUID]], None]) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
        # Called with every workspace: there may be very many.
        self.beat: Callable[[], None] = _nothing
        self._seen: str | None = None
        self._cluster: int | None = None
        # Those that were not got through: another worker was at them, or something went wrong.
        self._left: set[UUID] = set()

    async def work(self) -> bool:
        """One look; True where there is more at once. A workspace that can't be relayed holds up no other."""
        try:
            return await self._work()
        except BaseException:
            # A crash may have undone pages: what was handed on is read again from the positions that are stored.
            self._seen = None
            raise

    async def _work(self) -> bool:
        await self._look()
        more = False
        outage: BaseException | None = None
        for workspace_id in sorted(self._left):
            self._left.discard(workspace_id)
            self.beat()
            try:
                page = await self._relay(workspace_id)
            except Exception as error:
                self._left.add(workspace_id)
                log.warning("relay_failed", workspace_id=str(workspace_id), exc_info=error)
                if isinstance(error, OUTAGES):
                    outage = outage or error
                continue
            except BaseException:
                self._left.add(workspace_id)
                raise
            if page is not Page.THROUGH:
                self._left.add(workspace_id)
            if page is Page.RESTORED:
                await settle_restored(self._database)
            more = more or page in (Page.MORE, Page.RESTORED)
        if outage is not None:
            raise outage
        return more

    async def _look(self) -> None:
        if self._seen is None:
            row = await self._database.fetchrow(_BEGIN)
        else:
            row = await self._database.fetchrow(_LOOK, self._seen)
        assert row is not None  # noqa: S101 - it selects no table
        if self._cluster not in (None, row["cluster"]):
            # Another database stands where the one before did: what was seen there is of no use.
            row = await self._database.fetchrow(_BEGIN)
            assert row is not None  # noqa: S101 - likewise
        self._cluster = row["cluster"]
        # Only then is it seen: what is due is remembered first.
        self._left.update(row["due"])
        self._seen = row["seen"]

    async def _relay(self, workspace_id: UUID) -> Page:
        async with self._database.transaction(workspace_id, self._clock.now(), durable=False) as tx:
            held = await tx.row(HOLD)
            if held is None:
                # Whoever holds it may have looked before the newest event was there: it is looked at again.
                return Page.HELD if await tx.value(_HAS_POSITION) else Page.THROUGH
            if not held["ours"]:
                return Page.RESTORED
            read = await self._page(tx, Snapshot.parse(held["seen"]))
        if read.orphans:
            await disable_orphans(self._database, self._clock, workspace_id, read.orphans)
        if read.told:
            self._tell(workspace_id, read.told)
        return Page.THROUGH if read.through else Page.MORE

    async def _page(self, tx: Tx, seen: Snapshot) -> _Read:
        """Hands one page on. Where an endpoint turns out to be an orphan nothing is written: that is seen to first."""
        rows = await tx.rows(NEW, seen=str(seen))
        now = Snapshot.parse(rows[0]["now"])
        events = [row for row in rows if row["id"] is not None]
        through = len(events) < _PAGE
        told: set[UUID] = set()
        if events:
            takers = await tx.rows(TAKERS)
            orphans = [each["id"] for each in takers if not may_have(each)]
            if orphans:
                return _Read(through=False, orphans=orphans)
            told.update(await fan_out(tx, events, takers))
        await tx.run(MOVE, seen=str(now if through else seen.after(now, events[-1]["xid"])), now=tx.now)
        return _Read(through, told)
