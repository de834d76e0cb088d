"""The first look at a file: is it what the mapping says, how many rows has it, and which is its latest date?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import IO
from zoneinfo import ZoneInfo

from services.api.imports.mapping import Mapping
from services.api.imports.plan import date_finder
from services.api.imports.readers import Spoilt, Unreadable, check_encoding, open_source


@dataclass(frozen=True, slots=True)
class Survey:
    """How many rows a file has, and by how many days its dates are to be moved."""

    rows: int
    shift_days: int


def survey(file: IO[bytes], format_: str, mapping: Mapping, zone: ZoneInfo, today: date) -> Survey:
    """Reads the whole file once; raises Unreadable where it can't be read."""
    check_encoding(file, format_, mapping.file)
    source = open_source(file, format_, mapping.file)
    target = today if mapping.shift_dates_to == "today" else mapping.shift_dates_to
    if target is None:
        return Survey(sum(1 for _ in source.rows), 0)
    latest_of = date_finder(mapping, source.columns, zone)
    latest: date | None = None
    count = 0
    for _, row in source.rows:
        count += 1
        found = None if isinstance(row, Spoilt) else latest_of(row)
        if found is not None and (latest is None or found > latest):
            latest = found
    if latest is None and count:
        raise Unreadable("/mapping/shift_dates_to", "no_dates", "No row holds a date that could be moved.")
    return Survey(count, (target - latest).days if latest else timedelta().days)
