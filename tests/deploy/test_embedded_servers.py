"""The embedded servers as an installation meets them: first start, crash, odd places, neighbours."""

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import pytest
from deploy_cases import eventually, hold_servers, is_alive
from redis.asyncio import Redis

from deploy.embedded import EmbeddedServerError, embedded_servers
from deploy.embedded.layout import open_layout


async def query(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def test_the_login_role_owns_a_utf8_database_and_is_no_superuser(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data", durable=False, redis=False) as servers:
        (facts,) = await query(
            servers.database_url,
            """SELECT rolsuper, rolcreaterole, rolbypassrls, current_setting('server_encoding') AS encoding,
                      lower('ÄÉЖ') AS lowered, current_setting('jit') AS jit, current_setting('TimeZone') AS zone,
                      (SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()) AS owner
                 FROM pg_roles WHERE rolname = current_user""",
        )
    assert dict(facts) == {
        "rolsuper": False,
        "rolcreaterole": True,
        "rolbypassrls": False,
        "encoding": "UTF8",
        "lowered": "äéж",
        "jit": "off",
        "zone": "UTC",
        "owner": "sixteen",
    }


@pytest.mark.parametrize(("durable", "expected"), [(True, "on"), (False, "off")])
async def test_only_a_throw_away_cluster_skips_the_disk(tmp_path: Path, durable: bool, expected: str) -> None:
    async with embedded_servers(tmp_path / "data", durable=durable, redis=False) as servers:
        (row,) = await query(servers.database_url, "SHOW fsync")
    assert row["fsync"] == expected


async def test_data_survives_a_stop_and_a_crash_of_postgres(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with embedded_servers(data, durable=False, redis=False) as servers:
        await query(servers.database_url, "CREATE TABLE kept AS SELECT 1 AS n")
        await servers.kill_postgres()
        await servers.start_postgres()
        await query(servers.database_url, "INSERT INTO kept VALUES (2)")
        await servers.restart_postgres()
    async with embedded_servers(data, durable=False, redis=False) as servers:
        rows = await query(servers.database_url, "SELECT n FROM kept ORDER BY n")
    assert [row["n"] for row in rows] == [1, 2]


async def test_redis_keeps_its_file_over_a_crash_and_loses_it_when_told(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data", durable=True, postgres=False) as servers:
        client = Redis.from_url(servers.redis_url)
        await client.set("nudge", "1")
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert (await client.config_get("appendfsync"))["appendfsync"] == "everysec"
        await asyncio.sleep(1.2)
        await servers.kill_redis()
        await servers.start_redis()
        assert await client.get("nudge") == b"1"
        await servers.restart_redis(empty=True)
        assert await client.get("nudge") is None
        await client.aclose()


async def test_a_redis_file_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    layout = open_layout(tmp_path / "data")
    servers_once = embedded_servers(layout.root, durable=False, postgres=False)
    async with servers_once as servers, Redis.from_url(servers.redis_url) as client:
        await client.set("nudge", "1")
    for path in layout.redis.rglob("*"):
        if path.is_file():
            path.write_bytes(b"this is not a Redis file\n")
    servers_again = embedded_servers(layout.root, durable=False, postgres=False)
    async with servers_again as servers, Redis.from_url(servers.redis_url) as client:
        assert await client.ping()
    assert (layout.root / "redis.unreadable").is_dir()


@pytest.mark.parametrize("name", ["with a space", "名字", "d" * 100, "quote\"'`$&"])
async def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    data = tmp_path / name / "data"
    async with embedded_servers(data, durable=False) as servers:
        sockets = servers.postgres.sockets
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(sockets)) <= 90
        (row,) = await query(servers.database_url, "SELECT 1 AS n")
        assert row["n"] == 1
    assert not sockets.exists()
    assert not (data / "sockets.path").exists()


async def test_a_second_holder_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with embedded_servers(data, durable=False, redis=False):
        with pytest.raises(EmbeddedServerError, match=rf"in use by .*process {os.getpid()}.*SIXTEEN_DATA_DIR"):
            async with embedded_servers(data, durable=False, redis=False):
                pytest.fail("two holders of one data directory")


async def test_two_data_directories_run_side_by_side(tmp_path: Path) -> None:
    async with (
        embedded_servers(tmp_path / "one", durable=False) as one,
        embedded_servers(tmp_path / "two", durable=False) as two,
    ):
        await query(one.database_url, "CREATE TABLE only_here ()")
        (row,) = await query(two.database_url, "SELECT to_regclass('only_here') AS found")
        assert row["found"] is None
        assert one.redis_url != two.redis_url


@pytest.mark.faults
async def test_nothing_outlives_a_killed_parent_and_the_data_is_found_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    holder, servers_pids = await hold_servers(data)
    assert len(servers_pids) == 2
    assert all(is_alive(pid) for pid in servers_pids)
    holder.kill()
    await holder.wait()
    # Started at once: the servers of the first run may still be writing out, and must be waited for.
    async with embedded_servers(data, durable=False) as servers:
        (row,) = await query(servers.database_url, "SELECT 1 AS n")
        assert row["n"] == 1
    assert await eventually(lambda: not any(is_alive(pid) for pid in servers_pids))


@pytest.mark.faults
async def test_everything_killed_at_once_leaves_nothing_in_the_way(public_folder: Path) -> None:
    data = public_folder / "data"
    holder, servers_pids = await hold_servers(data)
    for pid in (holder.pid, *servers_pids):
        os.kill(pid, signal.SIGKILL)
    await holder.wait()
    # After a reboot the pid in these files may belong to anybody; here, to this process.
    for leftover in (data / "postgres" / "postmaster.pid", data / "run" / ".s.PGSQL.5432.lock"):
        stale = leftover.read_text().splitlines()
        leftover.write_text("\n".join([str(os.getpid()), *stale[1:]]) + "\n")
    async with embedded_servers(data, durable=False) as servers:
        (row,) = await query(servers.database_url, "SELECT 1 AS n")
    assert row["n"] == 1


async def test_a_cluster_of_another_major_version_is_refused_in_words(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with embedded_servers(data, durable=False, redis=False):
        pass
    (data / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 16.*ships 18.*sixteen restore"):
        async with embedded_servers(data, durable=False, redis=False):
            pytest.fail("started on the wrong version")


async def test_an_installation_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "postgres.unfinished").mkdir(parents=True)
    (data / "postgres.unfinished" / "PG_VERSION").write_text("18\n")
    async with embedded_servers(data, durable=False, redis=False) as servers:
        (row,) = await query(servers.database_url, "SELECT 1 AS n")
    assert row["n"] == 1


async def test_a_server_that_cannot_start_says_what_it_wrote(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with embedded_servers(data, durable=False, redis=False):
        pass
    (data / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedServerError, match=r"(?s)postgres stopped while starting.*pg_control"):
        async with embedded_servers(data, durable=False, redis=False):
            pytest.fail("started without its control file")


async def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(EmbeddedServerError, match="not a folder"):
        async with embedded_servers(tmp_path / "data", durable=False):
            pytest.fail("started in a file")


async def test_asking_for_a_server_that_was_not_started_is_an_error(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data", durable=False, postgres=False) as servers:
        with pytest.raises(EmbeddedServerError, match="not embedded in this run"):
            _ = servers.database_url
