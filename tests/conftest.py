"""Real PostgreSQL and Redis for every test: embedded ones, or those of SIXTEEN_DATABASE_URL / SIXTEEN_REDIS_URL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from deploy.embedded import EmbeddedServers, embedded_servers
from migrations.upgrade import upgrade_async
from services.api.main import create_app
from services.api.settings import ApiSettings
from services.api.state import State
from tests.support.caller import Caller, make_workspace
from tests.support.event_contract import check_outbox


@dataclass(frozen=True)
class Servers:
    """Where the tests' servers are. `embedded` is None where they are somebody else's."""

    database_url: str
    redis_url: str
    embedded: EmbeddedServers | None

    def superuser_url(self) -> str:
        """A login that row-level security does not bind; the test is passed over where none is given."""
        if self.embedded is not None:
            return self.embedded.superuser_url
        if url := os.environ.get("SIXTEEN_TEST_SUPERUSER_URL"):
            return url
        pytest.skip("SIXTEEN_TEST_SUPERUSER_URL is not set, and the login of SIXTEEN_DATABASE_URL is no superuser")


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """A database at the newest schema, and a Redis."""
    database_url, redis_url = os.environ.get("SIXTEEN_DATABASE_URL"), os.environ.get("SIXTEEN_REDIS_URL")
    async with AsyncExitStack() as stack:
        embedded = None
        if not (database_url and redis_url):
            folder = tmp_path_factory.mktemp("servers")
            embedded = await stack.enter_async_context(embedded_servers(folder, durable=False))
            database_url = database_url or embedded.database_url
            redis_url = redis_url or embedded.redis_url
        await upgrade_async(database_url)
        yield Servers(database_url, redis_url, embedded)
        # Whatever any test had written to the outbox is as the contract of events says.
        _, broken = await check_outbox(database_url)
        assert broken == []


@pytest.fixture(scope="session")
def api_settings(servers: Servers) -> ApiSettings:
    return ApiSettings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        embedded=True,
        identity_ttl=0,
        # Tests send wrong keys from one address, more than anybody may.
        rate_limit_failures=0,
        log_level="WARNING",
        data_dir=Path(".data"),
    )


@pytest.fixture(scope="session")
async def app(api_settings: ApiSettings) -> AsyncIterator[FastAPI]:
    """The whole application, running."""
    application = create_app(api_settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture(scope="session")
def state(app: FastAPI) -> State:
    made: State = app.state.sixteen
    return made


@pytest.fixture(scope="session")
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key; errors become responses, as they do on the wire."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as client:
        yield client


@pytest.fixture
async def admin(http: httpx.AsyncClient, state: State) -> Caller:
    """The administrator of a workspace made for this test."""
    return await make_workspace(http, state)


@pytest.fixture
async def other(http: httpx.AsyncClient, state: State) -> Caller:
    """The administrator of another workspace."""
    return await make_workspace(http, state, "Other")


@pytest.fixture
async def as_api(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """A connection in the api's own role: what a hand at psql could do in its name."""
    from shared.db import connect_arguments

    connection = await asyncpg.connect(**connect_arguments(servers.database_url, "sixteen_api"))
    yield connection
    await connection.close()
