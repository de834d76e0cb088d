"""Jobs that make deliveries again: page by page, each page with its progress in one transaction.

Who works on a job holds a lease; without its token nothing of the job can be written. After a crash somebody else goes
on behind the last page that was committed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from services.api.delivery.fanout import fan_out
from services.api.webhooks import makers
from services.api.webhooks.redelivery import ensure_messages
from services.api.webhooks.resource import job_wire
from shared.clock import Clock
from shared.db import Database, Row, Tx, sql
from shared.effects import AuditEntry, Event
from shared.events import COLUMNS
from shared.ids import new_id
from shared.outbox import write_effects

log = structlog.get_logger(__name__)

PAGE: Final = 1_000
LEASE_SECONDS: Final = 30.0
MOST_ATTEMPTS: Final = 8
_FIRST: Final = UUID(int=0)

DUE: Final = "SELECT workspace_id, id FROM events.due_webhook_jobs($1, $2)"
CLAIM = sql(
    """
    UPDATE events.webhook_jobs SET status = 'running', lease_token = :token, attempts = attempts + 1,
      lease_until = CAST(:now AS timestamptz) + make_interval(secs => :lease),
      next_attempt_at = CAST(:now AS timestamptz) + make_interval(secs => least(60, 0.5 * 2 ^ least(attempts, 10))),
      started_at = coalesce(started_at, :now), version = version + 1, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND status IN ('queued', 'running')
      AND coalesce(lease_until, '-infinity') < :now AND coalesce(next_attempt_at, '-infinity') <= :now
    RETURNING *
    """
)
PROGRESS = sql(
    """
    UPDATE events.webhook_jobs SET position = CAST(:position AS jsonb), done = done + :done,
      requested = requested + :requested, total = coalesce(total, CAST(:total AS bigint)), attempts = 0,
      next_attempt_at = NULL, lease_until = CAST(:now AS timestamptz) + make_interval(secs => :lease),
      version = version + 1, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'
    RETURNING *
    """
)
RELEASE = sql(
    "UPDATE events.webhook_jobs SET lease_until = NULL, lease_token = NULL, updated_at = :now"
    " WHERE workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'"
)
FINISH = sql(
    """
    UPDATE events.webhook_jobs SET status = :status, problem = CAST(:problem AS jsonb), finished_at = :now,
      lease_until = NULL, lease_token = NULL, next_attempt_at = NULL, version = version + 1, updated_at = :now
    WHERE workspace_id = :workspace_id AND id = :id AND lease_token = :token AND status = 'running'
    RETURNING *
    """
)
ENDPOINT = sql(
    f"SELECT e.id, e.event_types, e.owner_ids, e.opportunity_ids, e.api_version, e.thin, {makers.COLUMNS}"
    f" FROM events.webhook_endpoints e {makers.JOIN}"
    " WHERE e.workspace_id = :workspace_id AND e.id = :id"
)
_FAILED: Final = (
    "workspace_id = :workspace_id AND endpoint_id = :endpoint_id AND status IN ('failed', 'skipped') AND NOT test"
    " AND event_recorded_at >= coalesce(CAST(:since AS timestamptz), '-infinity')"
    " AND event_recorded_at < CAST(:until AS timestamptz)"
)
_HAPPENED: Final = (
    "workspace_id = :workspace_id AND recorded_at >= coalesce(CAST(:since AS timestamptz), '-infinity')"
    " AND recorded_at < CAST(:until AS timestamptz)"
)
COUNTS: Final = {
    "recover": sql(f"SELECT count(*) FROM events.webhook_deliveries WHERE {_FAILED}"),
    "replay_missing": sql(f"SELECT count(*) FROM events.outbox WHERE {_HAPPENED}"),
}
RECOVER = sql(
    f"""
    WITH page AS MATERIALIZED (
      SELECT id, event_recorded_at FROM events.webhook_deliveries WHERE {_FAILED} AND id > :after
      ORDER BY id LIMIT {PAGE}
    )
    UPDATE events.webhook_deliveries d SET status = 'pending', attempts = 0, next_attempt_at = :now,
      requested_by = :job_id, updated_at = :now
    FROM page p WHERE d.workspace_id = :workspace_id AND d.id = p.id AND d.event_recorded_at = p.event_recorded_at
    RETURNING d.id, d.event_id, d.event_recorded_at
    """
)
# Those that were sent already are among them: the unique key of deliveries passes over them, by an index of its own.
EVENTS = sql(
    f"SELECT {', '.join(COLUMNS)} FROM events.outbox WHERE {_HAPPENED} AND id > :after ORDER BY id LIMIT {PAGE}"
)


class LeaseLost(Exception):
    """Somebody else has taken the job over, or it has ended."""


async def due(database: Database, clock: Clock, most: int = 20) -> list[tuple[UUID, UUID]]:
    """(workspace, job) of those that wait for a worker, oldest first, over all workspaces."""
    return [(row["workspace_id"], row["id"]) for row in await database.fetch(DUE, clock.now(), most)]


class Run:
    """Some pages of one job."""

    def __init__(self, database: Database, clock: Clock, workspace_id: UUID, job_id: UUID) -> None:
        self._database = database
        self._clock = clock
        self._workspace_id = workspace_id
        self._id = job_id
        self._held: Row | None = None

    def _transaction(self) -> Any:
        return self._database.transaction(self._workspace_id, self._clock.now())

    async def work(self, pages: int) -> bool:
        """At most so many pages; False where there was nothing to claim, or somebody else took over."""
        async with self._transaction() as tx:
            self._held = await tx.row(CLAIM, id=self._id, token=new_id(), lease=LEASE_SECONDS, now=tx.now)
        if self._held is None:
            return False
        structlog.contextvars.bind_contextvars(
            request_id=self._held["request_id"], workspace_id=str(self._workspace_id), job_id=str(self._id)
        )
        try:
            for _ in range(pages):
                if await self._page(self._held):
                    return True
            await self._release(self._held)
        except LeaseLost:
            log.warning("webhook_job_lease_lost")
            return False
        except Exception as error:
            log.exception("webhook_job_attempt_failed")
            await self._give_up_or_release(self._held, error)
        finally:
            structlog.contextvars.unbind_contextvars("request_id", "workspace_id", "job_id")
        return True

    async def _page(self, held: Row) -> bool:
        """One page with its progress; True where the job has ended."""
        async with self._transaction() as tx:
            if held["cancel_requested"]:
                await self._finish(tx, held, "cancelled")
                return True
            endpoint = await tx.row(ENDPOINT, id=held["endpoint_id"])
            if endpoint is None:
                words = "The endpoint was deleted."
                await self._finish(tx, held, "failed", {"pointer": "", "code": "not_found", "message": words})
                return True
            total = None if held["total"] is not None else await self._count(tx, held)
            looked_at, requested, last = await PAGES[held["kind"]](tx, held, endpoint)
            row = await tx.row(
                PROGRESS,
                id=held["id"],
                token=held["lease_token"],
                position={"after": last} if last is not None else held["position"],
                done=looked_at,
                requested=requested,
                total=total,
                lease=LEASE_SECONDS,
                now=tx.now,
            )
            if row is None:
                raise LeaseLost
            self._held = row
            if looked_at < PAGE:
                await self._finish(tx, row, "succeeded")
                return True
        return False

    async def _count(self, tx: Tx, held: Row) -> int:
        return int(await tx.value(COUNTS[held["kind"]], **_scope(held)))

    async def _finish(self, tx: Tx, held: Row, status: str, problem: dict[str, Any] | None = None) -> None:
        token = held["lease_token"]
        row = await tx.row(FINISH, id=held["id"], token=token, status=status, problem=problem, now=tx.now)
        if row is None:
            raise LeaseLost
        told = job_wire(row)
        tx.effects.emit(Event("webhook_job.completed", "webhook_job", row["id"], tx.now, told, row["version"]))
        changes = {"status": ["running", status], "requested": [None, row["requested"]]}
        tx.effects.audit.append(AuditEntry("webhook_job.completed", "webhook_job", row["id"], row["version"], changes))
        await write_effects(tx, actor_id=row["created_by"], request_id=row["request_id"])
        log.info("webhook_job_completed", kind=row["kind"], status=status, requested=row["requested"])

    async def _release(self, held: Row) -> None:
        async with self._transaction() as tx:
            await tx.run(RELEASE, id=held["id"], token=held["lease_token"], now=tx.now)

    async def _give_up_or_release(self, held: Row, error: Exception) -> None:
        """A page that fails again and again ends the job; a database that is away does not."""
        away = isinstance(error, OSError | TimeoutError | asyncpg.PostgresConnectionError | asyncpg.InterfaceError)
        if away or held["attempts"] < MOST_ATTEMPTS:
            await self._release(held)
            return
        words = f"{held['attempts']} attempts failed, the last with {type(error).__name__}."
        async with self._transaction() as tx:
            await self._finish(tx, held, "failed", {"pointer": "", "code": "gave_up", "message": words})


def _scope(held: Row) -> dict[str, Any]:
    """Which endpoint and which time: the parameters of every page."""
    since, until = (held["parameters"][name] for name in ("since", "until"))
    return {
        "endpoint_id": held["endpoint_id"],
        "since": since and datetime.fromisoformat(since),
        "until": datetime.fromisoformat(until),
    }


async def _recover(tx: Tx, held: Row, endpoint: Row) -> tuple[int, int, UUID | None]:
    rows = await tx.rows(RECOVER, **_scope(held), after=_after(held), job_id=held["id"], now=tx.now)
    await ensure_messages(tx, endpoint, [(row["event_id"], row["event_recorded_at"]) for row in rows])
    return len(rows), len(rows), max((row["id"] for row in rows), default=None)


async def _replay_missing(tx: Tx, held: Row, endpoint: Row) -> tuple[int, int, UUID | None]:
    rows = await tx.rows(EVENTS, **_scope(held), after=_after(held))
    made = await fan_out(tx, rows, [endpoint], requested_by=held["id"])
    return len(rows), len(made), rows[-1]["id"] if rows else None


PAGES: Final = {"recover": _recover, "replay_missing": _replay_missing}


def _after(held: Row) -> UUID:
    after = held["position"].get("after")
    return _FIRST if after is None else UUID(after)
