"""The rows that a dry run has found good, and which of them a later row is to be judged against.

A dry run undoes each batch, so that nothing of it is locked for longer than that takes. What an earlier batch would
have left is made again, in the transaction of the batch that may meet it: rows of the same key or opportunity, rows
that first named what this one names, and what might be its twin. Rows are kept on disk, and found by what ties them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, NamedTuple

from services.api.imports import mapping as mappings
from services.api.imports.directory import loosely
from services.api.imports.plan import Parsed
from services.api.imports.readers import ErrorCell, Row

# Of the rows that share a trait, no more are ever looked at by the search for twins; of those that made things of one
# name, no more are needed to see that it is ambiguous.
_MOST_TWINS: Final = 30
_MOST_NAMING: Final = 3
_MICROSECOND: Final = timedelta(microseconds=1)
_REFERENCES = ("customer", "product", "owner")
# A transaction must not take for ever: what is tied to more rows than these is judged against so many.
_MOST_AGAIN: Final = 20_000
Tie = bytes
# What a cell may be beside what JSON has: how it is written as a text, and read again.
_KINDS: Final[dict[type, tuple[Callable[[Any], str], Callable[[str], Any]]]] = {
    Decimal: (str, Decimal),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    timedelta: (lambda value: str(value // _MICROSECOND), lambda text: int(text) * _MICROSECOND),
    ErrorCell: (str, ErrorCell),
}
_BY_NAME: Final = {kind.__name__: read for kind, (_, read) in _KINDS.items()}


def _tie(*parts: str | None) -> Tie:
    return blake2b("\0".join(part or "" for part in parts).encode("utf-8", "replace"), digest_size=8).digest()


class _Held(NamedTuple):
    """A tie, how many rows may hold it, and the kind of thing that only a row which made one holds it for."""

    tie: Tie
    most: int = 1 << 40
    of: str | None = None


class _Writing:
    """Rows of cells as JSON and back. No two have the same mark, so that no file can hold it."""

    def __init__(self) -> None:
        self._mark = token_hex(16)
        self._encode = json.JSONEncoder(default=self._tagged, separators=(",", ":")).encode
        self._decode = json.JSONDecoder(object_hook=self._read).decode

    def pack(self, cells: Row) -> str:
        # A text's kind is not asked for by the encoder: it would be one like any other.
        return self._encode([self._tagged(cell) if cell.__class__ is ErrorCell else cell for cell in cells])

    def unpack(self, text: str) -> Row:
        cells: Row = self._decode(text)
        return cells

    def _tagged(self, value: Any) -> dict[str, list[str]]:
        kind = value.__class__
        if kind not in _KINDS:
            raise TypeError(f"A cell can't be of {kind.__name__}.")
        return {self._mark: [kind.__name__, _KINDS[kind][0](value)]}

    def _read(self, found: dict[str, Any]) -> Any:
        if self._mark not in found:
            return found
        name, text = found[self._mark]
        return _BY_NAME[name](text)


class Earlier:
    """A file of rows in a folder that somebody else removes; `close` when done. Not for two threads at a time."""

    def __init__(self, mapping: mappings.Mapping, folder: Path) -> None:
        self._of_deals = mapping.kind == "transitions"
        self._made = [name for name in _REFERENCES if getattr(getattr(mapping, name), "missing", "") == "create"]
        self._writing = _Writing()
        self._file = sqlite3.connect(folder / "rows", check_same_thread=False, isolation_level=None)
        self._file.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE rows (number INTEGER PRIMARY KEY, batch INTEGER, cells TEXT, ties BLOB);"
            "CREATE TABLE ties (tie BLOB, number INTEGER, PRIMARY KEY (tie, number)) WITHOUT ROWID;"
            "CREATE TEMP TABLE asked (tie BLOB PRIMARY KEY) WITHOUT ROWID;"
        )

    def close(self) -> None:
        self._file.close()

    def before(self, rows: Iterable[Parsed], traits: Mapping[int, Sequence[str]]) -> list[list[tuple[int, Row]]]:
        """What rows of earlier batches these may meet: (number, cells), in order, batch by batch.

        `traits` are, for a row's number, what it could be a twin by. What those rows may have met is there too.
        """
        found: dict[int, tuple[int, int, bytes, str]] = {}
        asked: set[Tie] = set()
        ties = {held.tie for row in rows for held in self._ties(row, traits.get(row.number, ()))}
        while ties and len(found) < _MOST_AGAIN:
            asked |= ties
            new = [each for each in self._tied(ties) if each[0] not in found]
            found |= {each[0]: each for each in new}
            ties = {held[at : at + 8] for _, _, held, _ in new for at in range(0, len(held), 8)} - asked
        ordered = sorted((batch, number, cells) for number, batch, _, cells in found.values())
        return [
            [(number, self._writing.unpack(cells)) for _, number, cells in group]
            for _, group in groupby(ordered, key=itemgetter(0))
        ]

    def add(
        self,
        batch: int,
        rows: Iterable[tuple[Parsed, Row]],
        traits: Mapping[int, Sequence[str]],
        makers: Mapping[int, Collection[str]],
    ) -> None:
        """Keeps the rows of a batch that were found good; `makers` tells by number what kinds of things they made."""
        kept, tied = [], []
        for row, cells in rows:
            ties = self._ties(row, traits.get(row.number, ()))
            kept.append((row.number, batch, self._writing.pack(cells), b"".join(held.tie for held in ties)))
            made = makers.get(row.number, ())
            tied += [(held.tie, row.number, held.most) for held in ties if held.of is None or held.of in made]
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", kept)
        self._file.executemany(
            "INSERT OR IGNORE INTO ties SELECT ?1, ?2"
            " WHERE (SELECT count(*) FROM (SELECT 1 FROM ties WHERE tie = ?1 LIMIT ?3)) < ?3",
            tied,
        )
        self._file.execute("COMMIT")

    def _ties(self, row: Parsed, traits: Sequence[str]) -> list[_Held]:
        """What ties a row to earlier ones."""
        ties = [_Held(_tie("key", row.key))]
        deal = row.references.get("opportunity")
        if self._of_deals and deal is not None:
            ties.append(_Held(_tie("opportunity", deal.key)))
        for name in self._made:
            named = row.references.get(name)
            if named is not None:
                # Who names what is there already says nothing new; who made it, or another one of the name, does.
                ties.append(_Held(_tie(name, "key", named.key), _MOST_NAMING, name))
                called = {loosely(value) for value in (named.name, named.email, named.key) if value}
                ties += [_Held(_tie(name, "called", value), _MOST_NAMING, name) for value in sorted(called)]
        return ties + [_Held(_tie("trait", each), _MOST_TWINS) for each in traits]

    def _tied(self, ties: set[Tie]) -> list[tuple[int, int, bytes, str]]:
        """(number, batch, ties, cells) of the rows that hold one of these."""
        self._file.execute("DELETE FROM asked")
        self._file.executemany("INSERT INTO asked VALUES (?)", ((tie,) for tie in ties))
        return self._file.execute(
            "SELECT number, batch, ties, cells FROM rows"
            " WHERE number IN (SELECT t.number FROM asked a JOIN ties t ON t.tie = a.tie)"
        ).fetchall()
