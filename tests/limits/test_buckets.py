"""Counting requests: by each process, by all of them in Redis, and alone while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from services.api.limits.buckets import Bucket, Limiter
from services.api.limits.policies import Policy
from shared.ids import new_id
from tests.conftest import Servers

NOBODY = "redis://127.0.0.1:1"


class Clock:
    """Seconds since 1970, set by hand; they begin at a minute."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def two(servers: Servers, clock: Clock) -> AsyncIterator[tuple[Limiter, Limiter]]:
    """Two processes' limiters on one Redis."""
    async with AsyncExitStack() as stack:
        made = (Limiter(servers.redis_url, clock), Limiter(servers.redis_url, clock))
        for each in made:
            stack.push_async_callback(each.close)
        yield made


async def taken(limiter: Limiter, bucket: Bucket, times: int) -> int:
    """How many of so many requests are let through, each with what it told in the background."""
    let_through = 0
    for _ in range(times):
        let_through += await limiter.take(bucket)
        await asyncio.gather(*limiter._tasks)
    return let_through


async def test_a_strict_limit_is_exact_over_processes(two: tuple[Limiter, Limiter]) -> None:
    policy, who = Policy("strict", 10, strict=True), new_id()
    one, other = (each.bucket(policy, who) for each in two)
    assert await taken(two[0], one, 6) == 6
    assert await taken(two[1], other, 6) == 4
    assert await taken(two[0], one, 3) == 0


async def test_many_at_once_get_no_more_than_there_is(two: tuple[Limiter, Limiter]) -> None:
    policy, who = Policy("strict", 25, strict=True), new_id()
    buckets = [each.bucket(policy, who) for each in two]
    calls = [two[n % 2].take(buckets[n % 2]) for n in range(80)]
    assert sum(await asyncio.gather(*calls)) == 25


async def test_far_below_the_limit_nobody_waits_and_near_it_all_are_counted(two: tuple[Limiter, Limiter]) -> None:
    policy, who = Policy("wide", 1000), new_id()
    one, other = (each.bucket(policy, who) for each in two)
    assert await taken(two[0], one, 5) == 5
    assert (one.spent, one.unreported) == (0, 5), "five of a thousand are told to nobody"
    assert await taken(two[0], one, 895) == 895
    assert await taken(two[1], other, 900) < 200, "what the first one told is known once it has asked"
    assert await taken(two[0], one, 200) == 0


async def test_what_a_process_counts_alone_is_told_in_the_background(two: tuple[Limiter, Limiter]) -> None:
    policy, who = Policy("wide", 1000), new_id()
    one, other = (each.bucket(policy, who) for each in two)
    await taken(two[0], one, 500)
    await taken(two[1], other, policy.chunk)
    assert other.left == 1000 - 500 - policy.chunk


async def test_a_new_minute_is_a_new_window(two: tuple[Limiter, Limiter], clock: Clock) -> None:
    policy, who = Policy("strict", 3, strict=True), new_id()
    clock.seconds += 20.5
    bucket = two[0].bucket(policy, who)
    assert await taken(two[0], bucket, 5) == 3
    assert two[0].seconds_left(bucket) == 39
    clock.seconds += 40
    assert await taken(two[0], two[0].bucket(policy, who), 5) == 3


async def test_one_tenants_use_is_not_anothers(two: tuple[Limiter, Limiter]) -> None:
    policy, who = Policy("strict", 3, strict=True), new_id()
    assert await taken(two[0], two[0].bucket(policy, who, "a"), 5) == 3
    assert await taken(two[1], two[1].bucket(policy, who, "b"), 5) == 3


@pytest.mark.parametrize("policy", [Policy("strict", 20, strict=True), Policy("wide", 20)])
async def test_without_redis_each_process_counts_alone(policy: Policy, clock: Clock) -> None:
    limiter = Limiter(NOBODY, clock)
    try:
        bucket = limiter.bucket(policy, new_id())
        assert await taken(limiter, bucket, 50) == 20
    finally:
        await limiter.close()
