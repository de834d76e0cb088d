"""Paging to the end of a million rows while rows are inserted: none doubled, none of the older missed, none slower."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from contextlib import suppress
from typing import Self
from uuid import UUID

import orjson

from services.api.workspaces.service import create_workspace
from shared.ids import new_id
from shared.outbox import write_effects
from tests.bench.harness import Results, Row
from tests.bench.http_load import http_request
from tests.bench.seeding import uuid_of
from tests.bench.stack import Stack

ROWS = 1_000_000
PAGE = 100
# How much dearer the last page may be than the first.
MOST = 1.5
TURNS = 300


class Client:
    """One keep-alive connection that asks for one thing after another, and little more than that."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}"}

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        self._writer.write(http_request(method, path, self._headers, body))
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        if not head.startswith(b"http/1.1 2"):
            raise RuntimeError(content.decode())
        return content


async def _seed(stack: Stack, workspace_id: UUID, rows: int) -> None:
    """Customers with ids of a time long before those that will be made meanwhile."""
    connection = await stack.superuser()
    try:
        # What triggers keep beside the rows is no part of this; a list reads the rows alone.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "INSERT INTO sales.customers (workspace_id, id, name, sort_key, occurred_at, recorded_at, updated_at)"
            f" SELECT '{workspace_id}', {uuid_of('n', 'paging')}, 'Customer ' || n, 'customer ' || n, now(), now(),"
            f" now() FROM generate_series(1, {rows}) n",
            timeout=600,
        )
        await connection.execute("VACUUM ANALYZE sales.customers")
    finally:
        await connection.close()


async def _keep_inserting(client: Client, made: list[str]) -> None:
    while True:
        row = orjson.loads(await client.call("POST", "/v1/customers", orjson.dumps({"name": f"New {len(made)}"})))
        made.append(row["id"])
        await asyncio.sleep(0.002)


async def _read_all(client: Client, path: str) -> tuple[list[str], list[str]]:
    """All ids, in the order they came, and the cursor of each page after the first."""
    ids: list[str] = []
    cursors: list[str] = []
    while True:
        at = f"{path}&cursor={cursors[-1]}" if cursors else path
        page = orjson.loads(await client.call("GET", at))
        ids += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            return ids, cursors
        cursors.append(page["next_cursor"])


async def _timed(client: Client, path: str) -> float:
    started = time.perf_counter()
    await client.call("GET", path)
    return time.perf_counter() - started


async def page_to_the_end(stack: Stack, results: Results) -> None:
    rows = int(os.environ.get("BENCH_PAGED_ROWS", ROWS))
    workspace_id = new_id()
    async with stack.database.transaction(workspace_id) as tx:
        made = await create_workspace(tx, name="Paging", currency="CNY")
        await write_effects(tx)
    await _seed(stack, workspace_id, rows)
    newcomers: list[str] = []
    path = f"/v1/customers?limit={PAGE}"
    async with Client(stack.api_port, made.api_key) as reader, Client(stack.api_port, made.api_key) as writer:
        inserting = asyncio.create_task(_keep_inserting(writer, newcomers))
        started = time.perf_counter()
        ids, cursors = await _read_all(reader, path)
        seconds = time.perf_counter() - started
        inserting.cancel()
        with suppress(asyncio.CancelledError):
            await inserting
        last = f"{path}&cursor={cursors[-1]}"
        pairs = [(await _timed(reader, path), await _timed(reader, last)) for _ in range(TURNS)]
    old = set(ids) - set(newcomers)
    whole = len(ids) == len(set(ids)) and len(old) == rows
    name = f"page {len(cursors) + 1:,} of {rows:,} rows"
    results.rows.append(Row(f"{name}: none doubled, none missed", float(len(ids)), "rows", rows, None, None, whole))
    first, final = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
    ratio = final / first
    results.rows.append(
        Row(f"{name}: cost against page 1 (at most)", final * 1000, "ms", first * 1000, ratio, MOST, ratio <= MOST)
    )
    results.report(f"{name}: rows read", len(ids) / seconds, "rows/s")
    results.report(f"{name}: inserted meanwhile", len(newcomers) / seconds, "rows/s")
