"""Slow receivers, however many, hold up nobody but themselves."""

from __future__ import annotations

import asyncio
import time

from services.api.delivery.breaker import Breaker
from services.api.delivery.endpoints import Endpoint
from services.api.delivery.lanes import Lane, Lanes, Line
from shared.events import EVENT_TYPES
from shared.ids import new_id
from tests.conftest import Servers
from tests.delivery.receivers import Farm
from tests.delivery.support import open_sender


def line(*, failing: bool = False, proven: bool = True) -> Line:
    endpoint = Endpoint(
        workspace_id=new_id(), id=new_id(), url="https://a.example", headers={}, keys=(), timeout_seconds=15,
        schedule=None, throttle_rate=None, failing=failing, proven=proven and not failing, breaker=Breaker(),
    )  # fmt: skip
    return Line.of(endpoint)


def test_lanes_by_what_is_known() -> None:
    assert [line().lane, line(proven=False).lane, line(failing=True).lane] == [Lane.FAST, Lane.NEW, Lane.SLOW]
    known = line()
    known.note(succeeded=False, seconds=0.1)
    assert known.lane is Lane.FAST, "one failure may happen to anybody"
    known.note(succeeded=False, seconds=0.1)
    assert known.lane is Lane.SLOW
    known.note(succeeded=True, seconds=0.1)
    assert known.lane is Lane.FAST
    known.note(succeeded=True, seconds=3)
    assert known.lane is Lane.SLOW


def test_good_ones_come_first_and_all_take_turns() -> None:
    lanes = Lanes({Lane.FAST: 2, Lane.NEW: 1, Lane.SLOW: 1}, budget=10)
    slow, good = [line(failing=True) for _ in range(3_000)], [line() for _ in range(3)]
    for each in (*slow, *good):
        lanes.ready(each)
        lanes.ready(each)
    assert lanes.next() is good[0]
    lanes.ready(good[0])
    assert [lanes.next() for _ in range(3)] == [good[1], good[2], good[0]]
    assert [lanes.next() for _ in range(2)] == slow[:2]
    lanes.open[Lane.SLOW] = 1
    assert lanes.next() is None
    lanes.open[Lane.SLOW] = 7
    lanes.ready(good[0])
    assert lanes.next() is good[0], "however many are slow beyond their number, the good have their slots"


async def test_hundreds_that_hang_and_one_that_answers(own_servers: Servers, farm: Farm) -> None:
    """All hang at once, never heard of before; what the good one gets is as soon as ever."""
    slots = {"delivery_fast_slots": 10, "delivery_new_slots": 10, "delivery_slow_slots": 40}
    async with open_sender(own_servers, **slots) as sender:
        await sender.endpoint(farm.url("/ok/good"), "customer.*")
        await sender.emit()
        await sender.settle()
        for number in range(200):
            await sender.endpoint(farm.url(f"/hang/{number}"), "product.*", timeout_seconds=3)
        await sender.emit(10, "product.deleted", subject_type="product", data=EVENT_TYPES["product.deleted"].example)
        lags = []
        for _ in range(40):
            (sent,) = await sender.emit()
            started = time.monotonic()
            while await sender.relay.work():
                pass
            await sender.engine.sweep()
            while str(sent) not in {each.id for each in farm.received["/ok/good"][-3:]}:
                await asyncio.sleep(0.002)
            lags.append(time.monotonic() - started)
            await asyncio.sleep(0.05)
        hanging = sum(count for path, count in farm.counts.items() if path.startswith("/hang/"))
        assert hanging >= 30
        assert sum(sender.engine.in_flight().values()) >= 20
        assert sorted(lags[5:])[-4] < 1, lags
