"""A connection that was given back is kept a moment for the next: nothing of its last transaction goes on with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from services.api import reads
from services.api.settings import ApiSettings
from services.api.wire import answer
from shared import db
from shared.db import Connection, Database, open_database, sql
from shared.ids import new_id
from tests.support.caller import Caller

ENTERED = "SELECT current_setting('app.workspace_id', true) AS workspace_id"
READ_ONLY = sql("SELECT current_setting('transaction_read_only')")
KEY = sql(
    "INSERT INTO sales.idempotency_keys (workspace_id, digest, request_hash, recorded_at)"
    " VALUES (:workspace_id, 'a', 'b', now())"
)
KEYS = sql("SELECT count(*) FROM sales.idempotency_keys WHERE workspace_id = :workspace_id")


@asynccontextmanager
async def database_of(settings: ApiSettings, size: int) -> AsyncIterator[Database]:
    database = await open_database(settings.database_url, settings.role, size=size)
    try:
        yield database
    finally:
        await database.close()


async def begun(database: Database, **how: Any) -> Connection:
    connection = await database.acquire()
    await db.begin(connection, new_id(), **how)
    return connection


async def test_an_open_read_ends_when_its_moment_is_over(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 2) as database:
        connection = await begun(database, read_only=True)
        await database.give_back(connection)
        # The pool alone lends it out again only once it was released, and so ended.
        borrowed = [await database._pool.acquire(timeout=5) for _ in range(2)]
        assert not any(each.is_in_transaction() for each in borrowed)
        for each in borrowed:
            await database._pool.release(each)


async def test_who_comes_next_gets_the_connection_and_not_what_was_open_in_it(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 1) as database:
        workspace_id = new_id()
        connection = await database.acquire()
        await db.begin(connection, workspace_id)
        await connection.execute(KEY.sql, *KEY.values({"workspace_id": workspace_id}))
        await database.give_back(connection)
        async with database.transaction(workspace_id) as tx:
            assert tx.connection is connection
            assert await tx.value(KEYS) == 0


async def test_a_question_of_no_workspace_is_asked_in_none(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 1) as database:
        await database.give_back(await begun(database, read_only=True))
        row = await database.ask(ENTERED, 5)
        assert row is not None
        assert not row["workspace_id"]


async def test_who_waits_is_served_before_who_comes_later(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 1) as database:
        connection = await database.acquire()
        waiting = asyncio.create_task(database.acquire())
        while not database._waiting:
            await asyncio.sleep(0)
        await database.give_back(connection)
        later = asyncio.create_task(database.acquire())
        first = await asyncio.wait_for(waiting, 5)
        assert not later.done()
        await database.give_back(first)
        await database.give_back(await asyncio.wait_for(later, 5))


async def test_many_share_few(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 2) as database:

        async def use() -> Any:
            async with database.transaction(new_id()) as tx:
                return await tx.value(KEYS)

        async with asyncio.timeout(20):
            assert await asyncio.gather(*(use() for _ in range(200))) == [0] * 200


async def test_a_kept_connection_that_broke_is_no_ones(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 1) as database:
        connection = await begun(database, read_only=True)
        await database.give_back(connection)
        connection.terminate()
        async with database.transaction(new_id()) as tx:
            assert await tx.value(KEYS) == 0


async def test_closing_waits_for_what_is_kept(api_settings: ApiSettings) -> None:
    database = await open_database(api_settings.database_url, api_settings.role, size=2)
    connection = await begun(database, read_only=True)
    await database.give_back(connection)
    async with asyncio.timeout(10):
        await database.close()
    with pytest.raises(asyncpg.InterfaceError):
        await database._pool.acquire()


async def test_a_read_only_transaction_writes_nothing(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 1) as database:
        workspace_id = new_id()
        connection = await database.acquire()
        await db.begin(connection, workspace_id, read_only=True)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute(KEY.sql, *KEY.values({"workspace_id": workspace_id}))
        await database.give_back(connection)


async def test_what_is_read_over_http_could_write_nothing(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await admin.make_customer()

    async def tell(_request: Any, tx: Any, *_: Any) -> Any:
        return answer({"read_only": await tx.value(READ_ONLY)})

    monkeypatch.setattr(reads, "read_one", tell)
    assert (await admin.get(f"/v1/customers/{made['id']}")).json() == {"read_only": "on"}


async def test_what_is_asked_of_no_workspace_is_served_while_others_work_steadily(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 2) as database:
        over = asyncio.Event()

        async def work() -> None:
            while not over.is_set():
                async with database.transaction(new_id()) as tx:
                    await tx.value(KEYS)

        working = [asyncio.create_task(work()) for _ in range(2)]
        try:
            async with asyncio.timeout(10):
                assert await database.fetchval("SELECT 1") == 1
        finally:
            over.set()
            await asyncio.gather(*working)


async def test_what_is_given_back_while_closing_goes_back(api_settings: ApiSettings) -> None:
    database = await open_database(api_settings.database_url, api_settings.role, size=2)
    kept, used = await database.acquire(), await database.acquire()
    await database.give_back(kept)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    await database.give_back(used)
    await asyncio.wait_for(closing, 5)


async def test_what_was_stopped_while_it_began_leaves_nothing_to_the_next(api_settings: ApiSettings) -> None:
    async with database_of(api_settings, 1) as database:
        for turn in range(60):
            connection = await database.acquire()
            beginning = asyncio.create_task(db.begin(connection, new_id(), db.NOT_DURABLE, read_only=True))
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            await database.give_back(connection)
            async with database.transaction(new_id()) as tx:
                assert await tx.value(READ_ONLY) == "off"
                assert await tx.value(sql("SELECT current_setting('synchronous_commit')")) == "on"
