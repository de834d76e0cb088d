"""Whoever reads on from where they were sees every committed event, once: however the transactions overlap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from services.api.events.queries import read_page
from shared.db import Database, open_database
from shared.feed import BEGINNING
from tests.conftest import Servers
from tests.events.writing import add, crowd, write
from tests.support.caller import Caller


@pytest.fixture
async def writers(servers: Servers) -> AsyncIterator[Database]:
    """Connections enough for many transactions to be open at once."""
    database = await open_database(servers.database_url, "sixteen_api", size=24)
    yield database
    await database.close()


class Reader:
    """Follows the feed over HTTP by its cursor, a few events at a time."""

    def __init__(self, caller: Caller, limit: int) -> None:
        self._caller = caller
        self._limit = limit
        self.cursor: str | None = None
        self.seen: list[str] = []
        self.places: list[str] = []

    async def step(self) -> bool:
        params: dict[str, Any] = {"limit": self._limit} | ({"after": self.cursor} if self.cursor else {})
        page = await self._caller.ok("GET", "/v1/events", params=params)
        self.seen += [event["id"] for event in page["data"] if event["type"] == "member.created"]
        self.cursor = page["next_cursor"]
        return bool(page["has_more"])

    async def follow(self, until: asyncio.Event) -> None:
        while not until.is_set():
            if not await self.step():
                await asyncio.sleep(0.002)
        while await self.step():
            pass


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_event_is_missed_and_none_told_twice(admin: Caller, writers: Database, seed: int) -> None:
    readers = [Reader(admin, 3), Reader(admin, 50), Reader(admin, 200)]
    over = asyncio.Event()
    following = [asyncio.create_task(reader.follow(over)) for reader in readers]
    # One that is open from before the first to after the last of them.
    slow = asyncio.create_task(write(writers, admin.workspace_id, count=2, hold=1.0))
    committed = await crowd(writers, admin.workspace_id, writers=16, turns=12, seed=seed)
    committed += await slow
    over.set()
    await asyncio.gather(*following)
    expected = sorted(str(each) for each in committed)
    assert len(expected) > 150
    for reader in readers:
        assert sorted(reader.seen) == expected
    assert readers[0].seen == readers[1].seen == readers[2].seen


async def test_what_is_held_back_is_said_to_be(admin: Caller, writers: Database) -> None:
    """An event behind an older open transaction is not told, nor is it lost: it comes once that one has ended."""
    async with writers.transaction(admin.workspace_id) as tx:
        batch = await read_page(tx, BEGINNING, 1000)
        assert not batch.held
    start = batch.position
    async with writers.transaction(admin.workspace_id) as slow:
        first = await add(slow)
        quick = await write(writers, admin.workspace_id)
        async with writers.transaction(admin.workspace_id) as tx:
            during = await read_page(tx, start, 10)
        assert (during.rows, during.held) == ([], True)
    async with writers.transaction(admin.workspace_id) as tx:
        after = await read_page(tx, during.position, 10)
    assert [row["id"] for row in after.rows] == [first, *quick]
    assert not after.held


async def test_readers_that_only_read_hold_nothing_back(admin: Caller, writers: Database) -> None:
    async with writers.connection() as idle, idle.transaction(isolation="repeatable_read", readonly=True):
        assert await idle.fetchval("SELECT count(*) FROM events.outbox") == 0
        made = await write(writers, admin.workspace_id)
        page = await admin.ok("GET", "/v1/events", params={"type": "member.created"})
    assert [event["id"] for event in page["data"]] == [str(each) for each in made]


async def test_every_place_along_the_way_resumes_without_a_gap(admin: Caller, writers: Database) -> None:
    """From any cursor that was ever given, what follows is what was not yet seen then."""
    over = asyncio.Event()
    reader = Reader(admin, 4)
    marks: list[tuple[str, int]] = []

    async def follow() -> None:
        while not over.is_set() or await reader.step():
            more = await reader.step()
            assert reader.cursor is not None
            marks.append((reader.cursor, len(reader.seen)))
            if not more:
                await asyncio.sleep(0.005)

    following = asyncio.create_task(follow())
    committed: list[UUID] = await crowd(writers, admin.workspace_id, writers=8, turns=5, seed=9)
    over.set()
    await following
    while await reader.step():
        pass
    assert len(reader.seen) == len(committed)
    for cursor, count in marks[:: max(1, len(marks) // 10)]:
        again = Reader(admin, 200)
        again.cursor = cursor
        while await again.step():
            pass
        assert again.seen == reader.seen[count:]
