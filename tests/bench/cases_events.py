"""How soon a live stream tells what has been committed."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from shared.db import Database, open_database
from shared.effects import Event
from shared.ids import new_id
from shared.outbox import write_effects
from tests.bench.harness import Results
from tests.bench.stack import Stack, free_port, wait_for
from tests.support.sse import EventSource

SAMPLES = 100
CLIENTS = 50


class Arrivals:
    """When each event came over a stream, by its id and by its subject."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str], asyncio.Future[float]] = {}

    def expect(self, kind: str, key: str) -> asyncio.Future[float]:
        return self.by_key.setdefault((kind, key), asyncio.get_running_loop().create_future())

    def take(self, event: dict[str, Any]) -> None:
        now = time.perf_counter()
        for key in (event["id"], event["subject"]["id"]):
            came = self.expect(event["type"], key)
            if not came.done():
                came.set_result(now)


@asynccontextmanager
async def listening(stack: Stack, **params: Any) -> AsyncIterator[Arrivals]:
    arrivals, source = Arrivals(), EventSource(f"http://127.0.0.1:{stack.api_port}", stack.api_key, **params)

    async def listen() -> None:
        async for event in source:
            arrivals.take(event)

    task = asyncio.create_task(listen())
    try:
        await asyncio.wait_for(source.connected.wait(), 30)
        yield arrivals
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _report(results: Results, name: str, waits: list[float]) -> None:
    waits.sort()
    results.report(f"{name}: p50", statistics.median(waits) * 1000, "ms")
    results.report(f"{name}: p99", waits[min(len(waits) - 1, int(len(waits) * 0.99))] * 1000, "ms")


async def change_to_stream(stack: Stack, results: Results) -> None:
    """From sending a change to the move of the focus it causes, told on a stream: api, scoring, and back."""
    probes = free_port()
    worker = await stack.start("services.scoring.worker", SIXTEEN_METRICS_PORT=str(probes))
    await wait_for(f"http://127.0.0.1:{probes}/readyz")
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    waits: list[float] = []
    try:
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.api_port}", headers=headers) as client,
            listening(stack, type=["focus.moved", "opportunity.created"]) as arrivals,
        ):
            owner_id = (await client.get("/v1/opportunities?limit=1&status=open&sort=id")).json()["data"][0]["owner_id"]
            customer_id = str(stack.seeded.customer_ids[0])
            for number in range(SAMPLES):
                made = {
                    "id": str(new_id()), "name": f"Bench {number}", "customer_id": customer_id, "owner_id": owner_id,
                    "amount": {"amount": f"{500_000 + number}.00", "currency": "CNY"},
                }  # fmt: skip
                came = arrivals.expect("focus.moved", made["id"])
                started = time.perf_counter()
                (await client.post("/v1/opportunities", json=made)).raise_for_status()
                waits.append(await asyncio.wait_for(came, 30) - started)
                await asyncio.sleep(0.03)
    finally:
        worker.terminate()
        await worker.wait()
    # The first ones find caches cold and a worker that has just started.
    _report(results, "change to focus.moved on the stream", waits[5:])


async def commit_to_stream(stack: Stack, results: Results) -> None:
    """From the moment at which a transaction is committed to its event on the stream, for one client and for many."""
    database = await open_database(stack.servers.database_url, "sixteen_api", size=2)
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.api_port}", headers=headers) as client:
            for clients in (1, CLIENTS // 5):
                waits = await _answers_to_stream(stack, client, clients)
                _report(results, f"answer to event on {clients} stream{'s' * (clients > 1)}", waits)
        _report(results, "commit without a hint to event on a stream", await _unhinted(stack, database))
    finally:
        await database.close()


async def _answers_to_stream(stack: Stack, client: httpx.AsyncClient, clients: int) -> list[float]:
    """Negative where the stream is faster than the answer."""
    waits: list[float] = []
    async with AsyncExitStack() as streams:
        heard = [await streams.enter_async_context(listening(stack, type="product.created")) for _ in range(clients)]
        for number in range(SAMPLES):
            id_ = str(new_id())
            came = [each.expect("product.created", id_) for each in heard]
            (await client.post("/v1/products", json={"id": id_, "name": f"Bench {number}"})).raise_for_status()
            answered = time.perf_counter()
            waits.append(max(await asyncio.wait_for(asyncio.gather(*came), 30)) - answered)
            await asyncio.sleep(0.01)
    return waits


async def _unhinted(stack: Stack, database: Database) -> list[float]:
    waits: list[float] = []
    async with listening(stack, type="member.created") as heard:
        for _ in range(20):
            async with database.transaction(stack.workspace_id) as tx:
                subject = new_id()
                data = {"id": subject, "role": "rep"}
                tx.effects.emit(Event("member.created", "member", subject, tx.now, data, 1))
                await write_effects(tx)
            committed = time.perf_counter()
            waits.append(await asyncio.wait_for(heard.expect("member.created", str(subject)), 30) - committed)
    return waits
