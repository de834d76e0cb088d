"""What goes wrong for everybody, as against what goes wrong in one workspace."""

from __future__ import annotations

from typing import Final

import asyncpg

# PostgreSQL is away, going away, or not back yet.
OUTAGES: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)
