"""The demo, recorded once on a real database and ranked by the scoring service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from deploy.demo.seed import make_demo, open_seeding
from deploy.demo.world import MANAGER
from services.api.auth.identity import make_principal
from services.scoring.core.codes import FLAGS, UNKNOWNS
from services.scoring.jobs.drain import Context, drain
from services.scoring.settings import ScoringSettings
from shared.clock import FixedClock
from shared.db import Database, open_database, sql
from shared.ids import new_id
from shared.outbox import write_effects
from shared.tenancy import Principal
from tests.conftest import Servers

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
CASE = sql(
    "SELECT o.*, s.band, s.rank, j.class_code, j.priority, j.urgency, j.margin, j.flags, j.unknowns,"
    "  j.opportunity_id IS NOT NULL AS judged"
    " FROM sales.opportunities o"
    " LEFT JOIN scoring.seats s ON s.workspace_id = o.workspace_id AND s.subject_id = o.id"
    " LEFT JOIN scoring.scores j ON j.workspace_id = o.workspace_id AND j.opportunity_id = o.id"
    " WHERE o.workspace_id = :workspace_id AND o.external_source = 'demo' AND o.external_id = :record"
)
MEMBER = sql("SELECT id FROM sales.members WHERE workspace_id = :workspace_id AND email = :email")
LOAD = sql("SELECT counts, shortages FROM scoring.loads WHERE workspace_id = :workspace_id AND owner_id = :owner_id")
SEATS = sql(
    "SELECT subject_id, band, rank, class_code, priority FROM scoring.seats"
    " WHERE workspace_id = :workspace_id AND owner_id = :owner_id AND band = ANY(CAST(:bands AS text[])) ORDER BY rank"
)


@dataclass
class Demo:
    """The demo workspace; `NOW` is its present."""

    database: Database
    context: Context
    workspace_id: UUID
    focus_rep_id: UUID

    async def rows(self, query: Any, **given: Any) -> list[dict[str, Any]]:
        async with self.database.transaction(self.workspace_id, NOW) as tx:
            return [dict(row) for row in await tx.rows(query, **given)]

    async def case(self, record: str) -> dict[str, Any]:
        """A told record with its seat and judgement; `said` and `lacks` are the codes of its flags and unknowns."""
        (row,) = await self.rows(CASE, record=record)
        row["said"] = {code for place, code in enumerate(FLAGS) if (row["flags"] or 0) >> place & 1}
        row["lacks"] = {code for place, code in enumerate(UNKNOWNS) if (row["unknowns"] or 0) >> place & 1}
        row["class"] = None if row["class_code"] is None else "ABCD"[row["class_code"]]
        return row

    async def member(self, key: str) -> UUID:
        (row,) = await self.rows(MEMBER, email=f"{key}@fairstream.example.com")
        found: UUID = row["id"]
        return found

    async def load(self, key: str) -> dict[str, Any]:
        (row,) = await self.rows(LOAD, owner_id=await self.member(key))
        return row

    async def seats(self, key: str, *bands: str) -> list[dict[str, Any]]:
        return await self.rows(SEATS, owner_id=await self.member(key), bands=list(bands))

    async def manager(self) -> Principal:
        return make_principal(self.workspace_id, await self.member(MANAGER.key), "admin")

    async def act(self, deed: Any) -> None:
        """Runs `deed(tx)` as a request of the api would, and has the scoring service catch up."""
        async with self.database.transaction(self.workspace_id, NOW) as tx:
            await deed(tx)
            await write_effects(tx)
        await self.drain()

    async def drain(self) -> None:
        while not (await drain(self.context, self.workspace_id)).idle:
            pass


@pytest.fixture(scope="session")
async def demo(servers: Servers) -> AsyncIterator[Demo]:
    database = await open_seeding(servers.database_url, servers.redis_url)
    workspace_id = new_id()
    seeded = await make_demo(database, NOW, workspace_id=workspace_id)
    assert seeded.created
    assert seeded.focus_rep_id is not None
    settings = ScoringSettings(database_url=servers.database_url, redis_url=servers.redis_url, embedded=True)
    scoring = await open_database(servers.database_url, "sixteen_scoring", size=2)
    made = Demo(database, Context(scoring, settings, FixedClock(NOW)), workspace_id, seeded.focus_rep_id)
    await made.drain()
    yield made
    await database.close()
    await scoring.close()
