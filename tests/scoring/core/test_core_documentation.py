"""The example that docs/scoring.md works by hand, and that the page names every code there is."""

import re
from pathlib import Path

import numpy as np
import pytest
from scoring_core_cases import NOW, TODAY, criteria_of, facts_of, pushes_of

from services.scoring.core.codes import CAUSES, CRITERIA, FACTORS, FLAGS, IMPUTED, MODEL_VERSION, PARTS
from services.scoring.core.judge import judge
from services.scoring.core.medians import DEFAULTS, Medians
from services.scoring.core.policy import Policy
from services.scoring.core.probability import GROUPS

PAGE = (Path(__file__).parents[3] / "docs" / "scoring.md").read_text(encoding="utf-8")
EXAMPLE = {
    "amount": 100_000.0,
    "margin_rate": 0.3,
    "cost_to_deliver": 2_000.0,
    "delivery_risk": 0.05,
    "payment_risk": 0.02,
    "purchase_date": TODAY + 60,
    "purchase_date_firmness": 1.0,
    "purchase_date_slips": 0.0,
    "remaining_days": 30.0,
    "remaining_hours": 25.0,
    "remaining_win_rate": 0.25,
    "need_known": 1.0,
    "pain_known": 1.0,
    "interest": 2.0,
    "meeting_count": 2.0,
    "two_way_count": 4.0,
    "last_two_way_at": NOW - 7,
    "has_coach": 1.0,
    "budget_status": 3.0,
    "budget_amount": 90_000.0,
    "fit_score": 0.7,
    "rival_fit_score": 0.5,
}


def test_the_example_comes_out_as_worked_by_hand() -> None:
    judged = judge(facts_of(EXAMPLE), Policy(), Medians.none(), NOW)
    assert judged.probability[0] == pytest.approx(0.667, abs=5e-4)
    assert judged.margin[0] == pytest.approx(26_068)
    assert judged.slack_days[0] == 30
    assert judged.urgency[0] == 0.5
    assert judged.priority[0] == pytest.approx(347.7, abs=0.05)
    assert judged.class_code[0] == 2
    assert judged.imputed[0] == 0
    criteria = criteria_of(judged)
    assert [round(criteria[code], 4) for code in ("budget", "fit")] == [0.8075, 0.66]
    assert [round(criteria[code], 3) for code in ("timeline", "worth")] == [0.592, 0.971]


def test_the_groups_of_the_example_come_out_as_worked_by_hand() -> None:
    table = re.findall(r"^\| [a-z, ]+ \|[0-9.+ ]*\| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$", PAGE, re.MULTILINE)
    assert len(table) == 8
    for total, bound, damped in table:
        by_hand = float(total) / np.sqrt(1 + (float(total) / float(bound)) ** 2)
        assert float(damped) == pytest.approx(by_hand, abs=1e-4)
    pushes = pushes_of(judge(facts_of(EXAMPLE), Policy(), Medians.none(), NOW))
    shares = [float(damped) for _, _, damped in table]
    last_damping = shares[-1] / float(table[-1][0])
    worked = [share * last_damping for share in shares[:-1]]
    computed = [sum(pushes[code] for code in codes) for _, codes in GROUPS]
    assert computed[:-3] == pytest.approx(worked, abs=2e-4)
    assert computed[-2:] == [0.0, 0.0]


@pytest.mark.parametrize("code", sorted({*FACTORS, *CRITERIA, *PARTS, *FLAGS, *IMPUTED, *CAUSES, MODEL_VERSION}))
def test_the_page_names_every_code(code: str) -> None:
    assert f"`{code}`" in PAGE


def test_the_page_gives_the_defaults() -> None:
    assert f"{DEFAULTS['margin']:,.0f}" in PAGE
    assert f"{Policy().hysteresis_margin:.2f} ×" in PAGE
