"""One running installation for all fault tests of a file: each leaves it whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.installation import MODULES, Installation, open_installation


@pytest.fixture(scope="package")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Everything runs, and is mended by its supervisor alone."""
    async with open_installation(tmp_path_factory.mktemp("installation")) as made:
        await made.start(*MODULES)
        yield made
