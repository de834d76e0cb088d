"""Fixtures of the delivery tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Servers
from tests.delivery.receivers import Farm, open_farm
from tests.delivery.support import Sender, open_sender


@pytest.fixture
async def farm() -> AsyncIterator[Farm]:
    """Receivers on loopback."""
    async with open_farm() as made:
        yield made


@pytest.fixture
async def sender(servers: Servers) -> AsyncIterator[Sender]:
    """A relay and an engine in real time."""
    async with open_sender(servers) as made:
        yield made
