"""The `webhooks` section of the OpenAPI document: every event type, as a receiver of deliveries sees it."""

from __future__ import annotations

from typing import Any

from services.api.webhooks.messages import API_VERSION
from shared.event_examples import id_of
from shared.events import ENVELOPE, EVENT_TYPES, EventType

_ANSWERS = {
    "2XX": {"description": "Received. Anything else is tried again, after 5 s, 5 m, 30 m, 2 h, 5 h, 10 h … 24 h."},
    "410": {"description": "Not wanted any more: the endpoint is disabled at once."},
}


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


_SIGNATURE = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
_HEADERS = [
    _header("webhook-id", "The event's id: the same over all attempts and replays.", id_of("event")),
    _header("webhook-timestamp", "When this attempt was made, in Unix seconds.", "1772443800"),
    _header("webhook-signature", "One `v1,…` or `v1a,…` for each key that is good, blanks between.", _SIGNATURE),
]


def body_schema(event: EventType) -> dict[str, Any]:
    """The schema of a delivery's body: the envelope with this type's `data`, which a thin endpoint does without."""
    properties = dict(ENVELOPE["properties"])
    properties["type"] = {"type": "string", "const": event.type}
    properties["data"] = event.schema
    required = [name for name in ENVELOPE["required"] if name != "data"]
    return {"type": "object", "properties": properties, "required": required}


def webhook_paths() -> dict[str, Any]:
    """The section: name of the event type → path item, whose POST is the delivery."""
    return {name: {"post": _operation(event)} for name, event in sorted(EVENT_TYPES.items())}


def _operation(event: EventType) -> dict[str, Any]:
    words = "".join(part.capitalize() for part in event.type.replace(".", "_").split("_"))
    return {
        "operationId": f"on{words}",
        "summary": event.label.en,
        "description": f"{event.description} Verify the signature before reading the body (Standard Webhooks).",
        "tags": ["webhooks"],
        "parameters": _HEADERS,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body_schema(event), "example": event.sample}},
        },
        "responses": _ANSWERS,
        # Deliveries are signed, not authorised: none of the api's security schemes applies to them.
        "security": [],
    }


__all__ = ["API_VERSION", "body_schema", "webhook_paths"]
