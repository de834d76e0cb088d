"""What is said before anything starts, and the settings that are read."""

import asyncio
import socket
from pathlib import Path

import asyncpg
import pytest

from deploy.embedded import embedded_servers
from deploy.embedded.errors import StartupError
from deploy.embedded.preflight import check_database, check_port, check_redis, free_port, wait_for_port
from deploy.embedded.settings import local_settings, read_private, secret_key, write_private


def test_a_taken_port_is_named_with_a_way_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(StartupError, match=rf"Port {port} is taken.*SIXTEEN_PORT"):
            check_port(port)
    check_port(port)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        assert listener.getsockname()[1] == port


async def test_a_port_that_is_freed_in_time_is_waited_for() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        waiting = asyncio.create_task(wait_for_port(port, 10))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 2)
    assert waiting.exception() is None


async def test_the_database_has_to_be_reachable() -> None:
    with pytest.raises(StartupError, match=r"cannot be reached.*SIXTEEN_DATABASE_URL") as caught:
        await check_database("postgresql://someone:hidden@127.0.0.1:9/x")
    assert "hidden" not in str(caught.value)


async def test_redis_has_to_be_reachable() -> None:
    with pytest.raises(StartupError, match=r"cannot be reached.*SIXTEEN_REDIS_URL") as caught:
        await check_redis("redis://:hidden@127.0.0.1:9/0")
    assert "hidden" not in str(caught.value)


async def test_good_servers_answer_with_their_versions(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data", durable=False) as servers:
        assert (await check_database(servers.database_url)).startswith("18.")
        assert (await check_redis(servers.redis_url))[0].isdigit()


async def test_a_login_without_the_rights_is_told_which_statement_grants_them(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data", durable=False, redis=False) as servers:
        admin = await asyncpg.connect(servers.superuser_url)
        for statement in (
            "CREATE ROLE weak LOGIN",
            "CREATE DATABASE other OWNER weak",
            "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'",
        ):
            await admin.execute(statement)
        await admin.close()
        sockets = servers.postgres.sockets
        with pytest.raises(StartupError, match=r'ALTER DATABASE "sixteen" OWNER TO "weak"'):
            await check_database(f"postgresql://weak@/sixteen?host={sockets}")
        with pytest.raises(StartupError, match=r'ALTER ROLE "weak" CREATEROLE'):
            await check_database(f"postgresql://weak@/other?host={sockets}")
        with pytest.raises(StartupError, match=r"encoded in LATIN1.*ENCODING 'UTF8'"):
            await check_database(f"postgresql://weak@/latin?host={sockets}")
        with pytest.raises(StartupError, match="no such database"):
            await check_database(f"postgresql://weak@/nowhere?host={sockets}")
        with pytest.raises(StartupError, match=r"refuses the login.*stranger"):
            await check_database(f"postgresql://stranger@/sixteen?host={sockets}")


def test_settings_have_defaults_and_are_read_from_the_environment() -> None:
    assert local_settings({}) == local_settings(
        {"SIXTEEN_PORT": "8016", "SIXTEEN_DATA_DIR": ".data", "SIXTEEN_DEMO": "1"}
    )
    changed = local_settings({"SIXTEEN_PORT": "9000", "SIXTEEN_DEMO": "0", "SIXTEEN_DATABASE_URL": "postgresql://h/d"})
    assert (changed.base_url, changed.demo, changed.database_url) == (
        "http://127.0.0.1:9000",
        False,
        "postgresql://h/d",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIXTEEN_PORT", "http"),
        ("SIXTEEN_PORT", "0"),
        ("SIXTEEN_DEMO", "no"),
        ("SIXTEEN_DEMO", "2"),
        ("SIXTEEN_PORT", "65536"),
        ("SIXTEEN_DATABASE_URL", "mysql://host/name"),
        ("SIXTEEN_REDIS_URL", "localhost:6379"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(StartupError, match=name):
        local_settings({name: value})


@pytest.mark.parametrize(("value", "demo"), [("", True), ("True", True), ("1", True), ("false", False), (" 0 ", False)])
def test_the_demo_is_switched_by_few_words(value: str, demo: bool) -> None:
    assert local_settings({"SIXTEEN_DEMO": value}).demo is demo


def test_a_free_port_is_not_given_twice() -> None:
    first = free_port()
    assert free_port({first}) != first
    check_port(first)


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    first = secret_key(tmp_path / "secret.key")
    assert len(first) >= 32
    assert secret_key(tmp_path / "secret.key") == first
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "one")
    write_private(tmp_path / "file", "two\n")
    assert read_private(tmp_path / "file") == "two"
    assert read_private(tmp_path / "absent") is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
