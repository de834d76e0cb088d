"""Priority exactly as DOMAIN §14 has it, and what stands in for the unknown."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_core_cases import NOW, TODAY, facts_of, flags_of, imputed_of, many_facts, rows, unknowns_of

from services.scoring.core.judge import judge
from services.scoring.core.medians import Medians, medians_of
from services.scoring.core.policy import Policy

QUICK = settings(max_examples=60, deadline=None)
KNOWN = {
    "amount": 10_000.0,
    "margin_rate": 0.4,
    "cost_to_deliver": 500.0,
    "delivery_risk": 0.1,
    "payment_risk": 0.0,
    "purchase_date": TODAY + 75,
    "remaining_days": 30.0,
    "remaining_hours": 10.0,
    "remaining_win_rate": 0.3,
}


def test_priority_is_the_formula() -> None:
    judged = judge(facts_of(KNOWN), Policy(), Medians.none(), NOW)
    margin = (10_000 * 0.4 - 500) * 0.9
    assert judged.margin[0] == pytest.approx(margin)
    assert judged.slack_days[0] == 45.0
    assert judged.urgency[0] == pytest.approx(2 ** (-45 / 30))
    assert judged.priority[0] == pytest.approx(margin * judged.probability[0] * 2**-1.5 / 10)
    assert imputed_of(judged) == set()


@pytest.mark.parametrize(("hours", "divisor"), [(0.0, 1.0), (0.5, 1.0), (4.0, 4.0)])
def test_less_than_an_hour_counts_as_one(hours: float, divisor: float) -> None:
    judged = judge(facts_of(KNOWN | {"remaining_hours": hours}), Policy(), Medians.none(), NOW)
    assert judged.hours[0] == divisor


def test_an_overdue_date_leaves_no_slack_and_is_flagged() -> None:
    judged = judge(
        facts_of(KNOWN | {"purchase_date": TODAY - 1}, KNOWN | {"purchase_date": TODAY}), Policy(), Medians.none(), NOW
    )
    assert judged.slack_days.tolist() == [0.0, 0.0]
    assert judged.urgency.tolist() == [1.0, 1.0]
    assert "purchase_date_overdue" in flags_of(judged, 0)
    assert "purchase_date_overdue" not in flags_of(judged, 1)


def test_a_loss_gives_no_priority_but_is_shown() -> None:
    judged = judge(facts_of(KNOWN | {"cost_to_deliver": 6_000.0}), Policy(), Medians.none(), NOW)
    assert judged.margin[0] == -2_000.0
    assert judged.priority[0] == 0.0
    assert "unprofitable" in flags_of(judged)


@pytest.mark.parametrize(
    ("missing", "imputed"),
    [
        ("amount", "margin"),
        ("margin_rate", "margin_rate"),
        ("cost_to_deliver", "delivery_cost_share"),
        ("delivery_risk", "delivery_risk"),
        ("payment_risk", "payment_risk"),
        ("purchase_date", "slack_days"),
        ("remaining_days", "remaining_days"),
        ("remaining_hours", "remaining_hours"),
        ("remaining_win_rate", "win_rate"),
    ],
)
def test_an_unknown_part_takes_its_median_and_says_so(missing: str, imputed: str) -> None:
    lacking = {name: value for name, value in KNOWN.items() if name != missing}
    facts = facts_of(KNOWN, lacking)
    judged = judge(facts, Policy(), medians_of(facts, Policy(), NOW), NOW)
    assert imputed_of(judged, 1) == {imputed}
    assert missing in unknowns_of(judged, 1)
    assert judged.priority[1] == pytest.approx(judged.priority[0], rel=0.35)


@pytest.mark.parametrize("field", ["amount", "margin_rate", "remaining_win_rate", "delivery_risk", "cost_to_deliver"])
def test_unknown_is_not_zero(field: str) -> None:
    zero = KNOWN | {field: 0.0}
    lacking = {name: value for name, value in KNOWN.items() if name != field}
    facts = facts_of(KNOWN, KNOWN, KNOWN, zero, lacking)
    judged = judge(facts, Policy(), medians_of(facts, Policy(), NOW), NOW)
    assert judged.priority[3] != judged.priority[4]


@QUICK
@given(rows(), st.integers(-100, 200), st.integers(0, 100))
def test_a_nearer_date_never_lowers_urgency(row: dict[str, float], days: int, nearer: int) -> None:
    far = row | {"purchase_date": TODAY + days}
    near = row | {"purchase_date": TODAY + days - nearer}
    judged = judge(facts_of(far, near), Policy(), Medians.none(), NOW)
    assert judged.urgency[1] >= judged.urgency[0]


@QUICK
@given(rows())
def test_whatever_is_known_every_part_is_a_number_and_they_multiply(row: dict[str, float]) -> None:
    judged = judge(facts_of(row), Policy(), Medians.none(), NOW)
    expected = max(judged.margin[0], 0) * judged.probability[0] * judged.urgency[0] / judged.hours[0]
    assert judged.priority[0] == pytest.approx(expected)
    assert math.isfinite(judged.priority[0])
    assert 0 <= judged.urgency[0] <= 1 <= judged.hours[0]
    assert judged.slack_days[0] >= 0


def test_a_row_is_judged_by_itself_whatever_stands_beside_it() -> None:
    facts = many_facts(5_000, seed=5)
    medians = medians_of(facts, Policy(), NOW)
    together = judge(facts, Policy(), medians, NOW)
    order = np.random.default_rng(2).permutation(len(facts))
    shuffled = judge(facts[order], Policy(), medians, NOW)
    for name in (
        "probability",
        "probability_low",
        "priority",
        "flags",
        "unknowns",
        "contributions",
        "next_due_at",
        "criteria",
    ):
        np.testing.assert_array_equal(getattr(together, name)[order], getattr(shuffled, name))
    alone = judge(facts[4_321:4_322], Policy(), medians, NOW)
    assert alone.probability_low[0] == together.probability_low[4_321]
    assert alone.priority[0] == together.priority[4_321]
