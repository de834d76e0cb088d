"""The guide for integrators does what it says: its commands run, and print what it shows."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from services.api.catalog.error_labels import error_labels
from services.api.errors import Problem
from tests.faults.installation import Installation, free_port
from tests.support.snippets import missing, read_guide

GUIDE = Path(__file__).parents[2] / "docs" / "integrating.md"
BETWEEN = "=== the next snippet ==="
SECONDS = 120


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide's commands are written for curl")
async def test_every_command_of_the_guide_runs_and_prints_what_is_shown(
    installation: Installation, tmp_path: Path
) -> None:
    guide = read_guide(GUIDE.read_text())
    assert {"quickstart.py", "follow.py", "receiver.py"} <= guide.files.keys()
    assert len(guide.commands) >= 8
    admin = await installation.workspace("Integrating")
    for name, body in guide.files.items():
        (tmp_path / name).write_text(body)
    script = f"\necho '{BETWEEN}'\n".join(command.script for command in guide.commands)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SIXTEEN_BASE_URL": installation.base_url,
        "SIXTEEN_API_KEY": admin.key,
        "RECEIVER_PORT": str(free_port()),
    }
    # Files, not pipes: a shell that gives up leaves its receiver behind, which would hold them open.
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        shell = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", script, cwd=tmp_path, env=environment,
            stdout=stdout, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    try:
        await asyncio.wait_for(shell.wait(), SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, 9)
        await shell.wait()
    said = out.read_text().split(f"{BETWEEN}\n")
    assert (shell.returncode, len(said)) == (0, len(guide.commands)), f"{said[-1]}\n{err.read_text()}"
    for command, output in zip(guide.commands, said, strict=True):
        assert list(missing(command.shown, output)) == [], f"{command.script}\nprinted\n{output}"


def test_a_line_that_is_not_printed_is_missed() -> None:
    assert list(missing(["one", "t…o"], "one\ntwo\n")) == []
    assert list(missing(["two", "one"], "one\ntwo\n")) == ["one"]


def error_table() -> str:
    rows = [
        f"| `{code}` | {Problem.registry[code].status} | {label.en} |"
        for code, label in sorted(error_labels().items(), key=lambda each: (Problem.registry[each[0]].status, each[0]))
    ]
    return "\n".join(["| code | status | meaning |", "|---|---|---|", *rows])


def test_the_guide_lists_every_error_code() -> None:
    """The table comes from the catalog: SIXTEEN_WRITE_SNAPSHOTS=1 writes it anew."""
    page = GUIDE.read_text()
    found = re.search(r"<!-- error codes: begin -->\n(.*?)<!-- error codes: end -->", page, re.DOTALL)
    assert found is not None
    if os.environ.get("SIXTEEN_WRITE_SNAPSHOTS"):
        GUIDE.write_text(page[: found.start(1)] + error_table() + "\n" + page[found.end(1) :])
        return
    assert found[1].strip() == error_table()
