"""A transaction that is broken off leaves nothing behind on a connection that the next one gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.db import Database, open_database, sql
from shared.ids import new_id
from tests.conftest import Servers


@pytest.fixture
async def single(servers: Servers) -> AsyncIterator[Database]:
    """A pool of one connection: whatever is left on it meets the next transaction."""
    database = await open_database(servers.database_url, "sixteen_api", size=1)
    yield database
    await database.close()


async def test_cancelled_at_any_moment_it_leaves_no_open_transaction(single: Database) -> None:
    async def work() -> None:
        async with single.transaction(new_id()) as tx:
            await tx.value(sql("SELECT 1"))

    for moments in range(60):
        task = asyncio.create_task(work())
        for _ in range(moments):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with single.connection() as connection:
            assert not connection.is_in_transaction(), f"left open when cancelled after {moments} moments"


async def test_what_failed_within_is_never_taken_for_committed(single: Database) -> None:
    """PostgreSQL answers the COMMIT of a failed transaction with a quiet ROLLBACK."""

    async def swallow() -> None:
        async with single.transaction(new_id()) as tx:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await tx.value(sql("SELECT 1 / 0"))

    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await swallow()
    async with single.transaction(new_id()) as tx:
        assert await tx.value(sql("SELECT 1")) == 1
