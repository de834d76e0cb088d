"""Database and Redis addresses: one form in the environment, others where a library asks for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_POSTGRESQL: Final = frozenset(("postgresql", "postgres", "postgresql+asyncpg"))
_REDIS: Final = frozenset(("redis", "rediss", "unix"))


def check_database_url(url: str) -> str:
    """The address as it is; raises ValueError, with what it must look like, where it can't be one."""
    if not _may_be(url, _POSTGRESQL):
        raise ValueError("SIXTEEN_DATABASE_URL must look like postgresql://user:password@host:5432/name")
    return url


def check_redis_url(url: str) -> str:
    """The address as it is; raises ValueError, with what it must look like, where it can't be one."""
    if not _may_be(url, _REDIS):
        raise ValueError("SIXTEEN_REDIS_URL must look like redis://host:6379/0 or unix:///path/to/socket")
    return url


def _may_be(url: str, schemes: Collection[str]) -> bool:
    try:
        # Read when it is asked for: it may be no number, or too large a one.
        port = urlsplit(url).port
    except ValueError:
        return False
    scheme, separator, _ = url.partition("://")
    return port != 0 and bool(separator) and scheme in schemes


def sqlalchemy_url(url: str) -> str:
    """`postgresql://…` (or `postgres://…`) as SQLAlchemy's asyncpg dialect wants it.

    A unix socket is written `postgresql://user@/name?host=/directory`, as libpq does.
    """
    return f"postgresql+asyncpg://{check_database_url(url).partition('://')[2]}"


def driver_url(url: str) -> str:
    """The address as the driver itself wants it, which knows nothing of SQLAlchemy's name for it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def without_password(url: str) -> str:
    """The address fit for a log line or an error: the password left out."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port:
        host = f"{host}:{parts.port}"
    if parts.username:
        host = f"{parts.username}@{host}"
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key != "password"], safe="/")
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
