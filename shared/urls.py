"""Database and Redis addresses: one form in the environment, others where a library asks for them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def sqlalchemy_url(url: str) -> str:
    """`postgresql://…` (or `postgres://…`) as SQLAlchemy's asyncpg dialect wants it.

    A unix socket is written `postgresql://user@/name?host=/directory`, as libpq does.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError("SIXTEEN_DATABASE_URL must begin with postgresql://")
    return f"postgresql+asyncpg://{rest}"


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
