"""Metrics and logs: one name for each thing, in every process.

Logs are one JSON object a line and carry `request_id` and `workspace_id` wherever they are known.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# None is registered here: a process shows what it feeds, and a zero of what it never counts would be read as a fact.
REQUESTS = Histogram(
    "http_server_request_duration_seconds",
    "Time from the first byte of a request to the end of its response.",
    ["method", "route", "status"],
    buckets=_FAST,
    registry=None,
)
ACTIVE_REQUESTS = Gauge("http_server_active_requests", "Requests being answered now.", registry=None)
DEPRECATED_CALLS = Counter(
    "sixteen_deprecated_calls_total",
    "Calls of operations that are to go; the log says whose.",
    ["operation"],
    registry=None,
)
NUDGES_LOST = Counter(
    "sixteen_nudges_lost_total", "Wake-ups that did not reach Redis; the sweeper made up for them.", registry=None
)
DIRTY_DEPTH = Gauge("sixteen_dirty_depth", "Subjects waiting to be judged again.", registry=None)
DIRTY_AGE = Gauge("sixteen_dirty_age_seconds", "Age of the oldest dirty mark.", registry=None)
STREAMS = Gauge("sixteen_streams", "Live streams that are open now.", registry=None)
OUTBOX_AGE = Gauge("sixteen_outbox_age_seconds", "Age of the oldest event that readers can't see yet.", registry=None)
QUEUE_TIME = Histogram(
    "sixteen_queue_seconds", "Time from a dirty mark to its judgement.", buckets=_FAST, registry=None
)
DRAIN_TIME = Histogram(
    "sixteen_drain_seconds", "Time of one drain of dirty marks.", ["outcome"], buckets=_FAST, registry=None
)
JUDGED = Counter("sixteen_judged_total", "Opportunities judged.", registry=None)
MOVED = Counter("sixteen_moves_total", "Seats that changed their band.", registry=None)
IMPORT_ROWS = Counter(
    "sixteen_import_rows_total", "Rows of imports, by what became of them.", ["outcome"], registry=None
)
DELIVERY_ATTEMPTS = Counter(
    "sixteen_delivery_attempts_total", "Attempts at webhook deliveries, by how they ended.", ["outcome"], registry=None
)
DELIVERY_LAG = Histogram(
    "sixteen_delivery_lag_seconds", "Time from an event to its first attempt.", buckets=_FAST, registry=None
)
DELIVERIES_WAITING = Gauge("sixteen_deliveries_waiting", "Deliveries that are pending.", registry=None)
DELIVERIES_DUE = Gauge("sixteen_deliveries_due", "Deliveries whose time has come.", registry=None)
DELIVERY_AGE = Gauge("sixteen_delivery_age_seconds", "For how long the oldest delivery has been due.", registry=None)
DELIVERIES_IN_FLIGHT = Gauge("sixteen_deliveries_in_flight", "Attempts under way, by lane.", ["lane"], registry=None)
WEBHOOK_ENDPOINTS = Gauge("sixteen_webhook_endpoints", "Endpoints that are not well.", ["state"], registry=None)
DUTY_AGE = Gauge(
    "sixteen_duty_age_seconds", "Time since a duty of a worker last ended its turn well.", ["duty"], registry=None
)

FED_BY: Final[dict[str, tuple[Counter | Gauge | Histogram, ...]]] = {
    "api": (REQUESTS, ACTIVE_REQUESTS, DEPRECATED_CALLS, NUDGES_LOST, DIRTY_DEPTH, DIRTY_AGE, OUTBOX_AGE, STREAMS),
    "api-worker": (
        DUTY_AGE,
        NUDGES_LOST,
        IMPORT_ROWS,
        DELIVERY_ATTEMPTS,
        DELIVERY_LAG,
        DELIVERIES_WAITING,
        DELIVERIES_DUE,
        DELIVERY_AGE,
        DELIVERIES_IN_FLIGHT,
        WEBHOOK_ENDPOINTS,
    ),
    "scoring": (DUTY_AGE, DIRTY_DEPTH, DIRTY_AGE, QUEUE_TIME, DRAIN_TIME, JUDGED, MOVED),
}
_exposed: set[Counter | Gauge | Histogram] = set()


def expose(service: str) -> None:
    """Shows at /metrics what `service` (a key of `FED_BY`) feeds; may be called again."""
    for metric in FED_BY[service]:
        if metric not in _exposed:
            REGISTRY.register(metric)
            _exposed.add(metric)


def configure_logging(service: str, level: str = "INFO") -> None:
    """JSON lines on standard output for structlog and for the standard library's loggers alike."""
    shared_steps: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared_steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Each request is logged once, by our middleware, with its ids.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("arq").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def access_log(**fields: Any) -> None:
    """One line a request, written straight: the logging machinery would cost more than some requests do."""
    if logging.getLogger().isEnabledFor(logging.INFO):
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = orjson.dumps({"event": "request", "level": "info", "timestamp": stamp, **fields})
        sys.stdout.write(line.decode() + "\n")
