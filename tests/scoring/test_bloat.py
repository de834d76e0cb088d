"""A snapshot that stays open (a backup, a report) keeps dead marks about: what they cost is known and stays small."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson

from services.scoring import marks
from shared.db import Tx, connect_arguments
from shared.ids import new_id
from tests.conftest import Servers
from tests.scoring.support import World

COUNT, BATCH = 20_000, 500
# Blocks that a thousand dead marks are on, table and index.
BLOCKS_PER_THOUSAND = 50


@asynccontextmanager
async def marked(servers: Servers, world: World) -> AsyncIterator[None]:
    """Many marks side by side, in no holes that others left, and plans that are not made anew in the middle."""
    superuser = await asyncpg.connect(servers.superuser_url())
    await superuser.execute("ALTER TABLE scoring.dirty_marks SET (autovacuum_enabled = false)")
    try:
        await superuser.execute("VACUUM FULL scoring.dirty_marks")
        await world.mark("opportunity", *(new_id() for _ in range(COUNT)))
        await superuser.execute("ANALYZE scoring.dirty_marks")
        yield
    finally:
        await superuser.execute("ALTER TABLE scoring.dirty_marks RESET (autovacuum_enabled)")
        await superuser.close()


async def blocks_of(tx: Tx, sql: str, *values: Any) -> int:
    """How many blocks a statement looks at."""
    found = await tx.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
    plan = orjson.loads(found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_dead_marks_are_looked_at_once_a_look(world: World, servers: Servers) -> None:
    """Each look passes over what is dead once, and nothing is looked at twice within it."""
    given = {"workspace_id": world.id, "limit": BATCH}
    reader = await asyncpg.connect(**connect_arguments(servers.database_url, "sixteen_api"))
    takes, looks, dead = [], [], 0
    async with marked(servers, world), reader.transaction(isolation="repeatable_read"):
        await reader.fetchval("SELECT 1")
        while dead < COUNT - BATCH:
            async with world.context.database.transaction(world.id) as tx:
                takes.append(await blocks_of(tx, marks._TAKE.sql, *marks._TAKE.values(given)))
                looks.append(await blocks_of(tx, marks._DUE))
                taken = await marks.take(tx, BATCH)
                assert await marks.delete(tx, taken) == BATCH
            dead += BATCH
    await reader.close()
    assert max(takes) <= 1.2 * takes[0], takes
    assert looks[-1] - looks[0] <= BLOCKS_PER_THOUSAND * dead / 1_000, looks
