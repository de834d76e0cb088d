"""Wire types of webhook endpoints and their keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.api.fields import ClientId, Instant, Known, Name, ShortText, Strict
from services.api.pagination import ListParams
from services.api.webhooks.messages import API_VERSION
from services.api.webhooks.signing import HMAC
from shared.catalog.webhooks import WEBHOOK_API_VERSIONS, WEBHOOK_DISABLED_REASONS, WEBHOOK_SIGNATURES

GRACE_SECONDS, MOST_GRACE_SECONDS = 86_400, 604_800
_DAY = 86_400
_LONGEST_SCHEDULE = 14 * _DAY


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _ids_once(values: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(values))


def _bounded(seconds: list[int]) -> list[int]:
    if sum(seconds) > _LONGEST_SCHEDULE:
        raise ValueError(f"all waits together may be {_LONGEST_SCHEDULE} seconds (14 days)")
    return seconds


Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
EventTypes = Annotated[
    list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]],
    Field(
        min_length=1,
        max_length=100,
        description="Names of event types (`GET /v1/event-types`); `opportunity.*` takes all of a subject, `*` all.",
        examples=[["opportunity.*", "focus.moved"]],
    ),
    AfterValidator(_each_once),
]
Ids = Annotated[list[UUID], Field(min_length=1, max_length=100), AfterValidator(_ids_once)]
Signature = Annotated[str, Known(WEBHOOK_SIGNATURES)]
Signatures = Annotated[
    list[Signature],
    Field(
        min_length=1,
        max_length=4,
        description="v1: a secret that both sides know; v1a: a key pair with a public half.",
    ),
    AfterValidator(_each_once),
]
Seconds = Annotated[int, Field(ge=1, le=2 * _DAY)]
Schedule = Annotated[
    list[Seconds],
    Field(
        min_length=1,
        max_length=20,
        description="Seconds between an attempt and the next. Null: 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.",
        examples=[[5, 60, 600]],
    ),
    AfterValidator(_bounded),
]
HeaderText = Annotated[str, StringConstraints(max_length=4_000)]
Headers = Annotated[
    dict[str, HeaderText],
    Field(
        max_length=20,
        description="Sent with every attempt, such as Authorization. Never shown again: only their names are.",
        examples=[{"Authorization": "Bearer …"}],
    ),
]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=500)],
    ],
    Field(max_length=20, description="The caller's own notes, by name."),
]
Throttle = Annotated[int, Field(ge=1, le=10_000, description="Attempts a second at most; null does not hold back.")]
Timeout = Annotated[int, Field(ge=1, le=30, description="Seconds an attempt may take in all.")]
KeyText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class WebhookEndpointCreate(Strict):
    """Where events are to be sent, and which."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client.")
    url: Url = Field(description="https:// and a public address.", examples=["https://hooks.example.com/sixteen"])
    description: ShortText | None = Field(default=None, examples=["ERP of the north branch"])
    event_types: EventTypes
    owner_ids: Ids | None = Field(default=None, description="Only events of these owners; null takes all.")
    opportunity_ids: Ids | None = Field(default=None, description="Only events of these opportunities; null takes all.")
    api_version: Annotated[str, Known(WEBHOOK_API_VERSIONS)] = Field(
        default=API_VERSION, description="The edition of the payload it is pinned to."
    )
    thin: bool = Field(default=False, description="Leave `data` out: the receiver reads the record itself.")
    signatures: Signatures = Field(default_factory=lambda: [HMAC])
    throttle_rate: Throttle | None = None
    timeout_seconds: Timeout = 15
    retry_schedule: Schedule | None = None
    headers: Headers | None = None
    metadata: Metadata = Field(default_factory=dict)
    disabled: bool = False
    key: KeyText | None = Field(
        default=None, description="A signing key of your own, `whsec_…` or `whsk_…`; one is made by default."
    )


class WebhookEndpointPatch(Strict):
    """Changes to an endpoint, as JSON merge-patch: null clears, absent leaves alone; lists are replaced whole."""

    url: Url | None = None
    description: ShortText | None = None
    event_types: EventTypes | None = None
    owner_ids: Ids | None = None
    opportunity_ids: Ids | None = None
    thin: bool | None = None
    signatures: Signatures | None = None
    throttle_rate: Throttle | None = None
    timeout_seconds: Timeout | None = None
    retry_schedule: Schedule | None = None
    headers: Headers | None = None
    metadata: Metadata | None = None
    disabled: bool | None = Field(default=None, description="true holds deliveries back; they are kept.")
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class WebhookEndpoint(BaseModel):
    """A receiver of events."""

    id: UUID
    url: str
    description: str | None
    event_types: list[str]
    owner_ids: list[UUID] | None
    opportunity_ids: list[UUID] | None
    api_version: str
    thin: bool
    signatures: list[Signature]
    throttle_rate: int | None
    timeout_seconds: int
    retry_schedule: list[int] | None
    header_names: list[str] = Field(description="Names of the headers sent along; their values are never shown.")
    metadata: dict[str, str]
    disabled: bool
    disabled_reason: Annotated[str, Known(WEBHOOK_DISABLED_REASONS)] | None = Field(
        description="requested: by hand; failing: nothing but failures for five days; gone: it answered 410;"
        " orphaned: whoever made it has left or may no longer have endpoints, and `:enable` takes it over."
    )
    disabled_at: datetime | None
    notice: str | None = Field(description="What is unusual about this endpoint, in words.")
    created_by: UUID | None = Field(
        description="Who answers for it: it is told what they may be told now. Whoever made it, or took it over."
    )
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    recorded_at: datetime
    updated_at: datetime


class WebhookEndpointCreated(WebhookEndpoint):
    """A new endpoint with the key that verifies its deliveries."""

    key: str | None = Field(
        description="`whsec_…` (or `whpk_…` of a v1a endpoint). Null where the answer repeats an earlier one"
        " (Idempotency-Key): read it under `/secret`."
    )


class WebhookKey(BaseModel):
    """One key that signs deliveries now."""

    kind: Signature
    key: str = Field(description="`whsec_…`: the shared secret of v1; `whpk_…`: the public key of v1a.")
    recorded_at: datetime
    expires_at: datetime | None = Field(description="End of a replaced key's grace; null: the present key.")


class WebhookSecret(BaseModel):
    """What a receiver needs to verify deliveries."""

    key: str = Field(description="The present secret, `whsec_…`; of an endpoint with v1a alone its public key.")
    public_key: str | None = Field(description="`whpk_…`, where the endpoint signs with v1a.")
    keys: list[WebhookKey] = Field(description="All that sign now: the present ones, and old ones in their grace.")


class WebhookSecretRotation(Strict):
    """Replaces the key of an endpoint; for a while both sign."""

    grace_period_seconds: int = Field(
        default=GRACE_SECONDS, ge=0, le=MOST_GRACE_SECONDS, description="How long the old key signs beside the new one."
    )
    signature: Signature | None = Field(default=None, description="Only the key of this kind; all by default.")
    key: KeyText | None = Field(default=None, description="A key of your own; one is made by default.")


class WebhookTest(Strict):
    """Asks for a sample."""

    event_type: Name | None = Field(
        default=None, description="One of `GET /v1/event-types`; the first that the endpoint takes by default."
    )


class WebhookEndpointFilters(ListParams):
    """Filters and order of the list of endpoints."""

    sort: str | None = Field(default=None, description="recorded_at, updated_at; - before it turns the order.")
    disabled: bool | None = None
    updated_after: Instant | None = None
