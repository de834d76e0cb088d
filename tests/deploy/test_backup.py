"""Backup and restore: what goes in comes out, and nothing is replaced by something broken."""

import asyncio
import json
import tarfile
from pathlib import Path

import asyncpg
import pytest
from deploy_cases import run_sixteen

from deploy.embedded import EmbeddedServerError, embedded_servers
from deploy.embedded.backup import backup, restore
from deploy.embedded.settings import secret_key


def quietly(_: str) -> None:
    """Progress nobody looks at."""


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def read_kept(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        return [row["n"] for row in await connection.fetch("SELECT n FROM kept ORDER BY n")]
    finally:
        await connection.close()


async def make_data(data: Path, value: int) -> None:
    """An installation with a service role and a table under forced row-level security."""
    async with embedded_servers(data, durable=False, redis=False) as servers:
        await execute(
            servers.database_url,
            "CREATE ROLE sixteen_case",
            f"CREATE TABLE kept AS SELECT {value} AS n",
            "ALTER TABLE kept ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE kept FORCE ROW LEVEL SECURITY",
            "GRANT SELECT ON kept TO sixteen_case",
        )
    await asyncio.to_thread(secret_key, data / "secret.key")


async def test_a_stopped_installation_comes_back_elsewhere(tmp_path: Path) -> None:
    await make_data(tmp_path / "one", 16)
    manifest = await backup(tmp_path / "one", tmp_path / "file.backup", None, quietly)
    assert set(manifest["files"]) == {"database.dump", "roles.sql", "secret.key"}
    assert (tmp_path / "file.backup").stat().st_mode & 0o777 == 0o600
    await restore(tmp_path / "two", tmp_path / "file.backup", force=False, report=quietly)
    async with embedded_servers(tmp_path / "two", durable=False, redis=False) as servers:
        assert await read_kept(servers.superuser_url) == [16]
        assert await read_kept(servers.database_url) == []
        connection = await asyncpg.connect(servers.superuser_url)
        assert await connection.fetchval("SELECT has_table_privilege('sixteen_case', 'kept', 'SELECT')")
        assert (
            await connection.fetchval("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'kept'")
            == "sixteen"
        )
        await connection.close()
    assert (tmp_path / "two" / "secret.key").read_text() == (tmp_path / "one" / "secret.key").read_text()


async def test_a_running_installation_is_backed_up_while_it_runs(tmp_path: Path) -> None:
    await make_data(tmp_path / "one", 16)
    async with embedded_servers(tmp_path / "one", durable=False, redis=False) as servers:
        await backup(tmp_path / "one", tmp_path / "file.backup", servers.database_url, quietly)
        with pytest.raises(EmbeddedServerError, match="in use"):
            await restore(tmp_path / "one", tmp_path / "file.backup", force=True, report=quietly)
        assert await read_kept(servers.superuser_url) == [16]


async def test_existing_data_is_replaced_only_when_told(tmp_path: Path) -> None:
    await make_data(tmp_path / "one", 1)
    await make_data(tmp_path / "two", 2)
    await backup(tmp_path / "one", tmp_path / "file.backup", None, quietly)
    with pytest.raises(EmbeddedServerError, match="--force"):
        await restore(tmp_path / "two", tmp_path / "file.backup", force=False, report=quietly)
    async with embedded_servers(tmp_path / "two", durable=False, redis=False) as servers:
        assert await read_kept(servers.superuser_url) == [2]
    await restore(tmp_path / "two", tmp_path / "file.backup", force=True, report=quietly)
    async with embedded_servers(tmp_path / "two", durable=False, redis=False) as servers:
        assert await read_kept(servers.superuser_url) == [1]


async def test_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    await make_data(tmp_path / "one", 1)
    file = tmp_path / "file.backup"
    await backup(tmp_path / "one", file, None, quietly)
    whole = file.read_bytes()
    with tarfile.open(file) as archive:
        dump = archive.getmember("database.dump")
    middle = dump.offset_data + dump.size // 2
    broken = [
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        whole[:middle],
        b"",
        b"no archive at all",
    ]
    for content in broken:
        file.write_bytes(content)
        with pytest.raises(EmbeddedServerError, match="damaged"):
            await restore(tmp_path / "one", file, force=True, report=quietly)
    async with embedded_servers(tmp_path / "one", durable=False, redis=False) as servers:
        assert await read_kept(servers.superuser_url) == [1]
    assert not (tmp_path / "one" / "restore.unfinished").exists()


async def test_an_archive_with_a_stray_member_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"format": 1, "postgres": 18, "files": {"../outside": {"bytes": 1, "sha256": ""}}})
    )
    with tarfile.open(tmp_path / "file.backup", "w") as archive:
        archive.add(tmp_path / "manifest.json", "manifest.json")
        archive.add(tmp_path / "manifest.json", "../outside")
    with pytest.raises(EmbeddedServerError, match="damaged"):
        await restore(tmp_path / "one", tmp_path / "file.backup", force=False, report=quietly)
    assert not (tmp_path / "outside").exists()


async def test_there_has_to_be_something_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="nothing to back up"):
        await backup(tmp_path / "one", tmp_path / "file.backup", None, quietly)
    assert not (tmp_path / "file.backup").exists()


async def test_the_command_line_backs_up_and_restores(tmp_path: Path) -> None:
    await make_data(tmp_path / "one", 16)
    file = tmp_path / "file.backup"
    code, output, _ = await run_sixteen("backup", str(file), "--json", SIXTEEN_DATA_DIR=str(tmp_path / "one"))
    assert code == 0
    assert json.loads(output)["format"] == 1
    code, _, errors = await run_sixteen("backup", str(file), SIXTEEN_DATA_DIR=str(tmp_path / "one"))
    assert (code, errors.count("\n")) == (1, 1)
    assert "--force" in errors
    code, output, errors = await run_sixteen("restore", str(file), SIXTEEN_DATA_DIR=str(tmp_path / "two"))
    assert (code, errors) == (0, "")
    assert output.startswith("Restored from")
    async with embedded_servers(tmp_path / "two", durable=False, redis=False) as servers:
        assert await read_kept(servers.superuser_url) == [16]


async def test_a_restore_that_died_between_its_renames_has_lost_nothing(tmp_path: Path) -> None:
    await make_data(tmp_path / "one", 16)
    (tmp_path / "one" / "postgres").rename(tmp_path / "one" / "postgres.before-restore")
    async with embedded_servers(tmp_path / "one", durable=False, redis=False) as servers:
        assert await read_kept(servers.superuser_url) == [16]
