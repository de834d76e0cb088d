"""Wire types of deliveries, their attempts, and the jobs that make them again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.api.errors import FieldError
from services.api.fields import Instant, Known, Strict
from services.api.pagination import ListParams
from shared.catalog.webhooks import (
    WEBHOOK_DELIVERY_STATUSES,
    WEBHOOK_JOB_KINDS,
    WEBHOOK_JOB_STATUSES,
    WEBHOOK_OUTCOMES,
)

Outcome = Annotated[str, Known(WEBHOOK_OUTCOMES)]
CodeClass = Literal["2xx", "3xx", "4xx", "5xx", "none"]
JobStatus = Annotated[str, Known(WEBHOOK_JOB_STATUSES)]
JobKind = Annotated[str, Known(WEBHOOK_JOB_KINDS)]


class WebhookDelivery(BaseModel):
    """One event on its way to one endpoint."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID = Field(description="The `webhook-id` of every attempt.")
    event_type: str
    test: bool = Field(description="A sample, made by `:test`.")
    status: Annotated[str, Known(WEBHOOK_DELIVERY_STATUSES)]
    attempts: int = Field(description="Attempts since it was last asked for.")
    next_attempt_at: datetime | None
    last_status: int | None = Field(description="Status of the last answer; null where there was none.")
    last_error: str | None
    delivered_at: datetime | None
    requested_by: UUID | None = Field(description="The job that asked for it, where one did.")
    event_recorded_at: datetime
    recorded_at: datetime
    updated_at: datetime


class WebhookAttempt(BaseModel):
    """One attempt at a delivery."""

    id: UUID
    delivery_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    number: int = Field(description="1 is the first.")
    attempted_at: datetime
    outcome: Outcome
    status_code: int | None = Field(description="Null where no answer came.")
    duration_ms: int
    error: str | None


class WebhookRequest(BaseModel):
    """What was sent."""

    url: str
    headers: dict[str, Any] = Field(description="Values of the endpoint's own headers are left out.")
    body: str | None = Field(
        description="The bytes that were signed, as text; null once the event is no longer kept, and for whoever may"
        " not read it."
    )


class WebhookResponse(BaseModel):
    """What came back."""

    status_code: int | None
    headers: dict[str, Any] | None
    body: str | None = Field(description="At most 20,000 bytes of it, as text.")
    remote_ip: str | None


class WebhookAttemptDetail(WebhookAttempt):
    """One attempt with what was sent and what came back."""

    request: WebhookRequest
    response: WebhookResponse


class WebhookHealth(BaseModel):
    """How an endpoint is doing now."""

    failing_since: datetime | None = Field(description="First failure since the last success.")
    last_success_at: datetime | None
    last_failure_at: datetime | None
    breaker: str = Field(description="open: so much fails that deliveries wait until `breaker_until`.")
    breaker_until: datetime | None
    pending: int = Field(description="Deliveries that wait.")
    oldest_pending_at: datetime | None = Field(description="When the one that is due first is due, or was.")


class WebhookStats(BaseModel):
    """Attempts of an endpoint within a time, and how it is doing now."""

    since: datetime
    until: datetime
    attempts: int
    successes: int
    failures: int
    by_outcome: dict[str, int]
    duration_ms_p50: float | None
    duration_ms_p99: float | None
    health: WebhookHealth


class WebhookJob(BaseModel):
    """Deliveries that are made again, or for the first time: how far it is."""

    id: UUID
    kind: JobKind
    endpoint_id: UUID
    parameters: dict[str, Any]
    status: JobStatus
    problem: FieldError | None = Field(description="Why it could not be finished.")
    total: int | None = Field(description="Deliveries or events to look at; known once it runs.")
    done: int = Field(description="How many of them have been looked at.")
    requested: int = Field(description="Deliveries that were asked for.")
    cancel_requested: bool
    created_by: UUID | None
    started_at: datetime | None
    finished_at: datetime | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    recorded_at: datetime
    updated_at: datetime


class WebhookRecover(Strict):
    """Which failed deliveries are to be made again."""

    since: Instant = Field(description="Events recorded from here on.")
    until: Instant | None = Field(default=None, description="Events recorded before; now by default.")


class WebhookReplay(Strict):
    """Which events are to be delivered that never were delivered to this endpoint."""

    since: Instant | None = Field(
        default=None, description="Events recorded from here on; all that are kept by default."
    )
    until: Instant | None = Field(default=None, description="Events recorded before; now by default.")


class _Within(ListParams):
    since: Instant | None = None
    until: Instant | None = None


class WebhookAttemptFilters(_Within):
    """Filters of the list of attempts, newest first."""

    outcome: Outcome | None = None
    code_class: CodeClass | None = Field(default=None, description="Class of the answer's status; none: no answer.")
    status_code: int | None = Field(default=None, ge=100, le=599)
    event_type: str | None = Field(default=None, max_length=100)
    event_id: UUID | None = None
    delivery_id: UUID | None = None


class WebhookDeliveryFilters(_Within):
    """Filters of the list of deliveries, newest event first; since and until are of the event."""

    status: Annotated[str, Known(WEBHOOK_DELIVERY_STATUSES)] | None = None
    event_type: str | None = Field(default=None, max_length=100)
    event_id: UUID | None = None
    requested_by: UUID | None = None


class WebhookStatsParams(BaseModel):
    """Which time to count."""

    model_config = ConfigDict(extra="forbid")

    since: Instant | None = Field(default=None, description="A day ago by default.")
    until: Instant | None = Field(default=None, description="Now by default.")


class WebhookJobFilters(ListParams):
    """Filters and order of the list of jobs."""

    sort: str | None = Field(default=None, description="recorded_at; - before it turns the order.")
    endpoint_id: UUID | None = None
    kind: JobKind | None = None
    status: JobStatus | None = None
