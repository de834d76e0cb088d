"""Rows that are written together: how a batch falls into parts, and what a part that fails leaves of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

import asyncpg

from services.api.imports.plan import Parsed


def without_doubles(rows: list[Parsed]) -> Iterator[list[Parsed]]:
    """The rows in parts in which no key comes twice: the later one changes what the earlier one made."""
    part: list[Parsed] = []
    keys: set[str] = set()
    for row in rows:
        if row.key and row.key in keys:
            yield part
            part, keys = [], set()
        keys.add(row.key)
        part.append(row)
    if part:
        yield part


class Attempt:
    """While it lasts rows may get errors; where it fails they lose them again.

    What an attempt finds wrong may be only its own circumstances.
    """

    def __init__(self, rows: list[Parsed]) -> None:
        self._rows = rows
        self._errors = [len(row.errors) for row in rows]
        self._notes = [len(row.notes) for row in rows]

    def __enter__(self) -> None:
        """Nothing is needed until it fails."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self.undo()

    def undo(self) -> None:
        """Takes from the rows the errors and notes that they have got meanwhile."""
        for row, errors, notes in zip(self._rows, self._errors, self._notes, strict=True):
            del row.errors[errors:]
            del row.notes[notes:]


def is_of_a_row(error: asyncpg.PostgresError) -> bool:
    """Whether it is what a row says that the database refuses, and not the circumstances."""
    refusals = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
    return (isinstance(error, refusals) or (error.sqlstate or "").startswith("SX")) and not is_contested(error)


def is_contested(error: asyncpg.PostgresError) -> bool:
    """Whether somebody else has just recorded what a row names: it is found at the next try, and changed."""
    constraint = getattr(error, "constraint_name", None) or ""
    return isinstance(error, asyncpg.UniqueViolationError) and constraint.endswith(("_external", "_email"))
