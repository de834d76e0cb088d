"""Judging many new opportunities costs the same however many passages there are, whenever its plans were made."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from migrations.upgrade import upgrade_async
from shared.db import connect_arguments
from tests.conftest import Servers
from tests.migrations.conftest import MakeDatabase
from tests.scoring.support import World, open_world

# Transitions that this connection has looked at.
READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'sales.transitions'::regclass"
# As an import writes them: each stands at once where its passages have led.
ADD = """
WITH made AS MATERIALIZED (SELECT gen_random_uuid() AS id FROM generate_series(1, $6)), passed AS (
  INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, occurred_at, recorded_at)
  SELECT $1, gen_random_uuid(), m.id, 'pass', s.stage_id, now(), now()
  FROM made m, unnest(CAST($4 AS uuid[])) AS s(stage_id)
)
INSERT INTO sales.opportunities (workspace_id, id, name, sort_key, customer_id, process_id, stage_id, stage_position,
  stage_entered_at, occurred_at, recorded_at, updated_at)
SELECT $1, m.id, 'O', 'o', $2, $3, $5, cardinality(CAST($4 AS uuid[])), now(), now(), now(), now() FROM made m
"""
BATCH, BATCHES = 300, 6


@pytest.fixture
async def empty_world(new_database: MakeDatabase, servers: Servers) -> AsyncIterator[World]:
    """A workspace in a database of its own, in which nothing was ever passed."""
    url = await new_database()
    await upgrade_async(url)
    world = await open_world(url, servers.redis_url)
    await world.found()
    yield world
    await world.api.close()
    await world.context.database.close()


class Adder:
    """Adds opportunities through one connection, which keeps the plans it has made."""

    def __init__(self, world: World, connection: asyncpg.Connection) -> None:
        self._world, self._connection = world, connection

    async def add(self, count: int, passed: int) -> int:
        """So many, each with so many passages; how many transitions were looked at."""
        world, connection = self._world, self._connection
        customer = await world.customer(None)
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.workspace_id', $1, true)", str(world.id))
            before = await connection.fetchval(READ)
            await connection.execute(
                ADD, world.id, customer, world.process_id, world.stages[:passed], world.stages[passed], count
            )
            read: int = await connection.fetchval(READ) - before
        return read


@pytest.mark.parametrize("first", ["none", "few"])
@pytest.mark.parametrize("counted", [False, True], ids=["uncounted", "counted"])
async def test_each_batch_reads_its_own(empty_world: World, first: str, counted: bool) -> None:
    """Plans may be made for a table that is empty, or holds next to nothing, and known to the planner as such."""
    url = empty_world.context.settings.database_url
    owner = await asyncpg.connect(**connect_arguments(url, ""))
    connection = await asyncpg.connect(**connect_arguments(url, "sixteen_api"))
    adder = Adder(empty_world, connection)
    if first == "few":
        await Adder(empty_world, owner).add(2, 2)
    if counted:
        await owner.execute("VACUUM ANALYZE sales.transitions")
    await adder.add(3, 0 if first == "none" else 2)
    reads = [await adder.add(BATCH, 2) for _ in range(BATCHES)]
    await connection.close()
    await owner.close()
    assert reads[0] > BATCH
    assert max(reads) <= 1.2 * reads[0], reads
