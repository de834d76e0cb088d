"""A dry run: all that a real run does with a batch's rows, within a transaction that is undone up to here.

A row is judged as the real run judges it, against what the rows before it would have left: those of its own batch, and
those of earlier ones that it may meet, which are made again first.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import asyncpg

from services.api.errors import FieldError
from services.api.handlers import from_database
from services.api.imports import batch, doubles, staging
from services.api.imports.course import Process
from services.api.imports.earlier import Earlier
from services.api.imports.job import Job
from services.api.imports.line import Turn
from services.api.imports.parts import Attempt, is_of_a_row, without_doubles
from services.api.imports.plan import Parsed
from services.api.imports.references import References
from shared.db import Tx

FindProcess = Callable[[Tx, Job], Awaitable[Process | None]]


class Trial:
    """The batches of one dry run, one after the other."""

    def __init__(self, job: Job, earlier: Earlier) -> None:
        self._job = job
        self._earlier = earlier
        self._batches = 0
        self._traits: dict[int, Sequence[str]] = {}
        self._makers: dict[int, set[str]] = {}

    async def judge(self, tx: Tx, rows: list[Parsed], find: FindProcess, turn: Turn) -> int:
        """How many of the rows a real run would import; the others keep their errors. All else is undone.

        `find` gives the process of new opportunities, made where there is none.
        """
        await tx.connection.execute(f"{staging.PREPARE}; SAVEPOINT trial")
        process = await find(tx, self._job)
        kind, compared = self._job.mapping.kind, self._job.mapping.duplicates != "keep"
        self._traits = await doubles.traits_of(tx, kind, rows) if compared else {}
        before = await asyncio.to_thread(self._earlier.before, rows, self._traits)
        # What one part makes the next one finds, and nobody after them.
        references = self._job.references.apart()
        # Twins are looked for among the rows of other batches alone.
        for cells in before if compared else [list(chain.from_iterable(before))]:
            again = [self._job.plan.parse(number, row) for number, row in cells]
            await self._attempt(tx, references, again, process, turn)
        self._makers.clear()
        written = await self._attempt(tx, references, rows, process, turn)
        await tx.connection.execute("ROLLBACK TO SAVEPOINT trial")
        tx.effects.clear()
        return written

    async def keep(self, rows: list[Parsed]) -> None:
        """Remembers the rows last judged, for those that come after them; again, where they had to be judged again."""
        self._batches += 1
        good = [(row, row.cells) for row in rows if not row.errors and row.cells is not None]
        await asyncio.to_thread(self._earlier.add, self._batches, good, self._traits, self._makers)

    async def _attempt(
        self, tx: Tx, references: References, rows: list[Parsed], process: Process | None, turn: Turn
    ) -> int:
        parts = without_doubles(rows)
        return sum([await self._part(tx, references, part, process, turn) for part in parts])

    async def _part(
        self, tx: Tx, references: References, rows: list[Parsed], process: Process | None, turn: Turn
    ) -> int:
        """The same for rows without a key that comes twice; where the database refuses one, they are halved."""
        branch = references.branch()
        await tx.connection.execute("SAVEPOINT part")
        try:
            with Attempt(rows):
                written = await batch.apply(tx, self._job, branch, rows, process, turn)
        except asyncpg.PostgresError as error:
            await tx.connection.execute("ROLLBACK TO SAVEPOINT part")
            tx.effects.clear()
            if not is_of_a_row(error):
                raise
            if len(rows) == 1:
                rows[0].errors.append(as_error(error))
                return 0
            middle = len(rows) // 2
            halves = (rows[:middle], rows[middle:])
            return sum([await self._part(tx, references, half, process, turn) for half in halves])
        await tx.connection.execute(f"RELEASE SAVEPOINT part; {staging.EMPTY}")
        branch.keep(made=True)
        self._makers |= branch.makers
        return written


@contextmanager
def opened(job: Job) -> Iterator[Trial]:
    """A dry run's trial, with a place on disk for as long as it lasts."""
    with (
        tempfile.TemporaryDirectory(prefix="sixteen-dry-run-") as folder,
        closing(Earlier(job.mapping, Path(folder))) as earlier,
    ):
        yield Trial(job, earlier)


def as_error(error: asyncpg.PostgresError) -> FieldError:
    """What the database refuses, as an error of the row."""
    problem = from_database(error)
    return problem.errors[0] if problem.errors else FieldError(pointer="", code=problem.code, message=problem.detail)
