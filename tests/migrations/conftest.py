"""Databases of their own for migrations, beside the one all other tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from shared.db import connect_arguments
from shared.ids import new_id
from tests.conftest import Servers

MakeDatabase = Callable[[], Awaitable[str]]


def at(url: str, name: str) -> str:
    """The same server's address, of another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
async def new_database(servers: Servers) -> AsyncIterator[MakeDatabase]:
    """Makes empty databases on the tests' server; they are dropped afterwards."""
    maker = servers.embedded.superuser_url if servers.embedded else servers.database_url
    server = await asyncpg.connect(**connect_arguments(maker, ""))
    owner = urlsplit(servers.database_url).username
    made: list[str] = []

    async def make() -> str:
        name = f"sixteen_test_{new_id().hex}"
        try:
            await server.execute(f"CREATE DATABASE {name}" + (f' OWNER "{owner}"' if owner else ""))
        except asyncpg.InsufficientPrivilegeError:
            pytest.skip("the login of SIXTEEN_DATABASE_URL may not make databases")
        made.append(name)
        return at(servers.database_url, name)

    yield make
    for name in made:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()
