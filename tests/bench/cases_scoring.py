"""The scoring core alone, a whole re-score end to end, and the time from a change to its new rank."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import datetime, timedelta

import httpx
import numpy as np

from services.scoring.core.facts import DTYPE, OpportunityFacts
from services.scoring.core.judge import judge
from services.scoring.core.medians import medians_of
from services.scoring.core.policy import Policy
from services.scoring.jobs.drain import Context, drain
from services.scoring.settings import ScoringSettings
from shared.clock import SystemClock
from shared.db import open_database
from shared.effects import BULK, Mark
from shared.outbox import write_effects
from tests.bench.harness import Results
from tests.bench.stack import Stack, free_port, wait_for

CORE_ROWS = 100_000
SAMPLES = 60
# Re-scores on later days; the events of moves have partitions for as many.
_DAYS = 3


def random_facts(count: int, now: float) -> OpportunityFacts:
    """Facts of every kind with a third unknown, drawn with a fixed seed."""
    draw = np.random.default_rng(16)
    rows = np.zeros(count, DTYPE)
    for name in DTYPE.names or ():
        if DTYPE[name].kind == "V":
            rows[name] = np.frombuffer(draw.bytes(16 * count), dtype="V16")
        else:
            values = draw.random(count) * (100 if name == "amount" else 1)
            rows[name] = np.where(draw.random(count) < 1 / 3, np.nan, values)
    rows["process_id"] = rows["process_id"][0]
    for name in ("created_at", "stage_entered_at"):
        rows[name] = now - draw.random(count) * 100
    rows["purchase_date"] = now + draw.random(count) * 200
    for name, value in (("remaining_win_rate", 0.3), ("remaining_days", 60.0), ("remaining_hours", 20.0)):
        rows[name] = value
    return OpportunityFacts(rows)


async def core_alone(stack: Stack, results: Results) -> None:
    """The pure core on arrays, without a database."""
    now, policy = 20_000.0, Policy()
    facts = random_facts(CORE_ROWS, now)
    medians = medians_of(facts, policy, now)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        judge(facts, policy, medians, now)
        seconds.append(time.perf_counter() - started)
    results.floor("scoring core alone", CORE_ROWS / statistics.median(seconds), "opportunities/s", 200_000)


async def _mark_all(stack: Stack) -> None:
    async with stack.database.transaction(stack.workspace_id) as tx:
        tx.effects.mark(Mark("workspace", stack.workspace_id, BULK))
        await write_effects(tx)


class _LaterClock:
    """The real time, put forward by whole days: with each of them nearly every judgement comes out otherwise."""

    def __init__(self) -> None:
        self.days = 0

    def now(self) -> datetime:
        return SystemClock().now() + timedelta(days=self.days)


async def _rescore(stack: Stack, context: Context) -> tuple[int, float]:
    await _mark_all(stack)
    judged, started = 0, time.perf_counter()
    while True:
        outcome = await drain(context, stack.workspace_id)
        judged += outcome.judged
        if outcome.idle:
            return judged, time.perf_counter() - started


async def full_rescore(stack: Stack, results: Results) -> None:
    """Everything judged again: facts read, judged, ranked, and what comes out otherwise written.

    The first time fills empty tables; then nothing has changed; then, a day later each time, nearly everything has.
    """
    settings = ScoringSettings(
        database_url=stack.servers.database_url, redis_url=stack.servers.redis_url, embedded=True
    )
    database = await open_database(
        settings.database_url, settings.role, size=settings.database_pool, statement_timeout_ms=600_000
    )
    try:
        clock = _LaterClock()
        context = Context(database, settings, clock)
        judged, seconds = await _rescore(stack, context)
        results.report("first score of all", judged / seconds, "opportunities/s")
        rates = []
        for _ in range(3):
            judged, seconds = await _rescore(stack, context)
            rates.append(judged / seconds)
        results.floor("full re-score, end to end", statistics.median(rates), "opportunities/s", 25_000)
        results.report("opportunities re-scored", judged, "opportunities")
        rates = []
        for _ in range(_DAYS):
            clock.days += 1
            context.usual.clear()
            judged, seconds = await _rescore(stack, context)
            rates.append(judged / seconds)
        results.report("full re-score, all changed", statistics.median(rates), "opportunities/s")
    finally:
        await database.close()


async def change_to_rank(stack: Stack, results: Results) -> None:
    """From sending a change to the moment the focus list shows it, on an idle installation."""
    # A worker that is still starting would make the first sample its starting time.
    probes = free_port()
    await _mark_all(stack)
    await stack.start("services.scoring.worker", SIXTEEN_METRICS_PORT=str(probes))
    await wait_for(f"http://127.0.0.1:{probes}/readyz")
    latencies = []
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.api_port}", headers=headers) as client:
        await _until_quiet(client)
        found = (await client.get("/v1/opportunities?sort=-priority&limit=1")).json()
        if not found["data"]:
            raise RuntimeError(f"nothing has been judged: {found}")
        top = found["data"][0]
        path, query = f"/v1/opportunities/{top['id']}", {"owner_id": top["owner_id"], "band": "engage"}
        for sample in range(SAMPLES):
            before = await _priority(client, query, top["id"])
            amount = {"amount": f"{900_000 + sample * 1000}.00", "currency": "CNY"}
            started = time.perf_counter()
            (await client.patch(path, json={"amount": amount})).raise_for_status()
            while await _priority(client, query, top["id"]) == before:
                if time.perf_counter() - started > 10:
                    raise TimeoutError("the focus list did not follow a change within 10 s")
                await asyncio.sleep(0.001)
            latencies.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(0.03)
    latencies.sort()
    results.report("change to new rank: p50", statistics.median(latencies), "ms")
    results.report("change to new rank: p99", latencies[int(len(latencies) * 0.99)], "ms")


async def _priority(client: httpx.AsyncClient, query: dict[str, str], id_: str) -> object:
    response = await client.get("/v1/focus", params=query)
    response.raise_for_status()
    return next((seat["priority"] for seat in response.json()["data"] if seat["subject"]["id"] == id_), None)


async def _until_quiet(client: httpx.AsyncClient) -> None:
    for _ in range(600):
        text = (await client.get("/metrics")).text
        depth = next(line for line in text.splitlines() if line.startswith("sixteen_dirty_depth "))
        if float(depth.split()[1]) == 0:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the scoring worker did not come to rest")
