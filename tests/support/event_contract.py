"""Holding what is written to the outbox to the contract of `shared.events`."""

from __future__ import annotations

from functools import cache
from typing import Any

import asyncpg
import orjson
from jsonschema import Draft202012Validator, FormatChecker

from services.api.wire import dump
from shared.db import connect_arguments, prepare_connection
from shared.event_data import Schema
from shared.events import ENVELOPE, EVENT_TYPES, envelope

# One of each shape that was written: of each type, with the names and kinds of its properties two levels down.
SHAPES = """
SELECT DISTINCT ON (e.type, e.version, e.subject_type, s.shape) e.*
FROM events.outbox e
CROSS JOIN LATERAL (
  SELECT string_agg(p.key || ':' || jsonb_typeof(p.value) || coalesce(
    (SELECT string_agg(q.key || ':' || jsonb_typeof(q.value), ',' ORDER BY q.key)
     FROM jsonb_each(CASE jsonb_typeof(p.value) WHEN 'object' THEN p.value ELSE '{}' END) q), ''),
    ';' ORDER BY p.key) AS shape
  FROM jsonb_each(e.data) p
) s
"""


def closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name: what we send must be what we document."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(each) for name, each in schema.items()}
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


@cache
def _data_of(name: str) -> Draft202012Validator:
    return Draft202012Validator(closed(EVENT_TYPES[name].json_schema), format_checker=FormatChecker())


_WHOLE = Draft202012Validator(closed(ENVELOPE), format_checker=FormatChecker())


def faults(event: Schema) -> list[str]:
    """What of an event, as JSON, is not as the contract says."""
    type_ = EVENT_TYPES.get(event["type"])
    if type_ is None:
        return [f"{event['type']} is not in shared.events"]
    found = [f"{type_.type}: {error.message} at {error.json_path}" for error in _WHOLE.iter_errors(event)]
    if event["version"] != type_.version:
        found.append(f"{type_.type}: written as version {event['version']}, defined as {type_.version}")
    if event["subject"]["type"] not in type_.subject:
        found.append(f"{type_.type}: about a {event['subject']['type']}, defined for {type_.subject}")
    found += [
        f"{type_.type}: {error.message} at {error.json_path}"
        for error in _data_of(type_.type).iter_errors(event["data"])
    ]
    return found


async def check_outbox(url: str) -> tuple[set[str], list[str]]:
    """The types that were written into a database, and how they break the contract."""
    connection = await asyncpg.connect(**connect_arguments(url, ""))
    try:
        await prepare_connection(connection)
        rows = await connection.fetch(SHAPES)
    finally:
        await connection.close()
    events = [orjson.loads(dump(envelope(row))) for row in rows]
    broken = {fault for event in events for fault in faults(event)}
    return {event["type"] for event in events}, sorted(broken)
