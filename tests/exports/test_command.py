"""`sixteen export` against a server that answers from a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.cli import exporting
from deploy.cli.main import create_app

DATA = "id,name\r\n1,李明\r\n".encode()
QUEUED = {"id": "e1", "status": "queued", "rows_written": 0, "total_bytes": 0, "problem": None}
DONE = {**QUEUED, "status": "succeeded", "rows_written": 1, "total_bytes": len(DATA)}


class Server:
    """Answers like the api; `states` are what GET of the export tells, one after the other."""

    def __init__(self, *states: dict[str, Any], content: int = 200) -> None:
        self.states = list(states)
        self.content = content
        self.asked: list[dict[str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.asked.append(json.loads(request.read()))
            return httpx.Response(202, json=QUEUED)
        if request.url.path.endswith("/content"):
            gone = {"detail": "The file is gone.", "code": "export_expired"}
            return httpx.Response(200, content=DATA) if self.content == 200 else httpx.Response(self.content, json=gone)
        if request.url.path.endswith("/mapping"):
            return httpx.Response(200, json={"kind": "customers", "source": "sixteen"})
        return httpx.Response(200, json=self.states.pop(0))


def run(monkeypatch: pytest.MonkeyPatch, server: Server, *arguments: str) -> Any:
    def open_client(**_: Any) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(server.answer), base_url="http://sixteen.test")

    monkeypatch.setattr(exporting, "open_client", open_client)
    monkeypatch.setattr(exporting, "POLL_SECONDS", 0)
    return CliRunner().invoke(create_app(), ["export", *arguments])


def test_it_asks_waits_and_writes_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, mapping = tmp_path / "all.jsonl", tmp_path / "map.json"
    server = Server({**QUEUED, "status": "running"}, DONE)
    given = ("--filter", "kind=household", "--filter", "attribute=size>=3", "--filter", "attribute=a=b")
    result = run(monkeypatch, server, "customers", "-o", str(file), "--mapping", str(mapping), *given)
    assert result.exit_code == 0, result.output
    assert file.read_bytes() == DATA
    assert json.loads(mapping.read_text())["source"] == "sixteen"
    assert [path.name for path in tmp_path.iterdir() if path not in {file, mapping}] == []
    filters = {"kind": "household", "attribute": ["size>=3", "a=b"]}
    assert server.asked == [{"kind": "customers", "format": "ndjson", "filters": filters}]
    assert "1 customers in" in result.output


def test_standard_output_holds_the_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Server(DONE), "customers", "-o", "-")
    assert (result.exit_code, result.stdout_bytes) == (0, DATA)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("secrets",), "There is no kind secrets"),
        (("customers", "--format", "pdf"), "pdf is no format"),
        (("customers", "--filter", "kind"), "write NAME=VALUE"),
    ],
)
def test_wrong_use_is_told(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str) -> None:
    result = run(monkeypatch, Server(), *arguments)
    assert words in str(result.exception)


def test_a_failed_export_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    problem = {"pointer": "/filters", "code": "invalid_parameter", "message": "No such attribute."}
    failed = run(monkeypatch, Server({**QUEUED, "status": "failed", "problem": problem}), "customers", "-o", str(file))
    assert "No such attribute." in str(failed.exception)
    gone = run(monkeypatch, Server(DONE, content=410), "customers", "-o", str(file))
    assert "The file is gone." in str(gone.exception)
    assert list(tmp_path.iterdir()) == []
