"""PostgreSQL's binary COPY format as numpy structured arrays, in both directions.

Only fixed-width types, never null: so every record has the same length and a whole stream is one array, with the
count of fields and each field's length as columns of their own. What reads a stream checks those columns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.db import Connection

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_CHUNK: Final = 1 << 20
# For fewer ids than this a dictionary is faster than sorting them.
_MANY: Final = 200
_FOLD: Final = np.uint64(0x9E3779B97F4A7C15)
_FLOAT4_OID: Final = 700
_ARRAY_HEADER: Final = np.dtype(
    [("dimensions", ">i4"), ("nulls", ">i4"), ("type", ">i4"), ("length", ">i4"), ("first", ">i4")]
)
_ARRAY_ITEM: Final = np.dtype([("length", ">i4"), ("value", ">f4")])

# What a column may be: PostgreSQL's type and how its value stands on the wire.
WIRE_TYPES: Final[dict[str, str]] = {
    "uuid": "V16",
    "float8": ">f8",
    "int8": ">i8",
    "int4": ">i4",
    "int2": ">i2",
    "timestamptz": ">i8",
}

# Moments are days since the Unix epoch in the core, microseconds since 2000 on the wire.
_EPOCH_2000_DAYS: Final = 10_957
_MICROSECONDS_PER_DAY: Final = 86_400_000_000
INFINITY: Final = np.iinfo(np.int64).max


class WidthMismatch(ValueError):
    """A stream is not made of the fixed-width records that were expected."""


@dataclass(frozen=True)
class Column:
    """A column of fixed width: a type of `WIRE_TYPES`, or `float4[]` of `length` elements."""

    name: str
    type: str
    length: int = 0

    @property
    def payload(self) -> np.dtype[Any]:
        """The value as it stands on the wire."""
        if self.type == "float4[]":
            return np.dtype([("header", _ARRAY_HEADER), ("items", _ARRAY_ITEM, (self.length,))])
        return np.dtype(WIRE_TYPES[self.type])


@dataclass(frozen=True)
class Layout:
    """The records of one stream."""

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, **types: str) -> Layout:
        """A layout of plain columns, by name and type."""
        return cls(tuple(Column(name, kind) for name, kind in types.items()))

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """One record on the wire: the count of fields, then each field after its length."""
        fields: list[tuple[str, Any]] = [("fields#", ">i2")]
        for column in self.columns:
            fields += [(f"{column.name}#", ">i4"), (column.name, column.payload)]
        return np.dtype(fields)

    def empty(self, count: int) -> NDArray[np.void]:
        """`count` records with all lengths filled in and all values still zero."""
        records: NDArray[np.void] = np.zeros(count, dtype=self.dtype)
        records["fields#"] = len(self.columns)
        for column in self.columns:
            records[f"{column.name}#"] = column.payload.itemsize
            if column.type == "float4[]":
                header = records[column.name]["header"]
                header["dimensions"] = 1
                header["type"] = _FLOAT4_OID
                header["length"] = column.length
                header["first"] = 1
                records[column.name]["items"]["length"] = 4
        return records

    def decode(self, stream: bytes | bytearray) -> NDArray[np.void]:
        """The records of a whole stream, without a copy. Raises `WidthMismatch` when a width is not as expected."""
        body = len(stream) - len(HEADER) - len(TRAILER)
        width = self.dtype.itemsize
        if body < 0 or body % width or bytes(stream[: len(HEADER)]) != HEADER or stream[-2:] != TRAILER:
            raise WidthMismatch(f"a stream of {len(stream)} bytes does not hold records of {width}")
        records = np.frombuffer(stream, dtype=self.dtype, count=body // width, offset=len(HEADER))
        if not bool((records["fields#"] == len(self.columns)).all()):
            raise WidthMismatch(f"records do not have {len(self.columns)} fields each")
        for column in self.columns:
            if not bool((records[f"{column.name}#"] == column.payload.itemsize).all()):
                raise WidthMismatch(f"column {column.name} is null or not {column.payload.itemsize} bytes wide")
        return records


async def copy_out(connection: Connection, query: str, layout: Layout) -> NDArray[np.void]:
    """Runs `query` and reads all its rows at once; its columns must be those of `layout`, in order."""
    stream = bytearray()

    async def take(chunk: bytes) -> None:
        stream.extend(chunk)

    await connection.copy_from_query(query, output=take, format="binary")
    return layout.decode(stream)


async def fetch_out(connection: Connection, query: str, values: Sequence[object], layout: Layout) -> NDArray[np.void]:
    """As `copy_out`, for few rows: a prepared statement with parameters spares the planning, which costs more."""
    rows = await connection.fetch(query, *values)
    records = layout.empty(len(rows))
    if rows:
        for column, found in zip(layout.columns, zip(*(row.values() for row in rows), strict=True), strict=True):
            records[column.name] = uuids([key.bytes for key in found]) if column.type == "uuid" else found
    return records


async def copy_in(connection: Connection, table: str, layout: Layout, records: NDArray[np.void]) -> None:
    """Writes `records` into the temporary table `table`, whose columns are those of `layout`."""

    async def stream() -> AsyncIterator[bytes]:
        whole = HEADER + records.tobytes() + TRAILER
        for start in range(0, len(whole), _CHUNK):
            yield whole[start : start + _CHUNK]

    names = [column.name for column in layout.columns]
    await connection.copy_to_table(table, source=stream(), columns=names, format="binary", schema_name="pg_temp")


def moments(days: NDArray[np.float64]) -> NDArray[np.int64]:
    """Days since the Unix epoch as timestamptz on the wire; NaN and infinity become PostgreSQL's infinity."""
    known = np.isfinite(days)
    micros = np.rint((np.where(known, days, _EPOCH_2000_DAYS) - _EPOCH_2000_DAYS) * _MICROSECONDS_PER_DAY)
    return np.where(known, micros.astype(np.int64), INFINITY)


def literal(text: str) -> str:
    """`text` as an SQL literal, for COPY takes no parameters. Raises `ValueError` for a zero byte."""
    if "\0" in text:
        raise ValueError("text for the database holds a zero byte")
    quoted = text.replace("'", "''")
    if "\\" in quoted:
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


def uuid_list(ids: NDArray[np.void] | Sequence[bytes]) -> str:
    """An SQL literal of type uuid[]: ids are hexadecimal digits, so that nothing can be injected."""
    digits = ids.tobytes().hex() if isinstance(ids, np.ndarray) else b"".join(ids).hex()
    return "'{" + ",".join(digits[start : start + 32] for start in range(0, len(digits), 32)) + "}'::uuid[]"


def uuids(ids: Sequence[bytes]) -> NDArray[np.void]:
    """16-byte ids as an array of dtype V16."""
    return np.frombuffer(b"".join(ids), dtype="V16") if ids else np.zeros(0, dtype="V16")


def positions(known: NDArray[np.void], wanted: NDArray[np.void]) -> NDArray[np.intp]:
    """For each wanted uuid its place among the known ones, the last of them, -1 where it is not there."""
    if not len(known) or len(known) + len(wanted) < _MANY:
        place = {key: index for index, key in enumerate(known.tolist())}
        return np.fromiter((place.get(key, -1) for key in wanted.tolist()), dtype=np.intp, count=len(wanted))
    ours, theirs = _halves(known), _halves(wanted)
    keys = _folded(ours)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    of_wanted = _folded(theirs)
    at = np.searchsorted(keys, of_wanted, side="right") - 1
    found = order[at]
    same: NDArray[np.bool_] = (at >= 0) & (ours[found] == theirs).all(axis=1)
    # Where two uuids fold into one key, the right one may stand before: those few are looked up one by one.
    doubtful = np.flatnonzero(~same & (at > 0) & (keys[at] == of_wanted))
    result = np.where(same, found, -1)
    if len(doubtful):
        place = {key: index for index, key in enumerate(known.tolist())}
        result[doubtful] = [place.get(key, -1) for key in wanted[doubtful].tolist()]
    return result


def _halves(ids: NDArray[np.void]) -> NDArray[np.uint64]:
    """Uuids (n,) as two words each, (n, 2)."""
    return np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)


def _folded(halves: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return halves[:, 0] * _FOLD ^ halves[:, 1]
