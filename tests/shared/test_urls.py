"""Addresses of databases and of Redis, in the forms that their libraries want."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.db import connect_arguments
from shared.queue import redis_arguments
from shared.urls import check_redis_url, sqlalchemy_url, without_password


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_every_usual_scheme_is_taken(scheme: str) -> None:
    assert sqlalchemy_url(f"{scheme}://u:p@h:5432/d?host=/run") == "postgresql+asyncpg://u:p@h:5432/d?host=/run"


@pytest.mark.parametrize(
    "url", ["", "mysql://h/d", "h/d", "postgresql:/h", "sqlite:///x", "postgresql://h:port/d", "postgresql://h:70000/d"]
)
def test_anything_else_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match="SIXTEEN_DATABASE_URL must look like postgresql://"):
        sqlalchemy_url(url)


@pytest.mark.parametrize("url", ["redis://h:port/0", "rediss://h:70000", "http://h/0", "h:6379"])
def test_of_redis_too(url: str) -> None:
    with pytest.raises(ValueError, match="SIXTEEN_REDIS_URL must look like redis://"):
        check_redis_url(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://h/d?password=secret&host=/run/pg", "postgresql://h/d?host=/run/pg"),
        ("postgresql://u:secret@/d?host=/run", "postgresql://u@/d?host=/run"),
        ("redis://:secret@h:6379/1", "redis://h:6379/1"),
        ("postgresql://u:secret@[::1]:5432/d", "postgresql://u@[::1]:5432/d"),
    ],
)
def test_a_password_is_left_out(url: str, shown: str) -> None:
    assert without_password(url) == shown


@given(st.text("abcXYZ019-_~", min_size=6, max_size=20))
def test_no_password_is_ever_shown(password: str) -> None:
    assert f"geheim{password}" not in without_password(f"postgresql://u:geheim{password}@h/d?password=geheim{password}")


def test_the_role_is_entered_with_the_connection() -> None:
    arguments = connect_arguments("postgresql://u@/d?host=/run/pg", "sixteen_api")
    assert (arguments["host"], arguments["dsn"]) == ("/run/pg", "postgresql://u@/d")
    assert arguments["server_settings"]["role"] == "sixteen_api"
    assert arguments["server_settings"]["TimeZone"] == "UTC"
    assert "role" not in connect_arguments("postgresql://u@h/d", "")["server_settings"]


def test_redis_addresses() -> None:
    socket = redis_arguments("unix:///run/my%20redis.sock?db=3")
    assert (socket["unix_socket_path"], socket["db"]) == ("/run/my redis.sock", 3)
    plain = redis_arguments("redis://example.org")
    assert (plain["host"], plain["port"], plain["db"]) == ("example.org", 6379, 0)
    assert not plain.get("ssl")
    secured = redis_arguments("rediss://user:p%40ss@example.org:6380/2")
    assert (secured["host"], secured["port"], secured["db"]) == ("example.org", 6380, 2)
    assert (secured["username"], secured["password"]) == ("user", "p@ss")
    assert secured["ssl"] is True
    assert secured["ssl_check_hostname"] is True


@pytest.mark.parametrize("url", ["", "http://h", "h:6379", "postgresql://h/d"])
def test_another_address_of_redis_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match="SIXTEEN_REDIS_URL must begin with redis://"):
        redis_arguments(url)
