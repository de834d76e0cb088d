"""A workspace's policy document as the core takes it."""

from __future__ import annotations

import pytest

from services.scoring.core.policy import Policy
from services.scoring.workspace import own_policy, policy_of, rates_of


def test_what_a_document_leaves_out_is_the_default() -> None:
    made = policy_of({"urgency_half_life_days": 20, "capacities": [10, 50, 200], "other": 1}, 8.0)
    assert (made.urgency_half_life_days, made.capacities, made.utc_offset_hours) == (20, (10, 50, 200), 8.0)
    assert made.hysteresis_margin == Policy().hysteresis_margin


def test_capacities_may_be_named_by_band() -> None:
    made = policy_of({"capacities": {"engage": 1, "track": 2, "monitor": 3}}, 0.0)
    assert made.capacities == (1, 2, 3)


@pytest.mark.parametrize("document", [{"capacities": "many"}, {"hysteresis_margin": 0.5}, {"capacities": [9, 1, 1]}])
def test_a_document_out_of_range_falls_back_to_the_defaults(document: dict[str, object]) -> None:
    assert policy_of(document, 1.0) == Policy(utc_offset_hours=1.0)


def test_rates_that_are_no_rates_are_left_out() -> None:
    assert rates_of({"rates": {"EUR": "8.5", "USD": -1, "GBP": "x"}}, "CNY") == {"EUR": 8.5, "CNY": 1.0}
    assert rates_of({"rates": None}, "CNY") == {"CNY": 1.0}


def test_own_capacities_stay_nested() -> None:
    policy = Policy()
    assert own_policy(policy, (None, None, None)) is policy
    assert own_policy(policy, (200, None, None)).capacities == (200, 200, 400)
    assert own_policy(policy, (None, 5, 3)).capacities == (16, 16, 16)
