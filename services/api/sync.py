"""Delta sync: what has changed since a reader was here last, without a gap and, as a rule, without a repetition.

A time alone can't say what is new: a transaction that took its time before the reader came may commit after it left.
So a cursor holds the oldest transaction that was still open when the reader began (its *horizon*): whatever a
transaction from there on has written is new. PostgreSQL keeps with each row who wrote it (xmin), but in no index; the
index on `updated_at` narrows the search to what was written after `low`. That no such transaction can have taken its
time before `low` is shown in docs/adr/0018.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.api.conditional import tag_of
from services.api.errors import SyncExpired
from services.api.expand import FieldNames, check_fields, trimmed
from services.api.pagination import DEFAULT_LIMIT, MOST, Cursors, binding_of
from services.api.reads import Readable
from services.api.resources import Resource
from services.api.sync_queries import XIDS, select_arrivals, select_changes
from services.api.wire import dump
from shared.db import Row, Tx, sql
from shared.tenancy import Principal, Reach, visible

T = TypeVar("T")
# Longer than any request or job works between looking at the clock and its first write, with the clocks' differences.
OVERLAP = timedelta(minutes=15)
# Longer than any transaction lasts that was open when a first sync began.
FIRST_OVERLAP = timedelta(days=1)
# Who is given more than this is better served by reading all, page by page: every page of a sync names them all.
MOST_ARRIVALS = 10_000
_ANOTHER_TIME = "The cursor is of another time of this database: begin again without one."
SAYS = """What has changed of the {plural} you may see since you were here last, for an offline copy.

Without `cursor` all there are come, page by page. Keep the last `next_cursor`: given later, it brings what was made or
changed since, in full, and in `deleted` what to forget. Nothing is left out, whatever was written at the same moment;
now and then something comes a second time: keep the higher `version`. When a customer is to be forgotten, forget what
belongs to it too. A 410 `sync_expired` asks to begin again without a cursor."""
REFUSES = {"x-error-codes": ["sync_expired"]}
# A snapshot's own upper end is one beyond the last transaction that has ended, and some that are open may lie beyond
# it: only a number drawn now is greater than all that are.
SNAPSHOT = sql(
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,"
    " pg_current_xact_id()::text::bigint AS following, system_identifier::text AS cluster FROM pg_control_system()"
)
# Numbers of transactions mean nothing in another cluster, where a backup may have been loaded.
CLUSTER = sql("SELECT system_identifier::text FROM pg_control_system()")


class SyncParams(BaseModel):
    """What a sync takes. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(
        default=None, max_length=2000, description="`next_cursor` of the answer before; without it all there is comes."
    )
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, description=f"Rows a page; more than {MOST} gives {MOST}.")
    fields: FieldNames | None = None


class Tombstone(BaseModel):
    """Something to forget."""

    id: UUID
    version: int
    deleted_at: datetime | None
    reason: str = Field(description="`deleted`, or `out_of_reach`: it is there, and no longer yours to see.")
    merged_into: UUID | None = Field(
        default=None, description="Of a customer or contact that was merged into another one: the one that is left."
    )


class Changes(BaseModel, Generic[T]):
    """What has changed, in the order of the changes; what is gone is in `deleted`."""

    data: list[T]
    deleted: list[Tombstone]
    next_cursor: str = Field(description="Keep it, and give it as `cursor`: at once while `has_more`, else next time.")
    has_more: bool


@dataclass(frozen=True, slots=True)
class Since:
    """What a reader has seen: all that transactions before `horizon` wrote; none from `following` on had begun."""

    horizon: int
    following: int
    at: datetime
    low: datetime
    cluster: str

    def next(self, oldest: int, following: int, now: datetime) -> Since:
        """Where a sync that begins now will have come to."""
        settled = oldest >= self.following
        return Since(oldest, following, now, max(self.low, self.at - OVERLAP) if settled else self.low, self.cluster)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader is: since when changes are told (None: all there is), and while it pages, how far and to what."""

    since: Since | None
    towards: Since | None = None
    place: tuple[datetime, UUID] | None = None

    def dumped(self) -> list[Any]:
        return [_plain(self.since), _plain(self.towards), self.place]

    @classmethod
    def loaded(cls, value: list[Any]) -> Position:
        since, towards, place = value
        at = None if place is None else (datetime.fromisoformat(place[0]), UUID(place[1]))
        return cls(_since(since), _since(towards), at)


def _plain(since: Since | None) -> list[Any] | None:
    return None if since is None else [since.horizon, since.following, since.at, since.low, since.cluster]


def _since(value: list[Any] | None) -> Since | None:
    if value is None:
        return None
    horizon, following, at, low, cluster = value
    return Since(horizon, following, datetime.fromisoformat(at), datetime.fromisoformat(low), cluster)


async def changes(
    tx: Tx, principal: Principal, readable: Readable, params: SyncParams, cursors: Cursors
) -> dict[str, Any]:
    """One page of changes as JSON; raises InvalidCursor, and SyncExpired where all must be read anew."""
    check_fields(params.fields, readable.names)
    resource = readable.resource
    binding = binding_of(principal, f"{resource.name}_sync", {})
    reach = [principal.reach, sorted(str(each) for each in principal.owner_ids)]
    position = Position(None)
    if params.cursor is not None:
        value, reach_then = cursors.open(binding, params.cursor)
        if reach_then != reach:
            raise SyncExpired("What you may see has changed since: begin again without a cursor.")
        position = Position.loaded(value)
    towards = await (_begin(tx, position.since) if position.towards is None else _go_on(tx, position.towards))
    limit = min(params.limit, MOST)
    rows = await _rows(tx, principal, resource, position, limit)
    has_more, rows = len(rows) > limit, rows[:limit]
    reached = Position(position.since, towards, (rows[-1]["updated_at"], rows[-1]["id"])) if has_more else None
    gone = [row for row in rows if _gone(row)]
    return {
        "data": [trimmed(resource.wire(row), params.fields) for row in rows if not _gone(row)],
        "deleted": [_tombstone(row) for row in gone],
        "next_cursor": cursors.seal(binding, [(reached or Position(towards)).dumped(), reach]),
        "has_more": has_more,
    }


def tag_of_changes(body: dict[str, Any]) -> str:
    """A weak ETag: which rows come in which version. The cursor is new each time, and an older one goes on as well."""
    come = [[row["id"], row["version"]] for row in (*body["data"], *body["deleted"])]
    return f"W/{tag_of(dump([come, body['has_more']]))}"


async def _begin(tx: Tx, since: Since | None) -> Since:
    """Looks at what is open before anything is read: what commits meanwhile is told now or next time, or both."""
    row = await tx.row(SNAPSHOT)
    assert row is not None  # noqa: S101 - a select without a table gives one row
    if since is None:
        return Since(row["oldest"], row["following"], tx.now, tx.now - FIRST_OVERLAP, row["cluster"])
    if row["cluster"] != since.cluster or not 0 <= row["following"] - since.horizon < XIDS // 2:
        raise SyncExpired(_ANOTHER_TIME)
    return since.next(row["oldest"], row["following"], tx.now)


async def _go_on(tx: Tx, towards: Since) -> Since:
    """The same, for the pages that follow the first."""
    if await tx.value(CLUSTER) != towards.cluster:
        raise SyncExpired(_ANOTHER_TIME)
    return towards


async def _rows(tx: Tx, principal: Principal, resource: Resource, position: Position, limit: int) -> list[Row]:
    given: dict[str, Any] = {"page_limit": limit + 1, **principal.binds}
    came_in = False
    if position.since is not None:
        given |= {"low": position.since.low, "horizon": position.since.horizon % XIDS}
        if principal.reach is not Reach.ALL and visible(resource.table, principal.reach) is not None:
            arrivals = await tx.rows(select_arrivals(principal.reach), most=MOST_ARRIVALS + 1, **given)
            if len(arrivals) > MOST_ARRIVALS:
                raise SyncExpired("Very much has come within your reach since: begin again without a cursor.")
            came_in = bool(arrivals)
            for kind, name in (("customer", "came_customers"), ("opportunity", "came_opportunities")):
                given[name] = [row["id"] for row in arrivals if row["kind"] == kind]
            owners = principal.owner_ids if principal.reach is Reach.TEAM else (principal.member_id,)
            given["ours"] = [str(each) for each in owners] + ([""] if principal.reach is Reach.TEAM else [])
    if position.place is not None:
        given["after_time"], given["after_id"] = position.place
    query = select_changes(resource, principal.reach, position.since is not None, came_in, position.place is not None)
    return await tx.rows(query, **given)


def _gone(row: Row) -> bool:
    return row["deleted_at"] is not None or not row["within_reach"]


def _tombstone(row: Row) -> dict[str, Any]:
    reason = "out_of_reach" if not row["within_reach"] else "deleted"
    merged_into = row.get("survivor_id") if row["within_reach"] else None
    told = {"id": row["id"], "version": row["version"], "deleted_at": row["deleted_at"], "reason": reason}
    return {**told, "merged_into": merged_into}
