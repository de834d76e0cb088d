"""Making the first workspace: once, whole, and for whoever asks first."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli.errors import CommandError
from deploy.cli.main import create_app
from deploy.demo import seed
from deploy.demo.cases import CASES
from deploy.demo.seed import find, make_demo, open_seeding, seed_if_empty
from services.api.auth.keys import make_key, parse_key
from shared.db import sql
from shared.ids import new_id
from tests.conftest import Servers
from tests.demo.conftest import NOW, Demo

MEMBERS = sql("SELECT role FROM sales.members WHERE workspace_id = :workspace_id")
CUSTOMERS = sql("SELECT count(*) FROM sales.customers WHERE workspace_id = :workspace_id")


class PlugPulledError(Exception):
    pass


@pytest.fixture
def unused_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The well-known workspaces of another installation than the one that other tests may have made."""
    monkeypatch.setattr(seed, "FIRST_WORKSPACE", new_id())
    monkeypatch.setattr(seed, "DEMO_WORKSPACE", new_id())


@pytest.mark.usefixtures("unused_ids")
async def test_two_that_start_at_once_make_one_empty_workspace(servers: Servers) -> None:
    made = await asyncio.gather(*(seed_if_empty(servers.database_url, servers.redis_url, demo=False) for _ in range(2)))
    assert sorted(each.created for each in made) == [False, True]
    assert all(parse_key(each.api_key) for each in made)
    assert made[0].api_key != made[1].api_key
    assert all(each.focus_rep_id is None for each in made)
    again = await seed_if_empty(servers.database_url, servers.redis_url, demo=True, known_key=made[0].api_key)
    assert (again.created, again.api_key) == (False, made[0].api_key), "what is there is not mixed with the demo"
    database = await open_seeding(servers.database_url, servers.redis_url)
    async with database.transaction(seed.FIRST_WORKSPACE) as tx:
        assert [row["role"] for row in await tx.rows(MEMBERS)] == ["admin"]
        assert await tx.value(CUSTOMERS) == 0
    await database.close()


async def test_a_crash_in_the_middle_leaves_nothing(servers: Servers) -> None:
    workspace_id = new_id()
    told: list[tuple[int, int]] = []

    def pull_the_plug(done: int, total: int) -> None:
        told.append((done, total))
        if done >= 300:
            raise PlugPulledError

    database = await open_seeding(servers.database_url, servers.redis_url)
    with pytest.raises(PlugPulledError):
        await make_demo(database, NOW, workspace_id=workspace_id, progress=pull_the_plug)
    assert [done for done, _ in told] == [0, 100, 200, 300]
    async with database.transaction(workspace_id) as tx:
        assert await find(tx) is None
        assert await tx.value(CUSTOMERS) == 0
    await database.close()


async def test_a_second_demo_finds_the_first(demo: Demo) -> None:
    found = await make_demo(demo.database, NOW, workspace_id=demo.workspace_id)
    assert (found.created, found.focus_rep_id) == (False, demo.focus_rep_id)


def test_the_command_says_what_the_demo_contains() -> None:
    result = CliRunner().invoke(create_app(), ["demo", "--describe", "--json"])
    assert result.exit_code == 0, result.output
    contents = json.loads(result.stdout)
    assert {case["record"] for case in contents["cases"]} == {case.record for case in CASES}
    assert [member["role"] for member in contents["members"]].count("rep") == 6
    assert "created" not in contents


def test_the_command_finds_the_demo_and_keeps_the_key(
    demo: Demo, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed, "DEMO_WORKSPACE", demo.workspace_id)
    monkeypatch.setenv("SIXTEEN_DATABASE_URL", servers.database_url)
    monkeypatch.setenv("SIXTEEN_REDIS_URL", servers.redis_url)
    key, _ = make_key(demo.workspace_id, new_id())
    monkeypatch.setenv("SIXTEEN_API_KEY", key)
    mine = json.loads(CliRunner().invoke(create_app(), ["demo", "--json"]).stdout)
    assert (mine["created"], mine["api_key"], mine["focus_rep_id"]) == (False, key, str(demo.focus_rep_id))
    other, _ = make_key(new_id(), new_id())
    monkeypatch.setenv("SIXTEEN_API_KEY", other)
    theirs = json.loads(CliRunner().invoke(create_app(), ["demo", "--json"]).stdout)
    assert theirs["api_key"] not in {key, other}, "a key of another workspace does not open this one"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://nobody@127.0.0.1:9/none", "can't be reached"),
        (None, "No installation found"),
    ],
)
def test_the_command_says_what_is_missing(
    url: str | None, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIXTEEN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SIXTEEN_REDIS_URL", "redis://127.0.0.1:9")
    monkeypatch.delenv("SIXTEEN_DATABASE_URL", raising=False)
    if url:
        monkeypatch.setenv("SIXTEEN_DATABASE_URL", url)
    result = CliRunner().invoke(create_app(), ["demo"])
    assert isinstance(result.exception, CommandError)
    assert words in str(result.exception)
