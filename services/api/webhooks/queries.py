"""Reading deliveries and attempts: lists by time, one with what was sent and received, and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Executable, Table, cast, func
from sqlalchemy import bindparam as bind

from services.api.errors import NotFound
from services.api.filters import at_least, equals
from services.api.pagination import Cursors, Filter, ListParams, PageRequest, Sort, binding_of, ordered, page_body
from services.api.webhooks.makers import reads
from services.api.wire import columns
from shared.db import Row, Tx, sql, statement
from shared.models import webhook_attempts, webhook_deliveries
from shared.tenancy import Principal, Reach, scoped

_DELIVERY = (
    "id", "endpoint_id", "event_id", "test", "status", "attempts", "next_attempt_at", "last_status", "last_error",
    "delivered_at", "requested_by", "event_recorded_at", "recorded_at", "updated_at",
)  # fmt: skip
_ATTEMPT = (
    "id", "delivery_id", "endpoint_id", "event_id", "number", "attempted_at", "outcome", "status_code", "duration_ms",
    "error",
)  # fmt: skip


def delivery_wire(row: Row) -> dict[str, Any]:
    return {**columns(row, _DELIVERY), "event_type": row["type"]}


def attempt_wire(row: Row) -> dict[str, Any]:
    return {**columns(row, _ATTEMPT), "event_type": row["type"]}


@dataclass(frozen=True, eq=False)
class Listing:
    """A list by id, newest first: ids begin with a time, so that one index gives the order."""

    name: str
    table: Table
    shown: tuple[str, ...]
    wire: Callable[[Row], dict[str, Any]]
    filters: Mapping[str, Filter]


def _before(column: ColumnElement[Any]) -> Filter:
    return Filter(lambda value: column < value, column.type)


_CODE_CLASS = cast(func.coalesce(webhook_attempts.c.status_code / 100, 0), BigInteger)
DELIVERIES = Listing(
    "webhook_delivery",
    webhook_deliveries,
    (*_DELIVERY, "type"),
    delivery_wire,
    {
        "endpoint_id": equals(webhook_deliveries.c.endpoint_id),
        "status": equals(webhook_deliveries.c.status),
        "event_type": equals(webhook_deliveries.c.type),
        "event_id": equals(webhook_deliveries.c.event_id),
        "requested_by": equals(webhook_deliveries.c.requested_by),
        "since": at_least(webhook_deliveries.c.event_recorded_at),
        "until": _before(webhook_deliveries.c.event_recorded_at),
    },
)
ATTEMPTS = Listing(
    "webhook_attempt",
    webhook_attempts,
    (*_ATTEMPT, "type"),
    attempt_wire,
    {
        "endpoint_id": equals(webhook_attempts.c.endpoint_id),
        "delivery_id": equals(webhook_attempts.c.delivery_id),
        "outcome": equals(webhook_attempts.c.outcome),
        "status_code": equals(webhook_attempts.c.status_code),
        "code_class": Filter(lambda value: value == _CODE_CLASS, BigInteger()),
        "event_type": equals(webhook_attempts.c.type),
        "event_id": equals(webhook_attempts.c.event_id),
        "since": at_least(webhook_attempts.c.attempted_at),
        "until": _before(webhook_attempts.c.attempted_at),
    },
)
CLASSES = {"2xx": 2, "3xx": 3, "4xx": 4, "5xx": 5, "none": 0}


@statement
def _select_page(listing: Listing, reach: Reach, filters: tuple[str, ...], after: bool) -> Executable:
    table = listing.table
    query = scoped(table, reach, *(table.c[name] for name in listing.shown))
    for name in filters:
        spec = listing.filters[name]
        query = query.where(spec.bind(bind(f"f_{name}", type_=spec.type_)))
    return ordered(query, _by_id(table), table.c.id, descending=True, after=after)


def _by_id(table: Table) -> Sort:
    return Sort(table.c.id, lambda row: row["id"], UUID)


async def fetch_page(
    tx: Tx, principal: Principal, listing: Listing, params: ListParams, cursors: Cursors, endpoint_id: UUID
) -> dict[str, Any]:
    """A page of what belongs to an endpoint; the caller has looked whether there is one."""
    given = {name: value for name, value in params.model_dump().items() if value is not None}
    given["endpoint_id"] = endpoint_id
    if "code_class" in given:
        given["code_class"] = CLASSES[given["code_class"]]
    filters = tuple(sorted(name for name in given if name not in {"limit", "cursor"}))
    binding = binding_of(principal, listing.name, given)
    page = PageRequest(params.limit, cursors.read(binding, params.cursor, UUID) if params.cursor else None)
    query = _select_page(listing, principal.reach, filters, page.after is not None)
    rows = await tx.rows(query, **{f"f_{name}": given[name] for name in filters}, **page.values())
    return page_body(rows, page, listing.wire, lambda row: cursors.make(binding, row["id"], row["id"]))


# The edition that the endpoint takes now, or else the one there is.
BODY = sql(
    """
    SELECT m.body FROM events.webhook_messages m
    LEFT JOIN events.webhook_endpoints e ON e.workspace_id = m.workspace_id AND e.id = :endpoint_id
    WHERE m.workspace_id = :workspace_id AND m.event_id = :event_id AND m.recorded_at = :event_recorded_at
    ORDER BY coalesce(m.thin = e.thin AND m.api_version = e.api_version, false) DESC LIMIT 1
    """
)
STATS = sql(
    """
    SELECT count(*) AS attempts, count(*) FILTER (WHERE o.outcome = 'success') AS successes,
      percentile_cont(0.5) WITHIN GROUP (ORDER BY o.duration_ms) AS p50,
      percentile_cont(0.99) WITHIN GROUP (ORDER BY o.duration_ms) AS p99,
      (SELECT coalesce(jsonb_object_agg(g.outcome, g.count), '{}') FROM (
        SELECT a.outcome, count(*) FROM events.webhook_attempts a WHERE a.workspace_id = :workspace_id
          AND a.endpoint_id = :id AND a.attempted_at >= :since AND a.attempted_at < :until GROUP BY a.outcome) g
      ) AS by_outcome
    FROM events.webhook_attempts o WHERE o.workspace_id = :workspace_id AND o.endpoint_id = :id
      AND o.attempted_at >= :since AND o.attempted_at < :until
    """
)
HEALTH = sql(
    """
    SELECT s.failing_since, s.last_success_at, s.last_failure_at, coalesce(s.breaker, 'closed') AS breaker,
      s.breaker_until, q.pending, q.oldest_pending_at
    FROM (
      SELECT count(*) AS pending, min(next_attempt_at) AS oldest_pending_at FROM events.webhook_queue
      WHERE workspace_id = :workspace_id AND endpoint_id = :id
    ) q LEFT JOIN events.webhook_endpoint_states s ON s.workspace_id = :workspace_id AND s.endpoint_id = :id
    """
)


@statement
def _select_one(listing: Listing, reach: Reach) -> Executable:
    return scoped(listing.table, reach).where(listing.table.c.id == bind("id"))


async def delivery(tx: Tx, principal: Principal, id_: UUID) -> Row:
    """A delivery; raises NotFound."""
    row = await tx.row(_select_one(DELIVERIES, principal.reach), id=id_)
    if row is None:
        raise NotFound("There is no such delivery, or it is not yours to see.")
    return row


async def attempt(tx: Tx, principal: Principal, id_: UUID) -> dict[str, Any]:
    """An attempt with what was sent and what came back; raises NotFound.

    The body that was sent is an event: it is shown to whoever may be told of it.
    """
    row = await tx.row(_select_one(ATTEMPTS, principal.reach), id=id_)
    if row is None:
        raise NotFound("There is no such attempt, or it is not yours to see.")
    told = reads(principal, row["type"])
    body = await tx.value(BODY, **columns(row, ("endpoint_id", "event_id", "event_recorded_at"))) if told else None
    sent = {"url": row["url"], "headers": row["request_headers"], "body": _text(body)}
    received = {
        "status_code": row["status_code"],
        "headers": row["response_headers"],
        "body": _text(row["response_body"]),
        "remote_ip": row["remote_ip"],
    }
    return {**attempt_wire(row), "request": sent, "response": received}


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "replace")


async def stats(tx: Tx, endpoint_id: UUID, since: Any, until: Any) -> dict[str, Any]:
    """Attempts from `since` until before `until`, and the endpoint's health now."""
    counted = await tx.row(STATS, id=endpoint_id, since=since, until=until)
    health = await tx.row(HEALTH, id=endpoint_id)
    assert counted is not None and health is not None  # noqa: S101, PT018 - counts always give one row
    return {
        "since": since,
        "until": until,
        "attempts": counted["attempts"],
        "successes": counted["successes"],
        "failures": counted["attempts"] - counted["successes"],
        "by_outcome": counted["by_outcome"],
        "duration_ms_p50": counted["p50"],
        "duration_ms_p99": counted["p99"],
        "health": dict(health),
    }
