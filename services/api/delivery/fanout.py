"""From events to deliveries: who wants to hear of what, and the rows that say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

from services.api.webhooks import makers
from services.api.webhooks.messages import message_body
from shared.db import Row, Tx, sql
from shared.events import matches
from shared.ids import new_id

# What choosing among endpoints needs of them.
TAKERS = sql(
    "SELECT e.id, e.event_types, e.owner_ids, e.opportunity_ids, e.api_version, e.thin, e.recorded_at,"
    f" {makers.COLUMNS} FROM events.webhook_endpoints e {makers.JOIN}"
    " WHERE e.workspace_id = :workspace_id AND NOT e.disabled"
)
# An event is handed to an endpoint once, whatever is read twice.
_WRITE = sql(
    """
    WITH told AS (
      INSERT INTO events.webhook_messages (workspace_id, event_id, recorded_at, api_version, thin, body)
      SELECT :workspace_id, m.* FROM unnest(CAST(:message_ids AS uuid[]), CAST(:message_times AS timestamptz[]),
        CAST(:editions AS text[]), CAST(:thin AS boolean[]), CAST(:bodies AS bytea[])) m
      ON CONFLICT DO NOTHING
    )
    INSERT INTO events.webhook_deliveries (workspace_id, id, endpoint_id, event_id, event_recorded_at, type,
      subject_type, subject_id, traceparent, next_attempt_at, requested_by, recorded_at, updated_at)
    SELECT :workspace_id, d.id, d.endpoint_id, d.event_id, d.event_recorded_at, d.type, d.subject_type, d.subject_id,
      d.traceparent, CAST(:now AS timestamptz), CAST(:requested_by AS uuid), CAST(:now AS timestamptz), :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:endpoint_ids AS uuid[]), CAST(:event_ids AS uuid[]),
      CAST(:event_times AS timestamptz[]), CAST(:types AS text[]), CAST(:subject_types AS text[]),
      CAST(:subject_ids AS uuid[]), CAST(:traceparents AS text[])) AS d(id, endpoint_id, event_id, event_recorded_at,
      type, subject_type, subject_id, traceparent)
    ON CONFLICT (workspace_id, endpoint_id, event_id, event_recorded_at) DO NOTHING
    RETURNING endpoint_id
    """
)
ENDPOINT: Final = "endpoint"
_AT_ONCE: Final = 10_000
_LONG_BEFORE: Final = timedelta(days=1)


def wants(endpoint: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event (a row of the outbox) is one that the endpoint asked for.

    An endpoint is not told about itself: nobody hears that their own receiver does not answer.
    """
    if event["subject_type"] == ENDPOINT and event["subject_id"] == endpoint["id"]:
        return False
    if not matches(endpoint["event_types"], event["type"]) or not makers.may_be_told(endpoint, event["type"]):
        return False
    if endpoint["owner_ids"] is not None and event["owner_id"] not in endpoint["owner_ids"]:
        return False
    wanted = endpoint["opportunity_ids"]
    return wanted is None or _opportunity(event) in {str(each) for each in wanted}


def _long_before(event: Mapping[str, Any], endpoint: Mapping[str, Any]) -> bool:
    """Of what was long before it an endpoint hears only where it is asked for. (A transaction may take its time.)"""
    before: bool = event["recorded_at"] < endpoint["recorded_at"] - _LONG_BEFORE
    return before


def _opportunity(event: Mapping[str, Any]) -> str | None:
    if event["subject_type"] == "opportunity":
        return str(event["subject_id"])
    named = event["data"].get("opportunity_id")
    return None if named is None else str(named)


def delivery_id(event_recorded_at: datetime) -> UUID:
    """The id of a delivery begins with the time of its event, so that it names its day."""
    return new_id(int(event_recorded_at.timestamp() * 1000))


async def fan_out(
    tx: Tx, events: Iterable[Row], endpoints: Sequence[Row], *, requested_by: UUID | None = None
) -> list[UUID]:
    """Makes the deliveries of `events` to whichever of `endpoints` want them, in one statement for very many.

    The endpoint of each delivery made; those that were there already stay as they are.
    """
    pairs = (
        (event, endpoint)
        for event in events
        for endpoint in endpoints
        if wants(endpoint, event) and (requested_by or not _long_before(event, endpoint))
    )
    made: list[UUID] = []
    while part := list(islice(pairs, _AT_ONCE)):
        made += await _write(tx, part, requested_by)
    return made


async def _write(tx: Tx, pairs: Sequence[tuple[Row, Row]], requested_by: UUID | None) -> list[UUID]:
    messages: dict[tuple[UUID, str, bool], tuple[datetime, bytes]] = {}
    for event, endpoint in pairs:
        edition = (event["id"], endpoint["api_version"], endpoint["thin"])
        if edition not in messages:
            messages[edition] = (event["recorded_at"], message_body(event, thin=endpoint["thin"]))
    rows = await tx.rows(
        _WRITE,
        message_ids=[event_id for event_id, _, _ in messages],
        editions=[version for _, version, _ in messages],
        thin=[thin for _, _, thin in messages],
        message_times=[at for at, _ in messages.values()],
        bodies=[body for _, body in messages.values()],
        ids=[delivery_id(event["recorded_at"]) for event, _ in pairs],
        endpoint_ids=[endpoint["id"] for _, endpoint in pairs],
        event_ids=[event["id"] for event, _ in pairs],
        event_times=[event["recorded_at"] for event, _ in pairs],
        types=[event["type"] for event, _ in pairs],
        subject_types=[event["subject_type"] for event, _ in pairs],
        subject_ids=[event["subject_id"] for event, _ in pairs],
        traceparents=[event["traceparent"] for event, _ in pairs],
        requested_by=requested_by,
        now=tx.now,
    )
    return [row["endpoint_id"] for row in rows]
