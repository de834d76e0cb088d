"""The rows that a dry run has found good, and which of them a later row is to be judged against.

A dry run undoes each batch, so that nothing of it is locked for longer than that takes. What an earlier batch would
have left is made again, in the transaction of the batch that may meet it: rows of the same key or opportunity, rows
that first named what this one names, and what might be its twin. Rows are kept on disk, and found by what ties them.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.api.imports import mapping as mappings
from services.api.imports.plan import Parsed

# Of the rows that share a trait, no more are ever looked at by the search for twins; of those that name one thing, no
# more are needed to see that its name is ambiguous.
_MOST_TWINS: Final = 30
_MOST_NAMING: Final = 3
_REFERENCES = ("customer", "product", "owner")
# A transaction must not take for ever: what is tied to more rows than these is judged against so many.
_MOST_AGAIN: Final = 20_000
Cells = Any
Tie = bytes


def _tie(*parts: str | None) -> Tie:
    return blake2b("\0".join(part or "" for part in parts).encode("utf-8", "replace"), digest_size=8).digest()


class _Held(NamedTuple):
    """A tie, how many rows may hold it, and another tie that must not be held yet."""

    tie: Tie
    most: int = 1 << 40
    unless: Tie | None = None


class Earlier:
    """A file of rows in a folder that somebody else removes; `close` when done. Not for two threads at a time."""

    def __init__(self, mapping: mappings.Mapping, folder: Path) -> None:
        self._of_deals = mapping.kind == "transitions"
        self._made = [name for name in _REFERENCES if getattr(getattr(mapping, name), "missing", "") == "create"]
        self._file = sqlite3.connect(folder / "rows", check_same_thread=False, isolation_level=None)
        self._file.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE rows (number INTEGER PRIMARY KEY, batch INTEGER, cells BLOB, ties BLOB);"
            "CREATE TABLE ties (tie BLOB, number INTEGER, PRIMARY KEY (tie, number)) WITHOUT ROWID;"
            "CREATE TEMP TABLE asked (tie BLOB PRIMARY KEY) WITHOUT ROWID;"
        )

    def close(self) -> None:
        self._file.close()

    def before(self, rows: Iterable[Parsed], traits: Mapping[int, Sequence[str]]) -> list[list[tuple[int, Cells]]]:
        """What rows of earlier batches these may meet: (number, cells), in order, batch by batch.

        `traits` are, for a row's number, what it could be a twin by. What those rows may have met is there too.
        """
        found: dict[int, tuple[int, int, bytes]] = {}
        asked: set[Tie] = set()
        ties = {held.tie for row in rows for held in self._ties(row, traits.get(row.number, ()))}
        while ties and len(found) < _MOST_AGAIN:
            asked |= ties
            new = [each for each in self._tied(ties) if each[0] not in found]
            found |= {each[0]: each for each in new}
            ties = {held[at : at + 8] for _, _, held in new for at in range(0, len(held), 8)} - asked
        ordered = sorted((batch, number) for number, batch, _ in found.values())
        return [[(n, self._cells(n)) for _, n in group] for _, group in groupby(ordered, key=itemgetter(0))]

    def add(self, batch: int, rows: Iterable[tuple[Parsed, Cells]], traits: Mapping[int, Sequence[str]]) -> None:
        """Keeps the rows of a batch that were found good."""
        kept, tied = [], []
        for row, cells in rows:
            ties = self._ties(row, traits.get(row.number, ()))
            data = pickle.dumps(cells, pickle.HIGHEST_PROTOCOL)
            kept.append((row.number, batch, data, b"".join(held.tie for held in ties)))
            tied += [(held.tie, row.number, held.most, held.unless) for held in ties]
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", kept)
        self._file.executemany(
            "INSERT OR IGNORE INTO ties SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM ties WHERE tie = ?4)"
            " AND (SELECT count(*) FROM (SELECT 1 FROM ties WHERE tie = ?1 LIMIT ?3)) < ?3",
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
                own = _tie(name, "key", named.key)
                called = [_tie(name, "called", value.casefold()) for value in (named.name, named.email) if value]
                # Who names the same thing again says nothing new; who names another one by the same name does.
                ties += [_Held(tie, _MOST_NAMING, own) for tie in called]
                ties.append(_Held(own, _MOST_NAMING))
        return ties + [_Held(_tie("trait", each), _MOST_TWINS) for each in traits]

    def _tied(self, ties: set[Tie]) -> list[tuple[int, int, bytes]]:
        self._file.execute("DELETE FROM asked")
        self._file.executemany("INSERT INTO asked VALUES (?)", ((tie,) for tie in ties))
        return self._file.execute(
            "SELECT DISTINCT r.number, r.batch, r.ties FROM asked a JOIN ties t ON t.tie = a.tie"
            " JOIN rows r ON r.number = t.number"
        ).fetchall()

    def _cells(self, number: int) -> Cells:
        row = self._file.execute("SELECT cells FROM rows WHERE number = ?", (number,)).fetchone()
        return pickle.loads(row[0])  # noqa: S301 - this process has written it
