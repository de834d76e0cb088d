"""The bytes of a delivery: the event's envelope, made once and then sent, signed and stored as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.api.wire import dump
from shared.events import envelope

# The edition of the payload that new endpoints are pinned to.
API_VERSION: Final = "v1"
MOST_BYTES: Final = 20_000


def message_body(event: Mapping[str, Any], *, thin: bool) -> bytes:
    """An event (a row of `events.outbox`) as a receiver gets it, at most 20,000 bytes.

    A thin message has no `data`: its receiver reads the record itself. So is a message that would be too long.
    """
    told = envelope(event)
    if not thin:
        whole = dump(told)
        if len(whole) <= MOST_BYTES:
            return whole
    return dump({name: value for name, value in told.items() if name != "data"})
