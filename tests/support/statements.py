"""Counting SQL statements: a request's number of statements must not grow with its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from shared.db import Query, Tx


@contextmanager
def statements() -> Iterator[list[str]]:
    """Gathers the SQL of every statement that runs in a transaction of ours while the block runs."""
    seen: list[str] = []

    def recording(name: str) -> Any:
        original = getattr(Tx, name)

        async def run(tx: Tx, query: Query, **given: Any) -> Any:
            seen.append(query.sql)
            return await original(tx, query, **given)

        return patch.object(Tx, name, run)

    async def commit(tx: Tx, last: str | None = None) -> None:
        seen.extend(each for each in (last,) if each is not None)
        await end(tx, last)

    end = Tx.commit
    with recording("rows"), recording("row"), recording("value"), recording("run"), patch.object(Tx, "commit", commit):
        yield seen
