"""The api killed while it works: a retry under the same key finds what was done, or does it."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from tests.faults.installation import Installation, eventually
from tests.faults.ledger import open_ledger
from tests.support.caller import Caller

pytestmark = pytest.mark.faults

ALIKE = 200
BODY = {"name": "The one"}
KEY = {"Idempotency-Key": "the-one-key"}


async def post(caller: Caller) -> httpx.Response | None:
    """The same request with the same key; None where the connection broke off."""
    try:
        return await caller.post("/v1/customers", BODY, headers=KEY)
    except httpx.TransportError:
        return None


async def test_two_hundred_alike_and_a_kill_make_one_row(installation: Installation) -> None:
    ledger = await open_ledger(installation)
    posts = [asyncio.create_task(post(ledger.rep)) for _ in range(ALIKE)]

    async def some_answered() -> bool:
        return sum(task.done() for task in posts) > 3

    await eventually(some_answered)
    installation.kill("api")
    answers = [answer for answer in await asyncio.gather(*posts) if answer is not None]
    assert 0 < len(answers) < ALIKE, "killed in the middle"

    await eventually(installation.ready, 30)
    again = await eventually(lambda: post(ledger.rep))
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    ids = Counter(answer.json()["id"] for answer in [*answers, again] if answer.status_code == 201)
    assert len(ids) == 1
    assert {answer.status_code for answer in answers} <= {201, 409, 503}
    assert await ledger.check() == 1


async def test_killed_under_a_stream_of_writes_and_retried(installation: Installation) -> None:
    ledger = await open_ledger(installation)
    names = [f"Customer {number}" for number in range(200)]

    async def write_until_answered(name: str) -> None:
        await eventually(lambda: ledger.write(name), 60)

    pending = iter(names)

    async def writer() -> None:
        for name in pending:
            await write_until_answered(name)

    writers = [asyncio.create_task(writer()) for _ in range(8)]
    for answered in (40, 120):

        async def enough(answered: int = answered) -> bool:
            return len(ledger.created) >= answered

        await eventually(enough, 60)
        installation.kill("api")
    await asyncio.gather(*writers)
    assert ledger.broken > 0
    assert set(ledger.answers) == {201}
    assert await ledger.check() == len(names)
