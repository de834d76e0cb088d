"""The processes that rows of an import go by, with their stages."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from services.api.imports.course import Process, Stage
from services.api.imports.references import plain
from shared.db import Row, Tx, sql

STAGES = sql(
    "SELECT process_id, id, key, position, irreversible, wins, milestone_en, skippable FROM sales.stages"
    " WHERE workspace_id = :workspace_id AND process_id = ANY(CAST(:ids AS uuid[])) ORDER BY process_id, position"
)


async def load(tx: Tx, known: dict[UUID, Process], ids: Iterable[UUID]) -> None:
    """Adds those of these processes that are not known yet."""
    lacking = set(ids) - known.keys()
    if lacking:
        known |= processes_of(await tx.rows(STAGES, ids=list(lacking)))


def processes_of(rows: Iterable[Row]) -> dict[UUID, Process]:
    """Processes by id from rows of STAGES."""
    stages: dict[UUID, list[Stage]] = {}
    for row in rows:
        stages.setdefault(row["process_id"], []).append(
            Stage(
                plain(row["id"]),
                row["key"],
                row["position"],
                row["irreversible"],
                row["wins"],
                row["milestone_en"],
                row["skippable"],
            )
        )
    return {process_id: Process(plain(process_id), tuple(each)) for process_id, each in stages.items()}
