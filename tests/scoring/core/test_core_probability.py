"""The documented prior: additive, bounded, monotone, never certain, honest about what it does not know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_core_cases import NOW, TODAY, facts_of, many_facts, pushes_of, rows

from services.scoring.core.codes import FACTORS
from services.scoring.core.facts import FIELDS
from services.scoring.core.judge import judge
from services.scoring.core.medians import Medians
from services.scoring.core.policy import Policy
from services.scoring.core.probability import GROUPS, TOTAL_BOUND

QUICK = settings(max_examples=60, deadline=None)
EASY = settings(max_examples=150, deadline=None)

# Fields of which more (or later) never makes winning less likely, and of which more never makes it likelier.
BETTER = (
    "need_known",
    "pain_known",
    "interest",
    "positive_signals",
    "confidence",
    "two_way_count",
    "meeting_count",
    "last_two_way_at",
    "contact_count",
    "has_coach",
    "has_executive",
    "budget_status",
    "budget_amount",
    "purchase_date_firmness",
    "fit_score",
    "promises_kept",
    "remaining_win_rate",
)
WORSE = (
    "negative_signals",
    "purchase_date_slips",
    "rival_fit_score",
    "promises_broken",
    "promises_overdue",
    "remaining_days",
)
_KINDS = dict(FIELDS)


def judged(*known: dict[str, float]):
    return judge(facts_of(*known), Policy(), Medians.none(), NOW)


@st.composite
def changed_fact(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, float, float]:
    from scoring_core_cases import known_value

    name = draw(st.sampled_from(names))
    low, high = sorted((draw(known_value(name, _KINDS[name])), draw(known_value(name, _KINDS[name]))))
    return name, low, high


@EASY
@given(rows(), changed_fact(BETTER))
def test_a_better_fact_never_lowers_the_probability(row: dict[str, float], change: tuple[str, float, float]) -> None:
    name, low, high = change
    result = judged(row | {name: low}, row | {name: high})
    # float32 contributions may differ in their last place where nothing moved.
    assert result.probability[1] >= result.probability[0] - 1e-6


@EASY
@given(rows(), changed_fact(WORSE))
def test_a_worse_fact_never_raises_the_probability(row: dict[str, float], change: tuple[str, float, float]) -> None:
    name, low, high = change
    result = judged(row | {name: low}, row | {name: high})
    assert result.probability[1] <= result.probability[0] + 1e-6


@QUICK
@given(rows())
def test_contributions_add_up_to_the_log_odds_and_keep_their_bounds(row: dict[str, float]) -> None:
    result = judged(row)
    p = result.probability[0]
    pushes = pushes_of(result)
    assert sum(pushes.values()) == pytest.approx(np.log(p / (1 - p)), abs=1e-5)
    for bound, codes in GROUPS:
        assert abs(sum(pushes[code] for code in codes)) <= bound + 1e-5
    assert abs(sum(pushes[code] for code in FACTORS[1:-1])) <= TOTAL_BOUND + 1e-5


@QUICK
@given(rows())
def test_never_certain_and_the_estimate_lies_in_its_interval(row: dict[str, float]) -> None:
    result = judged(row)
    assert 0.005 <= result.probability_low[0] <= result.probability[0] <= result.probability_high[0] <= 0.995


def test_nothing_known_is_the_base_rate() -> None:
    result = judged({"remaining_win_rate": 0.3, "has_coach": float("nan")})
    assert result.probability[0] == pytest.approx(0.3, abs=1e-6)
    assert {code for code, push in pushes_of(result).items() if push} == {"base_rate"}


@QUICK
@given(rows(), st.sampled_from([name for name in BETTER + WORSE if name != "remaining_win_rate"]))
def test_knowing_more_never_widens_the_interval_on_the_log_odds(row: dict[str, float], name: str) -> None:
    known = row.get(name, 0.0)
    lacking = {key: value for key, value in row.items() if key != name}
    result = judge(facts_of(lacking, lacking | {name: known}), Policy(), Medians.none(), NOW)

    def reach(index: int) -> float:
        p, high = result.probability[index], result.probability_high[index]
        return float(np.log(high / (1 - high)) - np.log(p / (1 - p)))

    if result.probability_high.max() < 0.99:
        assert reach(1) <= reach(0) + 1e-4


def test_the_interval_is_wide_when_little_is_known() -> None:
    everything = dict.fromkeys(BETTER + WORSE, 1.0) | {
        "remaining_win_rate": 0.3,
        "last_two_way_at": NOW - 10,
        "purchase_date": TODAY + 30,
        "stage_entered_at": NOW - 3,
    }
    result = judged({"remaining_win_rate": 0.3}, everything)
    width = result.probability_high - result.probability_low
    assert width[0] > 0.5 > 0.3 > width[1]


@pytest.mark.parametrize(
    ("field", "zero"),
    [
        ("has_coach", 0.0),
        ("confidence", 0.0),
        ("budget_status", 0.0),
        ("fit_score", 0.0),
        ("interest", 0.0),
        ("positive_signals", 0.0),
    ],
)
def test_unknown_pushes_nothing_while_zero_pushes_down(field: str, zero: float) -> None:
    base = {"remaining_win_rate": 0.4, "negative_signals": 0.0}
    result = judged(base, base | {field: zero})
    assert result.probability[0] == pytest.approx(0.4, abs=1e-6)
    assert result.probability[1] < result.probability[0] - 0.01


def test_many_facts_that_say_the_same_do_not_pile_up() -> None:
    base = {"remaining_win_rate": 0.3}
    keen = {"interest": 3.0, "positive_signals": 40.0, "negative_signals": 0.0, "confidence": 1.0}
    one, all_of_them = pushes_of(judged(base | {"interest": 3.0})), pushes_of(judged(base | keen))
    apart = 0.8 + 0.6 * 39.5 / 43.5 + 0.6
    together = sum(all_of_them[code] for code in keen_codes())
    assert one["interest"] < together < 0.65 * apart


def keen_codes() -> tuple[str, ...]:
    return ("interest", "interest_signals", "confidence")


def test_a_certain_stage_alone_is_not_certainty() -> None:
    assert judged({"remaining_win_rate": 1.0}).probability[0] < 0.98
    assert judged({"remaining_win_rate": 0.0}).probability[0] == pytest.approx(0.01, abs=1e-3)


def test_agreed_silence_on_the_long_line_pushes_nothing_down() -> None:
    silent = {"remaining_win_rate": 0.3, "last_two_way_at": NOW - 200, "line": 1.0}
    result = judged(silent, silent | {"resume_on": TODAY + 30}, silent | {"resume_on": TODAY})
    assert pushes_of(result, 0)["contact_age"] < 0
    assert pushes_of(result, 1)["contact_age"] == 0
    assert pushes_of(result, 2)["contact_age"] == pushes_of(result, 0)["contact_age"]


def test_contact_after_going_quiet_answers_it() -> None:
    quiet = {"remaining_win_rate": 0.3, "quiet_signal_at": NOW - 10}
    result = judged(quiet | {"last_two_way_at": NOW - 12}, quiet | {"last_two_way_at": NOW - 9})
    assert pushes_of(result, 0)["quiet"] < 0
    assert pushes_of(result, 1)["quiet"] == 0


def test_probabilities_of_a_mixed_pipeline_stay_in_a_sensible_range() -> None:
    result = judge(many_facts(2_000, seed=8), Policy(), Medians.none(), NOW)
    assert 0.2 < float(result.probability.mean()) < 0.6
    assert float(result.probability.std()) > 0.1
