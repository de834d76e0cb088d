"""Wire types of the feed of events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import Instant
from services.api.pagination import ListParams

Pattern = Annotated[str, Field(max_length=100)]


class EventSubject(BaseModel):
    """What an event is about."""

    type: str = Field(examples=["opportunity"])
    id: UUID


class Event(BaseModel):
    """Something that happened. The feed, the stream and webhooks all carry this same envelope."""

    id: UUID = Field(description="The same wherever and however often the event is told: drop what you have had.")
    type: str = Field(description="What happened; `/v1/event-types` has them all.", examples=["opportunity.won"])
    version: int = Field(description="Version of the type; within it the schema of `data` only grows.")
    timestamp: datetime = Field(description="When it happened.")
    recorded_at: datetime = Field(description="When it became known here.")
    workspace_id: UUID
    subject: EventSubject
    resource_version: int | None = Field(description="Version of the subject after it: drop what is older than yours.")
    owner_id: UUID | None = Field(description="Who owned the subject then.")
    actor_id: UUID | None = Field(description="The member who did it; null where nobody did.")
    request_id: str | None = Field(description="The request behind it.")
    traceparent: str | None = Field(description="W3C trace context of the request behind it.")
    data: dict[str, Any] = Field(description="What the type's schema says. No personal values: read the record.")


class EventPage(BaseModel):
    """Events in the order in which they can be read, oldest first."""

    data: list[Event]
    next_cursor: str = Field(description="Where to go on from, on the last page too: ask again with it later.")
    has_more: bool = Field(description="Whether there is more to be read now; true even after an empty page.")


class EventFilters(ListParams):
    """Where to begin, and which events are wanted."""

    after: str | None = Field(
        default=None,
        description="The place to begin after: a `next_cursor`, or the id of an event. Without it, the oldest kept.",
        max_length=2000,
    )
    type: list[Pattern] | None = Field(
        default=None, description="Types, or patterns such as `opportunity.*`; may be repeated.", max_length=50
    )
    subject_type: str | None = Field(default=None, max_length=50, examples=["opportunity"])
    subject_id: UUID | None = None
    owner_id: UUID | None = Field(default=None, description="Who owned the subject when it happened.")
    since: Instant | None = Field(default=None, description="Recorded at or after this time.")


class StreamFilters(BaseModel):
    """Which events a live stream tells, and where it begins."""

    model_config = ListParams.model_config

    after: str | None = Field(
        default=None,
        description="The place to begin after, as in the feed; `Last-Event-ID` goes before it. Without both: now.",
        max_length=2000,
    )
    type: list[Pattern] | None = Field(
        default=None, description="Types, or patterns such as `opportunity.*`; may be repeated.", max_length=50
    )
    subject_type: str | None = Field(default=None, max_length=50)
    subject_id: UUID | None = None
    owner_id: UUID | None = Field(default=None, description="Who owned the subject when it happened.")
    ticket: str | None = Field(
        default=None,
        description="In place of the Authorization header: one of `/v1/stream-tickets`.",
        max_length=200,
    )


class EventTypeDocument(BaseModel):
    """One type of event: what it is called, the schema of its `data`, and an example."""

    type: str = Field(examples=["opportunity.won"])
    version: int
    label: str = Field(description="In the language asked for.")
    description: str
    subject_types: list[str]
    data_schema: dict[str, Any] = Field(description="JSON Schema (2020-12) of `data`; properties may be added to it.")
    example: dict[str, Any] = Field(description="A whole event.")


class EventTypeList(BaseModel):
    """Every type of event there is."""

    data: list[EventTypeDocument]
    next_cursor: str | None = Field(description="Null: they all fit on one page.")
    has_more: bool


class StreamTicket(BaseModel):
    """A ticket for one live stream."""

    ticket: str | None = Field(
        description="Give it as `?ticket=`; it opens one stream, once. Null where this answer is given again."
    )
    expires_at: datetime = Field(description="Until when it can be used to open one.")
