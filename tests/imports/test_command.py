"""`sixteen import` against a server that answers from a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.cli import importing
from deploy.cli.main import create_app

QUEUED = {
    "id": "i1", "status": "queued", "rows_read": 0, "rows_total": None, "rows_imported": 0, "rows_failed": 0,
    "dry_run": False, "problem": None,
}  # fmt: skip
ERROR = {"row": 7, "pointer": "/amount", "code": "invalid_value", "message": "amount “x” is not a number."}


class Server:
    """Answers like the api; `states` are what GET of the import tells, one after the other."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = [{**QUEUED, **state} for state in states]
        self.uploads: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            request.read()
            self.uploads.append(request)
            return httpx.Response(202, json=QUEUED)
        if request.url.path.endswith("/errors"):
            return httpx.Response(200, json={"data": [ERROR], "has_more": True, "next_cursor": "c"})
        return httpx.Response(200, json=self.states.pop(0))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    data, mapping = tmp_path / "deals.csv", tmp_path / "map.yaml"
    data.write_text("id\n1\n")
    mapping.write_text("kind: opportunities\n")
    return ["import", str(data), "--mapping", str(mapping)]


def run(monkeypatch: pytest.MonkeyPatch, server: Server, *arguments: str) -> Any:
    def open_client(**_: Any) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(server.answer), base_url="http://sixteen.test")

    monkeypatch.setattr(importing, "open_client", open_client)
    monkeypatch.setattr(importing, "POLL_SECONDS", 0)
    return CliRunner().invoke(create_app(), list(arguments))


def test_it_uploads_waits_and_lists_what_was_refused(monkeypatch: pytest.MonkeyPatch, files: list[str]) -> None:
    ended = {"status": "partially_failed", "rows_total": 9, "rows_read": 9, "rows_imported": 8, "rows_failed": 1}
    server = Server({"status": "running", "rows_total": 9, "rows_read": 4}, ended)
    result = run(monkeypatch, server, *files, "--dry-run", "--shift-dates-to", "today")
    assert result.exit_code == 0, result.output
    assert "Partially failed: 9 rows read, 8 imported, 1 refused." in result.output
    assert "amount “x” is not a number." in result.output
    (sent,) = server.uploads
    assert sent.headers["idempotency-key"]
    for part in (b'name="file"; filename="deals.csv"', b'name="mapping"', b'name="shift_dates_to"', b"true"):
        assert part in sent.content


def test_a_failed_import_is_exit_code_1_and_one_json_document(
    monkeypatch: pytest.MonkeyPatch, files: list[str]
) -> None:
    problem = {"pointer": "/file", "code": "empty_file", "message": "The file is empty."}
    result = run(monkeypatch, Server({"status": "failed", "problem": problem}), *files, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["problem"], document["errors"]) == (problem, [ERROR])


def test_it_need_not_wait(monkeypatch: pytest.MonkeyPatch, files: list[str]) -> None:
    result = run(monkeypatch, Server(), *files, "--no-wait")
    assert (result.exit_code, "Queued as i1" in result.output) == (0, True)
