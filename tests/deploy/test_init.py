"""`sixteen init`: the first workspace of an installation that nobody has used yet."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.cli.errors import CommandError
from deploy.cli.main import create_app
from deploy.demo import seed
from shared.ids import new_id
from tests.conftest import Servers


@pytest.fixture
def fresh(servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation without its first workspace."""
    monkeypatch.setattr(seed, "FIRST_WORKSPACE", new_id())
    monkeypatch.setenv("SIXTEEN_DATABASE_URL", servers.database_url)
    monkeypatch.setenv("SIXTEEN_REDIS_URL", servers.redis_url)
    monkeypatch.setenv("SIXTEEN_DATA_DIR", str(tmp_path))


async def init(*arguments: str) -> dict[str, Any]:
    result = await asyncio.to_thread(CliRunner().invoke, create_app(), ["init", "--json", *arguments])
    assert result.exit_code == 0, result.output
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


async def read(http: httpx.AsyncClient, key: str, path: str) -> dict[str, Any]:
    response = await http.get(path, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_it_is_as_it_was_asked_for(fresh: None, http: httpx.AsyncClient) -> None:
    asked = ("--name", "Harbour", "--currency", "EUR", "--time-zone", "Europe/Berlin", "--email", "a@harbour.example")
    made = await init(*asked)
    assert made["created"] is True
    workspace = await read(http, made["api_key"], "/v1/workspace")
    told = [workspace[each] for each in ("name", "currency", "time_zone")]
    assert told == ["Harbour", "EUR", "Europe/Berlin"]
    (member,) = (await read(http, made["api_key"], "/v1/members"))["data"]
    assert (member["role"], member["email"]) == ("admin", "a@harbour.example")


async def test_there_is_one_and_each_call_opens_it(fresh: None, http: httpx.AsyncClient) -> None:
    first = await init("--name", "Harbour")
    again = await init("--name", "Another")
    assert again["created"] is False
    assert again["api_key"] != first["api_key"]
    names = {(await read(http, each["api_key"], "/v1/workspace"))["name"] for each in (first, again)}
    assert names == {"Harbour"}


async def test_another_key_is_told_of_and_audited(fresh: None, http: httpx.AsyncClient) -> None:
    first = await init()
    second = await init()
    keys = (await read(http, second["api_key"], "/v1/api-keys"))["data"]
    (made,) = (key for key in keys if key["last4"] == second["api_key"][-4:])
    (event,) = (await read(http, first["api_key"], "/v1/events?type=api_key.created"))["data"]
    assert (event["subject"]["id"], event["actor_id"], event["data"]["name"]) == (made["id"], None, "Made at start")
    (entry,) = (await read(http, first["api_key"], "/v1/audit?action=api_key.created"))["data"]
    assert (entry["subject_id"], entry["actor_id"]) == (made["id"], None)
    assert "secret_hash" not in event["data"]
    assert entry["changes"].get("secret_hash") is None


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("DATABASE_URL", "garbage", "must look like postgresql://"),
        ("DATABASE_URL", "postgresql://u@h:port/d", "must look like postgresql://"),
        ("REDIS_URL", "garbage", "must look like redis://"),
        ("RATE_LIMIT_KEY", "many", "valid integer"),
    ],
)
async def test_a_wrong_setting_is_named(
    fresh: None, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"SIXTEEN_{setting}", value)
    for command in (["init"], ["demo"]):
        result = await asyncio.to_thread(CliRunner().invoke, create_app(), command)
        assert isinstance(result.exception, CommandError)
        words = str(result.exception)
        assert words.startswith(f"SIXTEEN_{setting}")
        assert words.count("SIXTEEN_") == 1
        assert said in words
        assert "\n" not in words
        assert "pydantic" not in words
        assert result.exception.exit_code == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--currency", "XXQ"),
        ("--currency", "eur"),
        ("--time-zone", "Mars/North"),
        ("--email", "nobody"),
        ("--name", ""),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_is_made(fresh: None, option: str, value: str) -> None:
    result = await asyncio.to_thread(CliRunner().invoke, create_app(), ["init", option, value])
    assert isinstance(result.exception, CommandError)
    assert (str(result.exception).split(":")[0], result.exception.exit_code) == (option, 2)
    assert (await init())["created"] is True
