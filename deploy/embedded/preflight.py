"""Checks before anything is started, so that what is wrong is said once and clearly."""

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Collection

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from deploy.embedded.errors import StartupError
from shared.urls import driver_url, without_password

OLDEST_POSTGRES = 15
OLDEST_REDIS = (6, 2)
SERVICE_ROLES = ("sixteen_api", "sixteen_scoring")


def check_port(port: int) -> None:
    """Raise `StartupError` if something already listens on `port` of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As uvicorn does: connections of an earlier run that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StartupError(
                    f"Port {port} is taken by another program: stop that one, or choose another port "
                    f"(SIXTEEN_PORT={port + 1 if port < 65535 else 8016} make run)."
                ) from error
            raise StartupError(
                f"Port {port} cannot be opened ({error.strerror}): set SIXTEEN_PORT to another."
            ) from error


def free_port(taken: Collection[int] = ()) -> int:
    """A loopback port that nobody listens on now and that is not in `taken`."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


async def wait_for_port(port: int, seconds: float) -> None:
    """As `check_port`, but for up to `seconds` wait until the port is free."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(StartupError):
            check_port(port)
            return
        await asyncio.sleep(0.1)
    check_port(port)


async def check_database(url: str) -> str:
    """Return the server's version; raise `StartupError` if this database cannot carry the product."""
    place = without_password(url)
    try:
        connection = await asyncpg.connect(driver_url(url), timeout=10)
    except asyncpg.InvalidCatalogNameError as error:
        raise StartupError(f"There is no such database at {place}: create it, owned by the login role.") from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise StartupError(f"PostgreSQL at {place} refuses the login ({error}): check SIXTEEN_DATABASE_URL.") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise StartupError(
            f"PostgreSQL at {place} cannot be reached ({reason}): start it, or check SIXTEEN_DATABASE_URL; "
            "without that variable an embedded one is used."
        ) from error
    try:
        await _check_rights(connection, place)
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


async def _check_rights(connection: asyncpg.Connection, place: str) -> None:
    major = connection.get_server_version().major
    if major < OLDEST_POSTGRES:
        raise StartupError(f"PostgreSQL at {place} is version {major}: {OLDEST_POSTGRES} or newer is needed.")
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StartupError(f"The database at {place} is encoded in {encoding}: create one with ENCODING 'UTF8'.")
    facts = await connection.fetchrow(
        """SELECT current_user AS login, current_database() AS name,
                  login.rolcreaterole OR login.rolsuper AS may_create,
                  pg_has_role(current_user, database.datdba, 'USAGE') AS owns,
                  (SELECT count(*) FROM pg_roles WHERE rolname = ANY ($1)) AS roles
             FROM pg_roles login, pg_database database
            WHERE login.rolname = current_user AND database.datname = current_database()""",
        list(SERVICE_ROLES),
    )
    assert facts is not None  # noqa: S101  the connection's own role and database exist
    if not facts["owns"]:
        raise StartupError(
            f"The login {facts['login']} does not own the database at {place}: as a superuser run "
            f'ALTER DATABASE "{facts["name"]}" OWNER TO "{facts["login"]}".'
        )
    if facts["roles"] < len(SERVICE_ROLES) and not facts["may_create"]:
        raise StartupError(
            f"The login {facts['login']} may not create the roles {' and '.join(SERVICE_ROLES)} at {place}: "
            f'as a superuser run ALTER ROLE "{facts["login"]}" CREATEROLE.'
        )


async def check_redis(url: str) -> str:
    """Return the server's version; raise `StartupError` if this Redis cannot carry the queues."""
    place = without_password(url)
    try:
        async with Redis.from_url(url, socket_connect_timeout=10, socket_timeout=10) as client:
            facts = await client.info("server")
    except AuthenticationError as error:
        raise StartupError(f"Redis at {place} refuses the login ({error}): check SIXTEEN_REDIS_URL.") from error
    except (RedisError, OSError, ValueError) as error:
        raise StartupError(
            f"Redis at {place} cannot be reached ({error}): start it, or check SIXTEEN_REDIS_URL; "
            "without that variable an embedded one is used."
        ) from error
    version = str(facts["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise StartupError(f"Redis at {place} is version {version}: 6.2 or newer, or a Valkey, is needed.")
    return version
