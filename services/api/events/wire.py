"""Events as server-sent events."""

from __future__ import annotations

from services.api.wire import dump
from shared.db import Row
from shared.events import envelope

WAITING = b": waiting\n\n"


def frame(row: Row, cursor: str) -> bytes:
    """One message: its id is the place to resume from, its event the type, its data the envelope."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), row["type"].encode(), dump(envelope(row)))


def beginning(retry_ms: int, cursor: str | None = None) -> bytes:
    """What a stream begins with; one that begins now says where, to be resumed from there before its first event."""
    place = b"" if cursor is None else b"id: %b\n" % cursor.encode()
    return b"retry: %d\n%b: connected\n\n" % (retry_ms, place)


def heartbeat(cursor: str) -> bytes:
    """Nothing happened; the place moves on all the same, and no event is dispatched where there is no data."""
    return b": heartbeat\nid: %b\n\n" % cursor.encode()
