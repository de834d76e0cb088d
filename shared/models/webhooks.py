"""Webhooks: who is told, with which secrets, what is due, and how each attempt went.

Messages, deliveries and attempts are partitioned by day and dropped with the events they are about. The id of a
delivery begins with the time of its event, and that of an attempt with its own time (UUIDv7), so that a look-up by
id reads one partition: `event_recorded_at` and `attempted_at` lie within the millisecond that the id names.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from shared.models.base import (
    EVENTS,
    metadata,
    one_of,
    recorded_columns,
    refers_to,
    tenant_table,
    time_column,
    uuid_column,
)
from shared.models.records import outbox

DELIVERY_STATUSES = ("pending", "delivered", "failed", "skipped")
OUTCOMES = ("success", "timeout", "connection", "refused", "redirect", "client_error", "server_error")
JOB_STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")

webhook_endpoints = tenant_table(
    "webhook_endpoints",
    Column("url", Text, nullable=False),
    Column("description", Text),
    # Names of event types, "opportunity.*", or "*".
    Column("event_types", ARRAY(Text), nullable=False),
    Column("owner_ids", ARRAY(UUID(as_uuid=True))),
    Column("opportunity_ids", ARRAY(UUID(as_uuid=True))),
    Column("api_version", Text, nullable=False),
    Column("thin", Boolean, nullable=False, server_default=text("false")),
    # The kinds of signature sent with each attempt: v1 (HMAC), v1a (ed25519).
    Column("signatures", ARRAY(Text), nullable=False),
    Column("throttle_rate", Integer),
    Column("timeout_seconds", Integer, nullable=False, server_default=text("15")),
    # Seconds between an attempt and the next one; null is the schedule that every endpoint has.
    Column("retry_schedule", ARRAY(Integer)),
    # A JSON object of names and values, encrypted; `headers_key_id` names the encryption key.
    Column("headers_encrypted", LargeBinary),
    Column("headers_key_id", Text),
    Column("header_names", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("disabled_reason", Text),
    time_column("disabled_at"),
    uuid_column("created_by", nullable=True),
    *recorded_columns(),
    one_of("disabled_reason", ("requested", "failing", "gone", "orphaned")),
    schema=EVENTS,
)

# What the engine learns about an endpoint: small and often written, and nobody else's to write.
webhook_endpoint_states = tenant_table(
    "webhook_endpoint_states",
    uuid_column("endpoint_id"),
    time_column("failing_since"),
    time_column("last_success_at"),
    time_column("last_failure_at"),
    # The part of the days until it is disabled, in per cent, that was last told of: 0, 50, 70, 90, 100.
    Column("alerted", SmallInteger, nullable=False, server_default=text("0")),
    Column("breaker", Text, nullable=False, server_default=text("'closed'")),
    time_column("breaker_until"),
    Column("breaker_openings", Integer, nullable=False, server_default=text("0")),
    time_column("window_started_at"),
    Column("window_attempts", Integer, nullable=False, server_default=text("0")),
    Column("window_failures", Integer, nullable=False, server_default=text("0")),
    # Sending times of a throttled endpoint are given away until here.
    time_column("throttled_until"),
    time_column("updated_at", nullable=False),
    one_of("breaker", ("closed", "open", "half_open")),
    refers_to("endpoint_id", "webhook_endpoints", EVENTS),
    schema=EVENTS,
    key=("endpoint_id",),
)

webhook_secrets = tenant_table(
    "webhook_secrets",
    uuid_column("endpoint_id"),
    Column("kind", Text, nullable=False),
    # The encryption key that `ciphertext` was made with; the row's workspace and id are its associated data.
    Column("key_id", Text, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("public_key", LargeBinary),
    time_column("recorded_at", nullable=False),
    # Null: the current one. A replaced one signs, beside its successor, until then.
    time_column("expires_at"),
    one_of("kind", ("v1", "v1a")),
    refers_to("endpoint_id", "webhook_endpoints", EVENTS),
    Index(
        "uq_webhook_secrets_current",
        "workspace_id",
        "endpoint_id",
        "kind",
        unique=True,
        postgresql_where=text("expires_at IS NULL"),
    ),
    Index("ix_webhook_secrets_key", "key_id"),
    schema=EVENTS,
)

# How far a workspace's events have been handed to its endpoints: all that `seen`, a pg_snapshot in its text form,
# shows. What it does not show and the present one does is new; a transaction that stays open keeps nothing waiting.
relay_positions = tenant_table(
    "relay_positions",
    Column("seen", Text, nullable=False),
    # The database cluster whose transactions `seen` is of: a backup may be loaded into another one.
    Column("cluster", BigInteger, nullable=False, server_default=text("(pg_control_system()).system_identifier")),
    time_column("updated_at", nullable=False),
    schema=EVENTS,
    key=(),
)

# The bytes that are signed and sent, the same for all endpoints that want the same edition.
webhook_messages = Table(
    "webhook_messages",
    metadata,
    uuid_column("workspace_id"),
    uuid_column("event_id"),
    time_column("recorded_at", nullable=False),
    Column("api_version", Text, nullable=False),
    Column("thin", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("workspace_id", "event_id", "api_version", "thin", "recorded_at"),
    schema=EVENTS,
    postgresql_partition_by="RANGE (recorded_at)",
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    uuid_column("workspace_id"),
    uuid_column("id"),
    uuid_column("endpoint_id"),
    uuid_column("event_id"),
    time_column("event_recorded_at", nullable=False),
    Column("type", Text, nullable=False),
    Column("subject_type", Text),
    uuid_column("subject_id", nullable=True),
    Column("traceparent", Text),
    # A sample asked for by its endpoint's administrator: it is about nothing that happened.
    Column("test", Boolean, nullable=False, server_default=text("false")),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time_column("next_attempt_at"),
    Column("last_status", Integer),
    Column("last_error", Text),
    time_column("delivered_at"),
    # The job (resend, recover, replay) that asked for it, or for it once more.
    uuid_column("requested_by", nullable=True),
    time_column("recorded_at", nullable=False),
    time_column("updated_at", nullable=False),
    one_of("status", DELIVERY_STATUSES),
    PrimaryKeyConstraint("workspace_id", "id", "event_recorded_at"),
    UniqueConstraint(
        "workspace_id", "endpoint_id", "event_id", "event_recorded_at", name="uq_webhook_deliveries_event"
    ),
    Index("ix_webhook_deliveries_endpoint", "workspace_id", "endpoint_id", "id"),
    schema=EVENTS,
    postgresql_partition_by="RANGE (event_recorded_at)",
)

# What waits: a row for each pending delivery, kept by a trigger on those. All that turns over quickly is in here, and
# the look for what is due never meets the many days of what is done.
webhook_queue = tenant_table(
    "webhook_queue",
    uuid_column("delivery_id"),
    time_column("event_recorded_at", nullable=False),
    uuid_column("endpoint_id"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # How often it was taken up since its last outcome: one that kills its workers is given up.
    Column("claims", Integer, nullable=False, server_default=text("0")),
    # Taking it up moves this to the lease's end: who dies on it leaves it to others then.
    time_column("next_attempt_at", nullable=False),
    uuid_column("lease_token", nullable=True),
    Index("ix_webhook_queue_due", "endpoint_id", "next_attempt_at"),
    schema=EVENTS,
    key=("delivery_id",),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    uuid_column("workspace_id"),
    uuid_column("id"),
    uuid_column("delivery_id"),
    uuid_column("endpoint_id"),
    uuid_column("event_id"),
    time_column("event_recorded_at", nullable=False),
    Column("type", Text, nullable=False),
    Column("number", Integer, nullable=False),
    time_column("attempted_at", nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status_code", Integer),
    Column("duration_ms", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("remote_ip", Text),
    Column("request_headers", JSONB, nullable=False, server_default=text("'{}'")),
    Column("response_headers", JSONB),
    Column("response_body", LargeBinary),
    Column("error", Text),
    one_of("outcome", OUTCOMES),
    PrimaryKeyConstraint("workspace_id", "id", "attempted_at"),
    Index("ix_webhook_attempts_endpoint", "workspace_id", "endpoint_id", "id"),
    Index("ix_webhook_attempts_delivery", "workspace_id", "delivery_id", "id"),
    schema=EVENTS,
    postgresql_partition_by="RANGE (attempted_at)",
)

webhook_jobs = tenant_table(
    "webhook_jobs",
    Column("kind", Text, nullable=False),
    uuid_column("endpoint_id"),
    Column("parameters", JSONB, nullable=False, server_default=text("'{}'")),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    Column("problem", JSONB),
    Column("total", BigInteger),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("requested", BigInteger, nullable=False, server_default=text("0")),
    # Where to go on after a crash, written in the same transaction as the deliveries before it.
    Column("position", JSONB, nullable=False, server_default=text("'{}'")),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    uuid_column("lease_token", nullable=True),
    time_column("lease_until"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time_column("next_attempt_at"),
    uuid_column("created_by", nullable=True),
    Column("request_id", Text),
    time_column("started_at"),
    time_column("finished_at"),
    *recorded_columns(),
    one_of("kind", ("resend", "recover", "replay_missing")),
    one_of("status", JOB_STATUSES),
    Index("ix_webhook_jobs_unfinished", "next_attempt_at", postgresql_where=text("status IN ('queued', 'running')")),
    Index("ix_webhook_jobs_endpoint", "workspace_id", "endpoint_id", "id"),
    schema=EVENTS,
)

# What is new since a snapshot, whosever it is: the relay's first question.
Index("ix_outbox_relay", outbox.c.xid, outbox.c.workspace_id)
