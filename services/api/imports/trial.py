"""A batch of a dry run: all that a real run does with its rows, within a transaction that is undone up to here.

A key that comes twice is judged as the real run judges it: the later row against what the earlier one would have left.
"""

from __future__ import annotations

import asyncpg

from services.api.errors import FieldError
from services.api.handlers import from_database
from services.api.imports import batch, staging
from services.api.imports.course import Process
from services.api.imports.job import Job
from services.api.imports.line import Turn
from services.api.imports.parts import Attempt, is_of_a_row, without_doubles
from services.api.imports.plan import Parsed
from services.api.imports.references import References
from shared.db import Tx


async def attempt(tx: Tx, job: Job, rows: list[Parsed], process: Process | None, turn: Turn) -> int:
    """How many of the rows a real run would import; the others keep their errors. The caller undoes the rest."""
    # What one part makes the next one finds, and nobody after them.
    references = job.references.apart()
    return sum([await _part(tx, job, references, part, process, turn) for part in without_doubles(rows)])


async def _part(
    tx: Tx, job: Job, references: References, rows: list[Parsed], process: Process | None, turn: Turn
) -> int:
    """The same for rows without a key that comes twice; where the database refuses one, they are halved."""
    branch = references.branch()
    await tx.connection.execute("SAVEPOINT part")
    try:
        with Attempt(rows):
            written = await batch.apply(tx, job, branch, rows, process, turn)
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
        return sum([await _part(tx, job, references, half, process, turn) for half in halves])
    await tx.connection.execute(f"RELEASE SAVEPOINT part; {staging.EMPTY}")
    branch.keep(made=True)
    return written


def as_error(error: asyncpg.PostgresError) -> FieldError:
    """What the database refuses, as an error of the row."""
    problem = from_database(error)
    return problem.errors[0] if problem.errors else FieldError(pointer="", code=problem.code, message=problem.detail)
