"""How endpoints and jobs are stored, shown and filtered. Keys and headers are no part of it."""

from __future__ import annotations

from typing import Any

from services.api.filters import after, by_time, equals
from services.api.resources import Resource
from services.api.webhooks.validation import LOCAL_NOTICE, is_local
from services.api.wire import columns
from shared.db import Row
from shared.models import webhook_endpoints, webhook_jobs

_SHOWN = (
    "id", "url", "description", "event_types", "owner_ids", "opportunity_ids", "api_version", "thin", "signatures",
    "throttle_rate", "timeout_seconds", "retry_schedule", "header_names", "metadata", "disabled", "disabled_reason",
    "disabled_at", "created_by", "version", "recorded_at", "updated_at",
)  # fmt: skip
_JOB_SHOWN = (
    "id", "kind", "endpoint_id", "parameters", "status", "problem", "total", "done", "requested", "cancel_requested",
    "created_by", "started_at", "finished_at", "version", "recorded_at", "updated_at",
)  # fmt: skip
# Many a receiver has its secret in its URL: neither is told to other receivers, nor kept in the audit trail.
_HIDDEN = frozenset(("url", "metadata", "headers_encrypted", "headers_key_id", "notice"))


def wire(row: Row) -> dict[str, Any]:
    notice = LOCAL_NOTICE if is_local(row["url"]) else None
    return {**columns(row, _SHOWN), "notice": notice}


def job_wire(row: Row) -> dict[str, Any]:
    shown = columns(row, _JOB_SHOWN)
    given = shown["parameters"]
    zoned = {
        name: given[name].replace("+00:00", "Z") for name in ("since", "until") if isinstance(given.get(name), str)
    }
    return {**shown, "parameters": {**given, **zoned}}


ENDPOINTS = Resource(
    name="endpoint",
    path="/v1/webhook-endpoints",
    table=webhook_endpoints,
    wire=wire,
    personal=lambda _: _HIDDEN,
    default_sort="-recorded_at",
    sorts={
        "recorded_at": by_time(webhook_endpoints.c.recorded_at, "recorded_at"),
        "updated_at": by_time(webhook_endpoints.c.updated_at, "updated_at"),
    },
    filters={
        "disabled": equals(webhook_endpoints.c.disabled),
        "updated_after": after(webhook_endpoints.c.updated_at),
    },
)

JOBS = Resource(
    name="webhook_job",
    path="/v1/webhook-jobs",
    table=webhook_jobs,
    wire=job_wire,
    default_sort="-recorded_at",
    sorts={"recorded_at": by_time(webhook_jobs.c.recorded_at, "recorded_at")},
    filters={
        "endpoint_id": equals(webhook_jobs.c.endpoint_id),
        "kind": equals(webhook_jobs.c.kind),
        "status": equals(webhook_jobs.c.status),
    },
)
