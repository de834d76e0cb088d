"""The first calls of the README are made as they stand there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.faults.installation import Installation
from tests.support.snippets import read_guide

ROOT = Path(__file__).parents[2]
SECONDS = 60


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("curl") is None, reason="the first calls are written for curl")
async def test_the_first_calls_are_answered(installation: Installation, tmp_path: Path) -> None:
    """`--fail-with-body` and `pipefail` end the shell at the first refusal."""
    (script,) = (command.script for command in read_guide((ROOT / "README.md").read_text()).commands)
    admin = await installation.workspace("First calls")
    (tmp_path / ".data").mkdir()
    local = {"base_url": installation.base_url, "api_key": admin.key}
    (tmp_path / ".data" / "local.json").write_text(json.dumps(local))
    # Each answer is followed by an end of line, so that they can be told apart.
    told = script.replace("curl -sS ", "curl -sS -w '\\n' ")
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", told, cwd=tmp_path, env={**os.environ, "NO_PROXY": "*"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(shell.communicate(), SECONDS)
    finally:
        if shell.returncode is None:
            os.killpg(shell.pid, 9)
            await shell.wait()
    assert shell.returncode == 0, f"{out.decode()}\n{err.decode()}"
    answers = [json.loads(line) for line in out.decode().splitlines()]
    me, _, _, passed, opportunity, _ = answers
    assert me["role"] == "admin"
    assert passed["transition_ids"]
    assert (opportunity["stage_position"], opportunity["name"]) == (1, "Cold store")
    assert "Northwind Trading" in json.dumps(opportunity)
