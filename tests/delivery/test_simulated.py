"""Days of retries within seconds: the clock is the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from services.api.delivery.schedule import DEFAULT_SCHEDULE, JITTER
from shared.clock import FixedClock
from tests.conftest import Servers
from tests.delivery.receivers import Farm
from tests.delivery.support import Sender, open_sender

BEGUN = datetime.now(UTC)


@pytest.fixture
async def simulated(own_servers: Servers) -> AsyncIterator[Sender]:
    """A sender whose clock stands until it is moved."""
    async with open_sender(own_servers, FixedClock(BEGUN)) as sender:
        yield sender


async def until(sender: Sender, end: datetime) -> None:
    """Lets time pass from one due moment to the next."""
    while True:
        await sender.settle()
        at = await sender.next_due()
        if at is None or at > end:
            break
        await sender.forward(max(at, sender.clock.now() + timedelta(milliseconds=10)))
    await sender.forward(end)
    await sender.settle()


async def gaps(sender: Sender, endpoint_id: UUID) -> list[float]:
    """Seconds between attempts."""
    times = [row["attempted_at"] for row in await sender.attempts(endpoint_id)]
    return [(after - before).total_seconds() for before, after in pairwise(times)]


async def test_bad_receivers_get_exactly_their_schedule(simulated: Sender, farm: Farm) -> None:
    """Ten attempts, each within a fifth of its time; then it is over, and its administrator has heard of it."""
    paths = {way: farm.url(f"/{way}/x") for way in ("s500", "redirect", "reset", "s429", "hang")}
    ids = {way: await simulated.endpoint(url, "customer.*", timeout_seconds=1) for way, url in paths.items()}
    ids["private"] = await simulated.endpoint("https://192.168.7.7/x", "customer.*")
    ids["own"] = await simulated.endpoint(farm.url("/s500/own"), "customer.*", retry_schedule=[10, 20])
    witness = await simulated.endpoint(farm.url("/ok/witness"), "endpoint.*")
    await simulated.emit(type_="customer.updated")
    await until(simulated, BEGUN + timedelta(hours=100))
    for way, id_ in ids.items():
        steps = [10, 20] if way == "own" else list(DEFAULT_SCHEDULE)
        found = await gaps(simulated, id_)
        assert len(found) == len(steps), way
        for number, (gap, step) in enumerate(zip(found, steps, strict=True)):
            base = max(step, 60) if way in {"hang", "s429"} else step
            low, high = (base, 2 * base) if way == "s429" else (0.8 * base, 1.2 * base)
            assert low - 0.01 <= gap <= high + 1.1, (way, number)
        (delivery,) = [row for row in await simulated.deliveries(id_) if row["type"] == "customer.updated"]
        assert (delivery["status"], delivery["attempts"]) == ("failed", len(steps) + 1)
    told = {(row["type"], row["subject_id"]) for row in await simulated.events("endpoint.%")}
    for id_ in ids.values():
        assert ("endpoint.exhausted", id_) in told
    assert {id_ for type_, id_ in told if type_ == "endpoint.attempt_failing"} == set(ids.values()) - {ids["own"]}
    heard = {row["event_id"] for row in await simulated.deliveries(witness) if row["status"] == "delivered"}
    assert heard == {row["id"] for row in await simulated.events("endpoint.%")}


async def test_an_endpoint_that_only_fails_is_given_up_after_five_days(simulated: Sender, farm: Farm) -> None:
    """Told of at 50, 70, 90 and 100 %; disabled, its queue kept; enabled again it gets what waited."""
    endpoint_id = await simulated.endpoint(farm.url("/s500/x"), "customer.*")
    witness = await simulated.endpoint(farm.url("/ok/witness"), "endpoint.*")
    for hour in range(0, 132, 12):
        await until(simulated, BEGUN + timedelta(hours=hour))
        await simulated.emit()
        await simulated.settle()
    query = "SELECT * FROM events.webhook_endpoints WHERE workspace_id = $1 AND id = $2"
    (row,) = await simulated.read(query, endpoint_id)
    assert (row["disabled"], row["disabled_reason"]) == (True, "failing")
    assert timedelta(hours=120) <= row["disabled_at"] - BEGUN < timedelta(hours=121)
    alerts = [row["data"]["percent"] for row in await simulated.events("endpoint.failing")]
    assert alerts == [50, 70, 90, 100]
    assert len(await simulated.events("endpoint.disabled")) == 1
    audited = await simulated.read(
        "SELECT 1 FROM sales.audit_entries WHERE workspace_id = $1 AND action LIKE '%disabled'"
    )
    assert len(audited) == 1
    tried = farm.counts["/s500/x"]
    await until(simulated, BEGUN + timedelta(hours=140))
    assert farm.counts["/s500/x"] == tried
    waiting = [row for row in await simulated.deliveries(endpoint_id) if row["status"] == "pending"]
    assert waiting
    farm.turned["/s500/x"] = "ok"
    await simulated.write(
        "UPDATE events.webhook_endpoints SET disabled = false WHERE workspace_id = $1 AND id = $2", endpoint_id
    )
    # Tried for the last time right before it was disabled, and put off by the longest step there is.
    longest = timedelta(seconds=max(DEFAULT_SCHEDULE) * (1 + JITTER))
    await until(simulated, row["disabled_at"] + longest + timedelta(hours=1))
    received = {each.id for each in farm.received["/s500/x"][tried:]}
    assert {str(row["event_id"]) for row in waiting} == received
    assert [row["status"] for row in await simulated.deliveries(endpoint_id)].count("pending") == 0
    assert "endpoint.recovered" in {row["type"] for row in await simulated.deliveries(witness)}


async def test_an_outage_of_hours_ends_with_nothing_lost(simulated: Sender, farm: Farm) -> None:
    """Two hundred events during an outage: most are never tried in vain, and all arrive after it."""
    await simulated.endpoint(farm.url("/s500/x"), "customer.*")
    sent = []
    for minute in range(0, 60, 3):
        await until(simulated, BEGUN + timedelta(minutes=minute))
        sent += await simulated.emit(10)
    await until(simulated, BEGUN + timedelta(hours=1))
    in_vain = farm.counts["/s500/x"]
    assert in_vain < 100
    farm.turned["/s500/x"] = "ok"
    await until(simulated, BEGUN + timedelta(hours=30))
    assert {row["status"] for row in await simulated.deliveries()} == {"delivered"}
    assert farm.ids("/s500/x") >= set(map(str, sent))
    assert farm.counts["/s500/x"] == in_vain + len(sent)
