"""Requests against the bare application, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from itertools import cycle

import asyncpg
import orjson

from tests.bench.harness import Results, in_turns
from tests.bench.http_load import http_request, load
from tests.bench.stack import Stack

ROUND = 1.5


async def _compare(
    stack: Stack,
    results: Results,
    name: str,
    target: float,
    ours: Callable[[], bytes],
    bare: Callable[[], bytes],
    expect: tuple[int, int] = (200, 200),
) -> None:
    latencies: list[float] = []

    async def measure_ours() -> float:
        measured = await load(stack.api_port, ours, seconds=ROUND, expect=expect[0])
        latencies.extend(measured.latencies)
        return measured.per_second

    async def measure_bare() -> float:
        return (await load(stack.bare_port, bare, seconds=ROUND, expect=expect[1])).per_second

    results.ratio(name, await in_turns(measure_ours, measure_bare), "requests/s", target)
    results.report(f"{name}: p50", statistics.median(latencies) * 1000, "ms")


async def read_one(stack: Stack, results: Results) -> None:
    ids = cycle(stack.seeded.opportunity_ids)
    key = {"Authorization": f"Bearer {stack.api_key}"}
    await _compare(
        stack, results, "read one opportunity", 0.6,
        lambda: http_request("GET", f"/v1/opportunities/{next(ids)}", key),
        lambda: http_request("GET", f"/opportunities/{next(ids)}", {}),
    )  # fmt: skip


async def list_by_priority(stack: Stack, results: Results) -> None:
    key = {"Authorization": f"Bearer {stack.api_key}"}
    await _compare(
        stack, results, "list 50 by priority", 0.6,
        lambda: http_request("GET", "/v1/opportunities?sort=-priority", key),
        lambda: http_request("GET", "/opportunities", {}),
    )  # fmt: skip


def _new_opportunities(stack: Stack) -> Iterator[bytes]:
    """Bodies of new opportunities, one customer after another, as in a day's work."""
    return cycle(
        [
            orjson.dumps(
                {
                    "name": "Bench deal",
                    "customer_id": str(customer_id),
                    "process_id": str(stack.seeded.process_id),
                    "amount": {"amount": "1200.00", "currency": "CNY"},
                }
            )
            for customer_id in stack.seeded.customer_ids
        ]
    )


async def create_opportunity(stack: Stack, results: Results) -> None:
    bodies = _new_opportunities(stack)
    numbers = iter(range(10**9))

    def ours() -> bytes:
        headers = {"Authorization": f"Bearer {stack.api_key}", "Idempotency-Key": f"bench-{next(numbers)}"}
        return http_request("POST", "/v1/opportunities", headers, next(bodies))

    await _compare(
        stack,
        results,
        "create opportunity",
        0.45,
        ours,
        lambda: http_request("POST", "/opportunities", {}, next(bodies)),
        (201, 201),
    )


async def pass_milestone(stack: Stack, results: Results) -> None:
    """Each request passes the next milestone of another opportunity; the reference inserts one row."""
    connection: asyncpg.Connection = await stack.superuser()
    ids = await connection.fetch(
        "SELECT id FROM sales.opportunities WHERE workspace_id = $1 AND stage_position = 0 AND name LIKE 'Deal%'",
        stack.workspace_id,
    )
    await connection.close()
    # Four of the five milestones before the winning one: none of these passes is refused.
    remaining = iter([row["id"] for _ in range(4) for row in ids])
    body = orjson.dumps({"action": "pass"})
    created = _new_opportunities(stack)
    numbers = iter(range(10**9))

    def ours() -> bytes:
        headers = {"Authorization": f"Bearer {stack.api_key}", "Idempotency-Key": f"pass-{next(numbers)}"}
        return http_request("POST", f"/v1/opportunities/{next(remaining)}/transitions", headers, body)

    await _compare(
        stack,
        results,
        "pass a milestone",
        0.35,
        ours,
        lambda: http_request("POST", "/opportunities", {}, next(created)),
        (200, 201),
    )
