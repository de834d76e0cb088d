"""What goes wrong for everybody, as against what goes wrong in one workspace."""

from __future__ import annotations

import errno
import sqlite3
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
# The disk's own errors: they come back with every attempt at something that needs more of it than there is.
_NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_OF_DISKS: Final = _NO_ROOM | {errno.EROFS, errno.EIO}


def is_outage(error: BaseException) -> bool:
    """Whether it passes by itself, so that attempts are not to be counted meanwhile."""
    return isinstance(error, OUTAGES) and not (isinstance(error, OSError) and error.errno in _OF_DISKS)


def is_disk_full(error: BaseException) -> bool:
    """Whether it comes of a disk without room: this process's own, for temporary files, or PostgreSQL's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, asyncpg.DiskFullError) or (isinstance(seen, OSError) and seen.errno in _NO_ROOM):
            return True
        if isinstance(seen, sqlite3.Error) and getattr(seen, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def given_up(attempts: int, error: BaseException) -> dict[str, str]:
    """Why something is not tried again, as the `problem` of an import or export."""
    if is_disk_full(error):
        words = (
            f"{attempts} attempts failed because a disk is full: the worker's, for temporary files, or the database's."
        )
        return {"pointer": "", "code": "disk_full", "message": words}
    words = f"{attempts} attempts failed, the last with {type(error).__name__}."
    return {"pointer": "", "code": "gave_up", "message": words}
