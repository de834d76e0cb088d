"""Fixtures of the delivery tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from migrations.upgrade import upgrade_async
from shared.db import connect_arguments
from shared.ids import new_id
from tests.conftest import Servers
from tests.delivery.receivers import Farm, open_farm
from tests.delivery.support import Sender, open_sender
from tests.support.event_contract import check_outbox


@pytest.fixture(scope="package")
async def own_servers(servers: Servers) -> AsyncIterator[Servers]:
    """A database of their own: an engine takes up the deliveries of all workspaces, also those other tests leave."""
    maker = servers.embedded.superuser_url if servers.embedded else servers.database_url
    server = await asyncpg.connect(**connect_arguments(maker, ""))
    name = f"sixteen_test_{new_id().hex}"
    owner = urlsplit(servers.database_url).username
    await server.execute(f"CREATE DATABASE {name}" + (f' OWNER "{owner}"' if owner else ""))
    url = urlunsplit(urlsplit(servers.database_url)._replace(path=f"/{name}"))
    await upgrade_async(url)
    yield Servers(url, servers.redis_url, servers.embedded)
    written, broken = await check_outbox(url)
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()
    assert not broken
    assert not written or any(each.startswith("customer.") for each in written)


@pytest.fixture
async def farm() -> AsyncIterator[Farm]:
    """Receivers on loopback."""
    async with open_farm() as made:
        yield made


@pytest.fixture
async def sender(own_servers: Servers) -> AsyncIterator[Sender]:
    """A relay and an engine in real time."""
    async with open_sender(own_servers) as made:
        yield made
