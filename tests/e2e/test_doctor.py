"""`sixteen doctor` where an api is known by its address alone, as in a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.cli.doctor_checks import examine
from tests.faults.installation import Installation

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(("given", "state"), [("", "warn"), ("sixteen_live_of_nobody", "fail"), (None, "ok")])
async def test_a_key_that_is_not_given_is_not_said_to_be_refused(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, state: str
) -> None:
    key = (await installation.workspace("Doctor")).key if given is None else given
    for name, value in {**installation.environment, "SIXTEEN_DATA_DIR": str(tmp_path), "SIXTEEN_API_KEY": key}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SIXTEEN_BASE_URL", installation.base_url)
    found = {each.name: str(each.state) for each in await examine()}
    assert (found["api"], found["api key"], found["scoring"]) == ("ok", state, "ok")
