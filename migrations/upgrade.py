"""Bringing a database to the schema of this code, one migrator at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.urls import sqlalchemy_url, without_password

# Any number, the same for every migrator: two that start together take turns.
MIGRATION_LOCK = 16_400_100


class MigrationRefused(Exception):
    """The database can't be migrated; the message says why and what to do."""


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def head() -> str:
    """The newest revision this code knows."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrates; raises MigrationRefused with a sentence that says what to do."""
    asyncio.run(upgrade_async(url, revision))


async def upgrade_async(url: str, revision: str = "head") -> None:
    """As `upgrade`, inside a running loop."""
    try:
        engine = create_async_engine(sqlalchemy_url(url), poolclass=NullPool)
    except ValueError as error:
        raise MigrationRefused(f"{error}.") from error
    place = without_password(url)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade_on, revision)
    except (OSError, asyncpg.PostgresConnectionError) as error:
        raise MigrationRefused(f"The database at {place} can't be reached ({error}). Is it running?") from error
    except DBAPIError as error:
        refused = getattr(error.orig, "__cause__", None)
        if isinstance(refused, asyncpg.InvalidCatalogNameError):
            words = f"The database at {place} does not exist. Create it, owned by the login, and migrate again."
            raise MigrationRefused(words) from error
        if isinstance(refused, asyncpg.InvalidAuthorizationSpecificationError):
            words = f"The database at {place} refused the login ({refused}). See SIXTEEN_DATABASE_URL."
            raise MigrationRefused(words) from error
        if isinstance(refused, asyncpg.PostgresConnectionError | asyncpg.CannotConnectNowError):
            raise MigrationRefused(f"The database at {place} can't be reached ({refused}). Is it running?") from error
        if isinstance(error.orig, BaseException) and "permission denied" in str(error.orig):
            raise MigrationRefused(
                f"The login of {place} may not do this ({error.orig}). It must own the database and have CREATEROLE."
            ) from error
        raise
    finally:
        await engine.dispose()


def _upgrade_on(connection: Connection, revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.commit()
    try:
        _refuse_newer(connection)
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()


def _refuse_newer(connection: Connection) -> None:
    present = connection.execute(text("SELECT to_regclass('public.alembic_version')")).scalar()
    if present is None:
        connection.rollback()
        return
    found = connection.execute(text("SELECT version_num FROM public.alembic_version")).scalar()
    connection.rollback()
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if found is not None and found not in known:
        raise MigrationRefused(
            f"The database has schema {found}, which this version of Sixteen does not know."
            " It was migrated by a newer one: run that, or restore a backup made before."
        )
