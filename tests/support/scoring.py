"""The real drain, run inside a test: from the marks that requests left to new scores and seats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from services.scoring.jobs.drain import Context, Outcome
from services.scoring.jobs.drain import drain as drain_once
from services.scoring.settings import ScoringSettings
from shared.clock import FixedClock, SystemClock
from shared.db import open_database
from tests.conftest import Servers

# More rounds than any test needs: a drain that never ends is a fault, not a wait.
_MOST_DRAINS = 200


@asynccontextmanager
async def scoring(servers: Servers, now: datetime | None = None) -> AsyncIterator[Context]:
    """The scoring service's context, in its own role; `now` sets its clock."""
    settings = ScoringSettings(database_url=servers.database_url, redis_url=servers.redis_url, embedded=True)
    database = await open_database(servers.database_url, settings.role, size=2)
    try:
        yield Context(database, settings, SystemClock() if now is None else FixedClock(now))
    finally:
        await database.close()


async def drain(servers: Servers, workspace_id: UUID, now: datetime | None = None) -> Outcome:
    """Drains a workspace until nothing is dirty; what that did altogether."""
    done = Outcome()
    async with scoring(servers, now) as context:
        for _ in range(_MOST_DRAINS):
            outcome = await drain_once(context, workspace_id)
            if outcome.idle:
                return done
            done = done.plus(outcome)
    raise AssertionError(f"still dirty after {_MOST_DRAINS} drains")
