"""A bounded campaign: the same cases each time, so that what it finds is found again."""

from __future__ import annotations

import re

import pytest

from tests.fuzz.campaign import Budget, campaign

BUDGET = Budget(examples=2, seconds=90)


@pytest.mark.timeout(240)
async def test_the_service_keeps_to_its_document(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every operation under every check of Schemathesis. `make fuzz` goes on for longer."""
    code, said = await campaign(tmp_path_factory.mktemp("fuzz"), BUDGET)
    assert code == 0, said
    selected, tested = (re.findall(rf"{word}: +(\d+)", said) for word in ("Selected", "Tested"))
    assert len(tested) == len(BUDGET.shares)
    assert tested[0] == selected[0], "the examples of every operation come first, whatever the time"
    followed = re.search(r"API Links: +(\d+) covered", said)
    assert followed is not None
    assert int(followed[1]) > 0, said
    assert "unexpected_error" not in said
