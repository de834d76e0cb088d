"""Rules of the feed: what is wanted, where it begins, what a page says."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.api.errors import InvalidParameter, NotFound, wrong
from services.api.events import queries
from services.api.events.places import Places
from services.api.events.queries import Sight, Wanted
from services.api.events.schemas import EventFilters, StreamFilters
from shared.db import Tx
from shared.events import EVENT_TYPES, EventType, envelope, unknown
from shared.tenancy import Principal

SUBJECT_TYPES: Final = tuple(sorted({subject for each in EVENT_TYPES.values() for subject in each.subject}))


def wanted(principal: Principal, params: EventFilters | StreamFilters, since: datetime | None = None) -> Wanted:
    """What the parameters ask for; raises InvalidParameter for a type that there is not."""
    errors = [
        wrong("?type", "unknown_code", f"There is no type of event {each!r}; /v1/event-types lists them.")
        for each in unknown(params.type or ())
    ]
    if params.subject_type is not None and params.subject_type not in SUBJECT_TYPES:
        words = f"There is no such type of subject; there are: {', '.join(SUBJECT_TYPES)}."
        errors.append(wrong("?subject_type", "unknown_code", words))
    if errors:
        raise InvalidParameter(errors[0].message, errors=errors)
    types = queries.wanted_types(principal.scopes, params.type)
    return Wanted(types, params.subject_type, params.subject_id, params.owner_id, since)


async def page(tx: Tx, principal: Principal, params: EventFilters, places: Places) -> dict[str, Any]:
    """One page of the feed, for one caller."""
    if params.cursor is not None and params.after is not None:
        raise InvalidParameter(
            "Give after or cursor.", errors=[wrong("?after", "contradiction", "Give after or cursor, not both.")]
        )
    sight = Sight.of(principal)
    asked, parameter = (params.after, "?after") if params.cursor is None else (params.cursor, "?cursor")
    position = await places.find(tx, asked, parameter, sight)
    batch = await queries.read_page(
        tx, position, params.limit, wanted=wanted(principal, params, params.since), sight=sight
    )
    return {
        "data": [envelope(row) for row in batch.rows],
        "next_cursor": places.of_batch(batch, tx.now, asked),
        "has_more": batch.more,
    }


async def get(tx: Tx, principal: Principal, id_: UUID) -> dict[str, Any]:
    """One event; raises NotFound where there is none, or none the caller may see."""
    row = await queries.read_one(tx, id_, Sight.of(principal))
    types = queries.wanted_types(principal.scopes, None)
    if row is None or (types is not None and row["type"] not in types):
        raise NotFound("There is no such event, or it is not yours to see.")
    return envelope(row)


def type_wire(each: EventType, language: str) -> dict[str, Any]:
    return {
        "type": each.type,
        "version": each.version,
        "label": each.label.in_language(language),
        "description": each.description,
        "subject_types": list(each.subject),
        "data_schema": each.json_schema,
        "example": each.sample,
    }


def types_wire(language: str) -> dict[str, Any]:
    data = [type_wire(each, language) for each in EVENT_TYPES.values()]
    return {"data": data, "next_cursor": None, "has_more": False}


def type_of(name: str) -> EventType:
    """The type of this name; raises NotFound."""
    if name not in EVENT_TYPES:
        raise NotFound("There is no such type of event.")
    return EVENT_TYPES[name]
