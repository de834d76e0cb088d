"""Identifiers: UUIDv7, so that primary keys grow with time and pages of an index stay warm."""

from __future__ import annotations

import os
import time
from uuid import UUID

_RANDOM_BITS = 74
_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_last = 0


def new_id(at_ms: int | None = None) -> UUID:
    """A UUIDv7 (RFC 9562). `at_ms` is its Unix time in milliseconds; the default is now.

    Ids made in one process without `at_ms` are strictly increasing: within one millisecond the random
    part is counted up, so that rows written together keep their order.
    """
    global _last
    stamp = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    random_bits = int.from_bytes(os.urandom(10), "big") >> (80 - _RANDOM_BITS)
    value = (stamp << 80) | _VERSION_AND_VARIANT | ((random_bits >> 62) << 64) | (random_bits & ((1 << 62) - 1))
    if at_ms is None:
        if value <= _last:
            value = _last + 1
        _last = value
    return UUID(int=value)
