"""Redis goes away and comes back under a running api: nobody is refused who would not have been, and nobody waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.embedded import EmbeddedServers, embedded_servers
from services.api.limits.buckets import Limiter
from services.api.limits.policies import Policy
from services.api.main import create_app
from services.api.settings import ApiSettings
from shared.ids import new_id
from tests.support.caller import make_workspace

QUICK = 1.0


@pytest.fixture
async def own_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServers]:
    folder: Path = tmp_path_factory.mktemp("own")
    async with embedded_servers(folder, durable=False) as servers:
        yield servers


async def test_limits_hold_while_redis_is_away_and_after(own_redis: EmbeddedServers, api_settings: ApiSettings) -> None:
    limits = {"redis_url": own_redis.redis_url, "rate_limit_key": 12, "rate_limit_workspace": 0}
    app = create_app(api_settings.model_copy(update=limits))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
            first, second = [await make_workspace(http, app.state.sixteen) for _ in range(2)]
            assert (await first.get("/v1/me")).status_code == 200
            await own_redis.kill_redis()
            started = time.monotonic()
            answers = [(await second.get("/v1/me")).status_code for _ in range(30)]
            # A new minute may begin in between.
            assert 12 <= answers.count(200) <= 24
            assert set(answers) == {200, 429}
            made = await first.post("/v1/customers", {"name": "Acme"})
            assert made.status_code == 201
            assert time.monotonic() - started < 31 * QUICK
            await own_redis.start_redis()
            assert (await first.get("/v1/me")).status_code == 200

    limiter = Limiter(own_redis.redis_url)
    bucket = limiter.bucket(Policy("strict", 5, strict=True), new_id())
    try:
        assert [await limiter.take(bucket) for _ in range(6)] == [True] * 5 + [False]
        assert bucket.spent == 5, "Redis counts again"
    finally:
        await limiter.close()


async def test_a_redis_that_says_nothing_is_not_waited_for() -> None:
    """It takes connections and never answers: one request pays a quarter of a second, those after it nothing."""
    held: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.read()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    limiter = Limiter(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        bucket = limiter.bucket(Policy("strict", 100, strict=True), new_id())
        started = time.monotonic()
        assert all([await limiter.take(bucket) for _ in range(20)])
        assert time.monotonic() - started < QUICK
    finally:
        await limiter.close()
        for writer in held:
            writer.close()
        server.close()
        await server.wait_closed()
