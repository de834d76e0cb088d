"""Each duty of a worker has a heart of its own: one that hangs is seen while the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from shared.duty import Duties, Duty, beat
from shared.probes import Heartbeat, Probes


@asynccontextmanager
async def running(*duties: Duty) -> AsyncIterator[httpx.AsyncClient]:
    """The duties at work, and a client of their probes."""
    pulse = Duties(duties)

    async def problems() -> list[str]:
        return pulse.problems

    probes = Probes(pulse, problems, host="127.0.0.1")
    port = await probes.start(0)
    tasks = [asyncio.create_task(each.run()) for each in duties]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await probes.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await holds():
            await asyncio.sleep(0.01)


async def test_one_that_hangs_is_named_while_another_goes_on() -> None:
    turns = 0
    begun, stuck = asyncio.Event(), asyncio.Event()

    async def quick() -> bool:
        nonlocal turns
        turns += 1
        return False

    async def hangs() -> bool:
        if begun.is_set():
            await stuck.wait()
        return False

    good, bad = Duty("quick", quick, 0.005), Duty("stuck", hangs, 0.005, Heartbeat(0.1))
    async with running(good, bad) as client:

        async def answers(path: str, status: int) -> bool:
            return (await client.get(path)).status_code == status

        await until(lambda: answers("/livez", 200))
        begun.set()
        await until(lambda: answers("/livez", 503))
        for path in ("/livez", "/readyz"):
            said = await client.get(path)
            assert said.status_code == 503
            assert said.text.startswith("stuck: nothing heard")
            assert "quick" not in said.text
        before = turns
        await until(lambda: asyncio.sleep(0, turns > before + 3))
        await until(lambda: asyncio.sleep(0, bad.age > 0.1 > good.age))
        stuck.set()
        await until(lambda: answers("/livez", 200))
        assert (await client.get("/livez")).text == "2 duties come round\n"
        assert (await client.get("/readyz")).status_code == 200


async def test_one_that_waits_for_its_time_is_not_late() -> None:
    done = asyncio.Event()

    async def work() -> bool:
        done.set()
        return False

    sleeper = Duty("hourly", work, 3600, Heartbeat(0.01))
    async with running(sleeper) as client:
        await done.wait()
        await until(lambda: asyncio.sleep(0, sleeper.age > 0.03))
        assert sleeper.late is None
        assert (await client.get("/livez")).status_code == 200


async def test_long_work_that_beats_is_not_late() -> None:
    going = True

    async def long() -> bool:
        while going:
            duty.beat()
            await asyncio.sleep(0.005)
        return False

    duty = Duty("long", long, 1, Heartbeat(0.2))
    async with running(duty):
        await until(lambda: asyncio.sleep(0, duty.age > 0.4))
        assert duty.late is None
        going = False
        await until(lambda: asyncio.sleep(0, duty.age < 0.4))


async def test_what_a_turn_calls_beats_for_its_own_duty() -> None:
    going = True

    async def work() -> bool:
        while going:
            beat()
            await asyncio.sleep(0.005)
        return False

    async def hangs() -> bool:
        while going:
            await asyncio.sleep(0.005)
        return False

    beat()
    beating, silent = Duty("beating", work, 1, Heartbeat(0.2)), Duty("silent", hangs, 1, Heartbeat(0.2))
    async with running(beating, silent):
        await until(lambda: asyncio.sleep(0, beating.age > 0.4))
        assert beating.late is None
        assert silent.late is not None
        going = False


async def test_one_that_fails_is_not_ready_and_its_age_grows() -> None:
    failing = True

    async def work() -> bool:
        if failing:
            raise OSError("away")
        return False

    duty = Duty("poor", work, 0.005)
    shown = Gauge("age", "Of a duty.", ["duty"], registry=(registry := CollectorRegistry()))
    shown.labels("poor").set_function(lambda: duty.age)
    async with running(duty) as client:

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(lambda: asyncio.sleep(0, duty.trouble is not None))
        said = await client.get("/readyz")
        assert (said.status_code, said.text) == (503, "poor: OSError: away\n")
        assert (await client.get("/livez")).status_code == 200
        older = duty.age
        assert float(generate_latest(registry).split()[-1]) >= older > 0
        failing = False
        await until(ready)
