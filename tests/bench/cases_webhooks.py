"""Webhooks: from the commit of an event to the first byte at a receiver on this machine."""

from __future__ import annotations

import asyncio
import time

from shared.events import EVENT_TYPES
from shared.queue import Nudger
from tests.bench.harness import Results
from tests.bench.stack import Stack
from tests.conftest import Servers
from tests.delivery.receivers import Farm, open_farm
from tests.delivery.support import Sender, open_sender

RATE, SECONDS = 200, 15
_BURST = 2_000
_PRODUCT = EVENT_TYPES["product.updated"].example


async def commit_to_receiver(stack: Stack, results: Results) -> None:
    """At 200 events a second, each to one receiver; then how fast a burst to ten receivers is worked off."""
    worker = await stack.start("services.api.worker")
    servers = Servers(stack.servers.database_url, stack.servers.redis_url, stack.servers)
    nudger = Nudger(stack.servers.redis_url)
    nudger.start()
    try:
        async with open_farm() as farm, open_sender(servers, secret_key="bench") as sender:
            await sender.endpoint(farm.url("/ok/0"), "customer.*")
            await _emit(sender, nudger, RATE * 2)
            await _arrived(farm, "/ok/0", RATE * 2)
            farm.received.clear()
            committed = await _emit(sender, nudger, RATE * SECONDS)
            await _arrived(farm, "/ok/0", len(committed))
            lags = sorted(each.at - committed[each.id] for each in farm.received["/ok/0"])
            results.report("webhook: commit to first byte, p50", lags[len(lags) // 2] * 1000, "ms")
            results.report("webhook: commit to first byte, p99", lags[int(len(lags) * 0.99)] * 1000, "ms")
            for number in range(1, 11):
                await sender.endpoint(farm.url(f"/ok/{number}"), "product.*")
            started = time.perf_counter()
            await sender.emit(_BURST // 10, "product.updated", subject_type="product", data=_PRODUCT)
            nudger.tell(sender.workspace_id)
            await asyncio.gather(*(_arrived(farm, f"/ok/{number}", _BURST // 10) for number in range(1, 11)))
            results.report("webhook: deliveries of a burst", _BURST / (time.perf_counter() - started), "1/s")
    finally:
        await nudger.close()
        worker.terminate()
        await worker.wait()


async def _emit(sender: Sender, nudger: Nudger, count: int) -> dict[str, float]:
    """Events at RATE; when each was committed."""
    committed: dict[str, float] = {}
    waiting: set[asyncio.Task[None]] = set()

    async def one() -> None:
        (event_id,) = await sender.emit()
        committed[str(event_id)] = time.monotonic()
        nudger.tell(sender.workspace_id)

    started = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
        task = asyncio.create_task(one())
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)
    return committed


async def _arrived(farm: Farm, path: str, count: int) -> None:
    async with asyncio.timeout(60):
        while len(farm.received[path]) < count:
            await asyncio.sleep(0.01)
