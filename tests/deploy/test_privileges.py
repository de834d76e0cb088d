"""Dropping root: PostgreSQL refuses it, so the servers become an ordinary user and still find everything."""

import os
from pathlib import Path

import asyncpg
import pytest

from deploy.embedded import bundle, embedded_servers
from deploy.embedded.layout import open_layout
from deploy.embedded.privileges import ServerUser, can_reach, give, server_user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to drop")


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def test_an_ordinary_user_stays_who_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert server_user(tmp_path) is None
    assert can_reach(tmp_path / "anything", None)


@as_root
async def test_no_server_runs_as_root(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data", durable=False) as servers:
        pids = [servers.postgres.pid, servers.redis.pid]
        assert all(pid and owner_of(pid) != 0 for pid in pids)
        groups = Path(f"/proc/{pids[0]}/status").read_text()
        assert "Groups:\t \n" in groups or "Groups:\t\n" in groups


@as_root
async def test_a_closed_parent_folder_is_neither_opened_nor_in_the_way(public_folder: Path) -> None:
    closed = public_folder / "closed"
    closed.mkdir(mode=0o700)
    layout = open_layout(closed / "data")
    assert not can_reach(layout.postgres, layout.user)
    async with embedded_servers(layout.root, durable=False) as servers:
        connection = await asyncpg.connect(servers.database_url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert closed.stat().st_mode & 0o777 == 0o700
    assert layout.postgres.stat().st_uid == layout.user.uid if layout.user else False


@as_root
def test_an_existing_cluster_keeps_its_owner(public_folder: Path) -> None:
    (public_folder / "postgres").mkdir()
    os.chown(public_folder / "postgres", 65534, 65534)
    assert server_user(public_folder) == ServerUser(65534, 65534)


@as_root
def test_the_programs_are_copied_when_the_environment_is_closed(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = server_user(public_folder)
    assert user is not None
    cache = public_folder / "cache"
    monkeypatch.setattr(bundle, "CACHES", (cache,))
    monkeypatch.setattr(bundle, "can_reach", lambda path, _: cache in path.parents)
    programs = bundle.postgres_programs(user)
    assert cache in programs.parents
    assert os.access(programs / "postgres", os.X_OK)
    made = programs.stat().st_mtime_ns
    assert bundle.postgres_programs(user) == programs
    assert programs.stat().st_mtime_ns == made
    assert (programs / "postgres").stat().st_mode & 0o022 == 0


@as_root
async def test_the_copied_programs_run(public_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = public_folder / "cache"
    monkeypatch.setattr(bundle, "CACHES", (cache,))
    monkeypatch.setattr(bundle, "can_reach", lambda path, _: cache in path.parents)
    async with embedded_servers(public_folder / "data", durable=False, redis=False) as servers:
        assert servers.postgres.pid is not None
        assert str(cache) in Path(f"/proc/{servers.postgres.pid}/exe").readlink().as_posix()


@as_root
def test_a_folder_is_given_away_with_all_in_it(public_folder: Path) -> None:
    (public_folder / "a" / "b").mkdir(parents=True)
    (public_folder / "a" / "b" / "file").write_text("x")
    give(public_folder / "a", ServerUser(65534, 65534))
    assert {path.stat().st_uid for path in (public_folder / "a").rglob("*")} == {65534}
