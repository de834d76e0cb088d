"""Whether the database is there and has the schema this code was written for."""

from __future__ import annotations

import asyncpg

from shared.db import connect_arguments
from shared.urls import without_password

# The newest migration; a test compares it with the migrations themselves.
SCHEMA_REVISION = "2026_11_22_0014"


class NotReady(Exception):
    """The process can't do its work; the message says why, and what to do."""


async def require_schema(url: str, role: str) -> None:
    """Raises NotReady, with what to do, where a service could not work on this database."""
    place = without_password(url)
    try:
        connection = await asyncpg.connect(**connect_arguments(url, role), timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise NotReady(
            f"The database at {place} can't be reached ({error}). Is it running? See SIXTEEN_DATABASE_URL."
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise NotReady(
            f"The database at {place} does not exist. Create it, then run `python -m migrations`."
        ) from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise NotReady(f"The database at {place} refused the login ({error}). See SIXTEEN_DATABASE_URL.") from error
    except (
        asyncpg.UndefinedObjectError,
        asyncpg.InvalidParameterValueError,
        asyncpg.InsufficientPrivilegeError,
    ) as error:
        words = f"The role {role} can't be entered at {place} ({error}). Run `python -m migrations` first."
        raise NotReady(words) from error
    try:
        found = await revision(connection)
    finally:
        await connection.close()
    if found != SCHEMA_REVISION:
        raise NotReady(
            f"The database at {place} has schema {found or 'none'}, this version needs {SCHEMA_REVISION}:"
            " run `python -m migrations` (or, where the database is newer, a newer version of Sixteen)."
        )


async def revision(connection: asyncpg.Connection) -> str | None:
    """The schema's revision; None where there is none."""
    try:
        found: str | None = await connection.fetchval("SELECT version_num FROM public.alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    return found
