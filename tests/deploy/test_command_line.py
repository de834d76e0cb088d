"""The `sixteen` command: results on stdout, one sentence on stderr when something is wrong."""

import io
import json
import sys
from pathlib import Path

import httpx
import pytest
from deploy_cases import run_sixteen
from redis.asyncio import Redis
from rich.console import Console

from deploy.cli import main as cli
from deploy.cli.connection import describe_problem, find_connection, open_client
from deploy.cli.doctor_checks import Finding, State
from deploy.cli.errors import CommandError
from deploy.cli.focus_table import seat_lines, seats_table
from deploy.embedded import embedded_servers
from shared.queue import SCORING_QUEUE

SEAT = {
    "rank": 1,
    "band": "engage",
    "subject": {"type": "opportunity", "id": "0198", "name": "Line 4 [retrofit]"},
    "customer": {"id": "0199", "name": "华东机械"},
    "class": "C",
    "priority": "1234.5",
    "reasons": [{"code": "due", "text": "Purchase date in 9 days"}, {"code": "coach", "text": "A coach inside"}],
}


@pytest.mark.parametrize("arguments", [["focus"], ["focus", "0198", "--band", "track"]])
async def test_without_an_installation_the_command_says_how_to_start_one(tmp_path: Path, arguments: list[str]) -> None:
    code, output, errors = await run_sixteen(*arguments, SIXTEEN_DATA_DIR=str(tmp_path))
    assert (code, output) == (1, "")
    assert errors == "No installation found: start one with `make run`, or set SIXTEEN_BASE_URL and SIXTEEN_API_KEY.\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["focus", "--json"], 1, "No installation found"),
        (["focus", "--json", "--band", "nearby"], 2, "nearby"),
        (["nonsense", "--json"], 2, "nonsense"),
        (["backup", "--json"], 2, "file"),
        (["run", "--json"], 1, "SIXTEEN_PORT is"),
    ],
)
async def test_with_json_an_error_is_json_too(tmp_path: Path, arguments: list[str], exit_code: int, words: str) -> None:
    code, output, errors = await run_sixteen(*arguments, SIXTEEN_DATA_DIR=str(tmp_path), SIXTEEN_PORT="none")
    assert (code, output) == (exit_code, "")
    assert set(json.loads(errors)) == {"error"}
    assert words.casefold() in json.loads(errors)["error"].casefold()


async def test_an_address_where_nothing_listens_is_named(tmp_path: Path) -> None:
    code, _, errors = await run_sixteen(
        "focus", SIXTEEN_DATA_DIR=str(tmp_path), SIXTEEN_BASE_URL="http://127.0.0.1:9", SIXTEEN_API_KEY="key"
    )
    assert code == 1
    assert errors.startswith("http://127.0.0.1:9 cannot be reached")
    assert "Traceback" not in errors


@pytest.mark.parametrize("arguments", [["focus", "--band", "nearby"], ["nonsense"], ["backup"]])
async def test_wrong_use_has_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    code, output, errors = await run_sixteen(*arguments, SIXTEEN_DATA_DIR=str(tmp_path))
    assert (code, output) == (2, "")
    assert "Traceback" not in errors


async def test_a_broken_local_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text("{")
    code, _, errors = await run_sixteen("focus", SIXTEEN_DATA_DIR=str(tmp_path))
    assert code == 1
    assert "local.json is not valid JSON" in errors


async def test_the_doctor_tells_what_is_missing_and_fails(tmp_path: Path) -> None:
    code, output, errors = await run_sixteen("doctor", "--json", SIXTEEN_DATA_DIR=str(tmp_path))
    report = json.loads(output)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert (code, errors, report["healthy"]) == (1, "", False)
    assert states["disk"] == "ok"
    assert {states[name] for name in ("database", "redis", "api")} == {"fail"}
    assert all(check["advice"] for check in report["checks"] if check["state"] == "fail")


async def test_the_doctor_speaks_in_words_too(tmp_path: Path) -> None:
    code, output, _ = await run_sixteen("doctor", SIXTEEN_DATA_DIR=str(tmp_path))
    assert code == 1
    assert "FAIL database" in output
    assert "make run" in output


def test_a_key_is_not_sent_to_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local.json").write_text(json.dumps({"base_url": "http://127.0.0.1:8016", "api_key": "local"}))
    monkeypatch.setenv("SIXTEEN_DATA_DIR", str(tmp_path))
    assert find_connection({}).api_key == "local"
    assert find_connection({"SIXTEEN_BASE_URL": "http://127.0.0.1:8016/"}).api_key == "local"
    with pytest.raises(CommandError, match="No API key"):
        find_connection({"SIXTEEN_BASE_URL": "https://elsewhere.example"})


def test_the_key_goes_into_the_authorization_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXTEEN_BASE_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("SIXTEEN_API_KEY", "secret")
    with open_client() as client:
        assert client.headers["authorization"] == "Bearer secret"
        assert str(client.base_url) == "http://127.0.0.1:1"


def test_a_problem_document_becomes_a_sentence() -> None:
    request = httpx.Request("GET", "http://127.0.0.1/v1/focus")
    problem = {"detail": "Not valid.", "errors": [{"pointer": "/owner_id", "code": "uuid", "message": "is no id"}]}
    assert describe_problem(httpx.Response(422, json=problem, request=request)) == "422 Not valid. (/owner_id is no id)"
    assert describe_problem(httpx.Response(502, text="bad gateway", request=request)) == "502 bad gateway"
    assert "SIXTEEN_API_KEY" in describe_problem(httpx.Response(401, json={}, request=request))


def test_seats_are_shown_with_class_priority_and_reasons() -> None:
    shown = io.StringIO()
    Console(width=200, file=shown).print(seats_table(seat_lines([SEAT])))
    for part in ("Line 4 [retrofit]", "华东机械", "C", "1,23", "Purchase date in 9 days; A coach inside"):
        assert part in shown.getvalue()


def test_a_pin_is_told_before_the_reasons() -> None:
    shown = io.StringIO()
    Console(width=200, file=shown).print(seats_table(seat_lines([{**SEAT, "pinned": True}, {**SEAT, "reasons": []}])))
    assert "pinned; Purchase date in 9 days" in shown.getvalue()
    assert shown.getvalue().count("pinned") == 1


def test_what_is_unknown_stays_blank_rather_than_wrong() -> None:
    (line,) = seat_lines([{"subject": {"id": "0198"}, "priority": None, "reasons": None}])
    assert (line.rank, line.priority, line.customer, line.reasons) == (1, "unknown", "", ())


def test_a_finding_is_plain_data() -> None:
    finding = Finding("disk", State.WARN, "little room", "make some")
    assert finding.as_dict() == {"name": "disk", "state": "warn", "detail": "little room", "advice": "make some"}


async def test_the_openapi_document_needs_no_server(tmp_path: Path) -> None:
    code, output, errors = await run_sixteen("openapi", SIXTEEN_DATA_DIR=str(tmp_path))
    assert (code, errors) == (0, "")
    document = json.loads(output)
    assert document["openapi"].startswith("3.1")
    assert any(path.startswith("/v1/") for path in document["paths"])
    code, output, _ = await run_sixteen("openapi", "--json", "-o", str(tmp_path / "openapi.json"))
    assert (code, json.loads(output)) == (0, {"file": str(tmp_path / "openapi.json")})
    assert json.loads((tmp_path / "openapi.json").read_text()) == document


def test_a_file_that_can_not_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        Path("/proc/none/a").write_text("")

    monkeypatch.setattr(sys, "argv", ["sixteen", "backup", "--json"])
    monkeypatch.setattr(cli, "create_app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().err)["error"].startswith("/proc/none/a: No such file or directory. ")


async def test_the_doctor_counts_the_workers_that_renew_their_key(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data", durable=False, postgres=False) as servers:
        async with Redis.from_url(servers.redis_url) as client:
            await client.set(f"{SCORING_QUEUE}:health:host:1", "", ex=60)
            await client.set(f"{SCORING_QUEUE}:health:host:2", "", ex=60)
        _, output, _ = await run_sixteen(
            "doctor", "--json", SIXTEEN_DATA_DIR=str(tmp_path), SIXTEEN_REDIS_URL=servers.redis_url
        )
    found = {check["name"]: (check["state"], check["detail"]) for check in json.loads(output)["checks"]}
    assert found["scoring"] == ("ok", "2 alive")
    assert found["api-worker"] == ("fail", "no sign of life")
    assert found["redis policy"] == ("ok", "noeviction")


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x"])
async def test_a_data_directory_that_cannot_be_made_is_named_in_one_line(place: str) -> None:
    code, output, errors = await run_sixteen("run", SIXTEEN_DATA_DIR=place)
    assert (code, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith(place)
    assert "choose another SIXTEEN_DATA_DIR" in errors
