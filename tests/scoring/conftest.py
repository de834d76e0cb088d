"""Fixtures of the scoring tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Servers
from tests.scoring.support import World, open_world


@pytest.fixture
async def world(servers: Servers) -> AsyncIterator[World]:
    """A workspace of this test alone, with a process and nobody in it."""
    made = await open_world(servers.database_url, servers.redis_url)
    await made.found()
    yield made
    await made.api.close()
    await made.context.database.close()
