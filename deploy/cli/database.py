"""The way of a command to an installation's database, past its api."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from deploy.cli.connection import local_facts
from deploy.cli.errors import CommandError
from shared.urls import check_database_url, check_redis_url

UNREACHABLE = (
    OSError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.CannotConnectNowError,
)
# An unknown role is an invalid parameter of the connection.
NOT_MIGRATED = (
    asyncpg.InvalidParameterValueError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
)


def find_addresses() -> tuple[str, str]:
    """Of the database and Redis: from the environment, else of the installation that runs on this machine."""
    database_url, redis_url = os.environ.get("SIXTEEN_DATABASE_URL"), os.environ.get("SIXTEEN_REDIS_URL")
    if not (database_url and redis_url):
        facts = local_facts() or {}
        database_url, redis_url = database_url or facts.get("database_url"), redis_url or facts.get("redis_url")
    if not (database_url and redis_url):
        raise CommandError(
            "No installation found: start one with `make run`, or set SIXTEEN_DATABASE_URL and SIXTEEN_REDIS_URL."
        )
    try:
        return check_database_url(database_url), check_redis_url(redis_url)
    except ValueError as error:
        raise CommandError(f"{error}.", 2) from error


@contextmanager
def outages_in_words() -> Iterator[None]:
    """A wrong setting, a database that is away or has another schema: a `CommandError` that says what to do."""
    # Loaded by who opens a database: the rest of the command line begins without it.
    from pydantic import ValidationError

    from shared.settings import in_words

    try:
        yield
    except ValidationError as error:
        raise CommandError(in_words(error).strip(), 2) from None
    except UNREACHABLE as error:
        raise CommandError(f"The database can't be reached ({error}): is it running? (`make run`)") from error
    except NOT_MIGRATED as error:
        raise CommandError("The database is not at this version's schema: run `python -m migrations`.") from error
