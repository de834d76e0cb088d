"""The worker as a whole: nudged and not, and while its servers and itself are taken away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.embedded import EmbeddedServers, embedded_servers
from migrations.upgrade import upgrade_async
from services.scoring.settings import ScoringSettings
from services.scoring.worker import serve
from shared.db import connect_arguments
from shared.probes import Heartbeat, Probes
from shared.queue import DRAIN, SCORING_QUEUE, Nudger
from shared.schema_check import NotReady
from tests.scoring.support import World, open_world

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
async def own_servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServers]:
    """Servers that these tests may stop and kill."""
    async with embedded_servers(tmp_path_factory.mktemp("faults"), durable=True) as servers:
        await upgrade_async(servers.database_url)
        yield servers


@pytest.fixture
async def world(own_servers: EmbeddedServers) -> AsyncIterator[World]:
    made = await open_world(own_servers.database_url, own_servers.redis_url)
    await made.found()
    yield made
    await made.api.close()
    await made.context.database.close()


@asynccontextmanager
async def working(world: World, **settings: object) -> AsyncIterator[asyncio.Task[None]]:
    """A worker beside the test."""
    stop = asyncio.Event()
    made = world.context.settings.model_copy(update={"sweep_seconds": 0.3, **settings})
    task = asyncio.create_task(serve(made, stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Waits until `holds`."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.02)


async def marked_opportunity(world: World) -> tuple[object, Callable[[], Awaitable[bool]]]:
    """A new marked opportunity, and whether it has come to its seat."""
    rep = await world.member()
    (opportunity,) = await world.opportunities(rep, 1)
    await world.mark("opportunity", opportunity)

    async def seated() -> bool:
        return opportunity in await world.seats(rep) and not await world.marks()

    return opportunity, seated


async def test_a_nudge_wakes_the_worker_at_once(world: World) -> None:
    nudger = Nudger(world.context.settings.redis_url)
    nudger.start()
    # No sweep comes within the test: whatever is found was found by the nudge.
    async with working(world, sweep_seconds=3600.0):
        for _ in range(3):
            _, seated = await marked_opportunity(world)
            nudger.nudge(SCORING_QUEUE, DRAIN)
            await eventually(seated)
    await nudger.close()


async def test_without_any_nudge_the_sweep_finds_the_work(world: World) -> None:
    # Nothing can wake it: there is no Redis where it looks for one.
    async with working(world, redis_url="redis://127.0.0.1:1"):
        for _ in range(2):
            _, seated = await marked_opportunity(world)
            await eventually(seated)


async def test_redis_away_emptied_and_back(world: World, own_servers: EmbeddedServers) -> None:
    async with working(world) as worker:
        _, seated = await marked_opportunity(world)
        await eventually(seated)
        await own_servers.kill_redis()
        _, seated = await marked_opportunity(world)
        await eventually(seated)
        await own_servers.restart_redis(empty=True)
        nudger = Nudger(world.context.settings.redis_url)
        nudger.start()
        _, seated = await marked_opportunity(world)
        nudger.nudge(SCORING_QUEUE, DRAIN)
        await eventually(seated)
        await nudger.close()
        assert not worker.done()


async def test_postgresql_restarted(world: World, own_servers: EmbeddedServers) -> None:
    async with working(world) as worker:
        _, seated = await marked_opportunity(world)
        await eventually(seated)
        await own_servers.kill_postgres()
        await asyncio.sleep(0.5)
        await own_servers.restart_postgres()
        fresh = await open_world(own_servers.database_url, own_servers.redis_url)
        await fresh.found()
        _, seated = await marked_opportunity(fresh)
        await eventually(seated)
        await fresh.api.close()
        await fresh.context.database.close()
        assert not worker.done()


async def test_a_drain_broken_off_before_its_commit_has_changed_nothing(world: World) -> None:
    opportunity, seated = await marked_opportunity(world)

    def pull_the_plug() -> None:
        raise ConnectionError("gone")

    world.context.before_commit = pull_the_plug
    with pytest.raises(ConnectionError):
        await world.drain()
    assert await world.judged() == []
    assert await world.moves() == []
    assert await world.marks() == [("opportunity", opportunity)]
    world.context.before_commit = None
    await world.drain()
    assert await seated()


async def test_a_backend_killed_in_the_middle_loses_nothing(world: World, own_servers: EmbeddedServers) -> None:
    rep = await world.member()
    opportunities = await world.opportunities(rep, 50)
    await world.mark("opportunity", *opportunities)
    superuser = await asyncpg.connect(own_servers.superuser_url)
    try:
        drained = asyncio.create_task(world.drain())
        killed = 0
        while not killed and not drained.done():
            killed = await superuser.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE query LIKE '%scoring.scores%' AND pid <> pg_backend_pid()"
            )
        await asyncio.gather(drained, return_exceptions=True)
    finally:
        await superuser.close()
    await world.drain()
    assert set(await world.seats(rep)) == set(opportunities)
    assert await world.marks() == []
    assert len(await world.moves()) == len(opportunities)


async def test_a_process_killed_in_the_middle_is_made_good_by_the_next(world: World) -> None:
    rep = await world.member()
    opportunities = await world.opportunities(rep, 400)
    settings = world.context.settings
    environment = os.environ | {
        "SIXTEEN_DATABASE_URL": settings.database_url,
        "SIXTEEN_REDIS_URL": settings.redis_url,
        "SIXTEEN_EMBEDDED": "1",
        "SIXTEEN_DRAIN_BATCH": "20",
        "PYTHONPATH": str(Path.cwd()),
    }

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.scoring.worker", env=environment, stdout=asyncio.subprocess.DEVNULL
        )

    first = await start()
    await world.mark("opportunity", *opportunities)

    async def begun() -> bool:
        return len(await world.marks()) < len(opportunities)

    await eventually(begun)
    first.send_signal(signal.SIGKILL)
    await first.wait()
    second = await start()

    async def done() -> bool:
        return not await world.marks()

    await eventually(done, 30)
    second.terminate()
    assert await second.wait() == 0
    assert set(await world.seats(rep)) == set(opportunities)
    assert len({move["subject_id"] for move in await world.moves()}) == len(opportunities)


async def test_probes_tell_how_the_worker_is(world: World) -> None:
    probes = Probes(Heartbeat(60), no_problems, host="127.0.0.1")
    port = await probes.start(0)
    await probes.close()
    async with working(world, metrics_port=port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def up() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(up)
        assert (await client.get("/livez")).status_code == 200
        metrics = (await client.get("/metrics")).text
        assert "sixteen_dirty_depth" in metrics
        assert 'sixteen_duty_age_seconds{duty="drain"}' in metrics
        assert (await client.get("/else")).status_code == 404
        assert (await client.post("/livez")).status_code == 405


async def no_problems() -> list[str]:
    return []


async def test_a_heart_that_stands_still_is_not_alive() -> None:
    probes = Probes(Heartbeat(0), no_problems, host="127.0.0.1")
    port = await probes.start(0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/livez")).status_code == 503
    await probes.close()


async def test_a_taken_port_is_named(world: World) -> None:
    probes = Probes(Heartbeat(60), no_problems)
    port = await probes.start(0)
    settings = world.context.settings.model_copy(update={"metrics_port": port})
    with pytest.raises(NotReady, match="SIXTEEN_METRICS_PORT"):
        await serve(settings, asyncio.Event())
    await probes.close()


async def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = ScoringSettings(
        database_url=f"postgresql://nobody@/none?host={tmp_path}", redis_url="redis://127.0.0.1:1", embedded=True
    )
    with pytest.raises(NotReady, match="can't be reached"):
        await serve(settings, asyncio.Event())


async def test_two_drainers_never_work_in_one_workspace(world: World) -> None:
    _, seated = await marked_opportunity(world)
    await world.drain()
    await world.mark("workspace")
    connection = await asyncpg.connect(
        **connect_arguments(world.context.settings.database_url, world.context.settings.role)
    )
    try:
        await connection.execute(f"BEGIN; SELECT set_config('app.workspace_id', '{world.id}', true)")
        await connection.execute("SELECT 1 FROM scoring.drains FOR UPDATE")
        assert await world.drain() == []
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()
    assert len(await world.drain()) > 0
    assert await seated()
