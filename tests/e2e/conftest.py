"""One running installation for all end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.installation import MODULES, Installation, open_installation


@pytest.fixture(scope="package")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Everything as `make run` has it."""
    async with open_installation(tmp_path_factory.mktemp("installation")) as made:
        await made.start(*MODULES)
        yield made
