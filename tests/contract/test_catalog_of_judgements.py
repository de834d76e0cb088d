"""Every code that a judgement can say has its words, and the api's numbers are those of the triage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.api.focus import capacity, pins
from services.api.reasons.facts import Situation
from services.api.reasons.judged import Judged
from services.api.reasons.moves import BY_ANOTHER, EVENTS, cause_text
from services.api.reasons.ranked import Usual, effects
from services.api.reasons.sentences import TOLD, no_opportunity, sentence
from services.scoring.core.codes import CRITERIA, FACTORS, FLAGS, IMPUTED, PARTS, UNKNOWNS, Band, CustomerClass
from services.scoring.core.policy import RANGES, Policy
from services.scoring.ranking import MOVE_CAUSES
from services.scoring.store import MODEL_CODES
from shared.catalog import scoring as catalog
from shared.catalog.labels import LANGUAGES
from shared.catalog.selling import BANDS, CLASS_CODES

MOMENT = datetime(2026, 3, 10, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "subject_type": "opportunity", "interest": "firm", "budget_status": "approved", "budget_amount": 90,
    "amount": 100, "purchase_date": MOMENT.date(), "purchase_date_firmness": "firm", "purchase_date_slips": 2,
    "fit_score": 0.7, "rival_fit_score": 0.9, "owner_changed_at": MOMENT, "stage_entered_at": MOMENT,
    "typical_days": 30.0, "two_way": 3, "meetings": 2, "last_two_way_at": MOMENT, "positive": 4, "negative": None,
    "quiet_at": MOMENT, "confidence": 0.6, "contacts": 3, "coach": True, "executive": False,
    "next_step_title": "Call", "next_step_on": MOMENT.date(), "kept": 1, "made": 2,
}  # fmt: skip


def judged(**values: Any) -> Judged:
    given: dict[str, Any] = {
        "probability": 0.4, "low": 0.2, "high": 0.6, "priority": 100.0, "margin": 1000.0, "urgency": 0.5,
        "slack_days": 30.0, "hours": 10.0, "contributions": dict.fromkeys(FACTORS, 0.1),
        "criteria": dict.fromkeys(CRITERIA, 0.5), "parts": dict.fromkeys(PARTS, 0.5), "flags": [], "unknowns": [],
        "imputed": [],
    }  # fmt: skip
    return Judged(**{**given, **values})


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (catalog.FACTORS, FACTORS),
        (catalog.PARTS, PARTS),
        (catalog.CRITERIA, CRITERIA),
        (catalog.FLAGS, FLAGS),
        (catalog.UNKNOWNS, UNKNOWNS),
        (catalog.IMPUTED, IMPUTED),
        (catalog.MOVE_CAUSES, MOVE_CAUSES),
        (BANDS, tuple(band.name.lower() for band in Band if band is not Band.NONE)),
    ],
)
def test_every_code_has_a_label_in_both_languages(labels: catalog.Labels, codes: tuple[str, ...]) -> None:
    assert tuple(labels) == tuple(codes)
    assert all(text.strip() for label in labels.values() for text in label)


def test_classes_have_the_order_of_the_core() -> None:
    assert tuple(member.name for member in CustomerClass) == CLASS_CODES


def test_the_stored_model_names_every_place_a_reader_asks_for() -> None:
    assert set(MODEL_CODES) == {"factors", "parts", "criteria", "flags", "unknowns", "imputed"}
    # The median of the base rate is taken over the first contribution.
    assert MODEL_CODES["factors"][0] == "base_rate"
    assert "being_forgotten" in MODEL_CODES["flags"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", [*FACTORS, "margin", "urgency", "hours"])
def test_every_reason_is_told_with_facts_and_without(code: str, language: str) -> None:
    assert set(TOLD) == {*FACTORS, "margin", "urgency", "hours"}
    told = sentence(code, Situation(FACTS, MOMENT, "Asia/Shanghai", "CNY", language), judged())
    nothing: dict[str, Any] = {**dict.fromkeys(FACTS), "purchase_date_slips": 0}
    untold = sentence(code, Situation(nothing, MOMENT, "UTC", "CNY", language), judged(parts={}, imputed=["margin"]))
    for text in (told, untold):
        assert text.strip()
        assert "{" not in text
        assert "None" not in text
    assert (language == "en") == told.isascii()


def test_each_way_a_reason_can_stand_is_told() -> None:
    def told(code: str, **facts: Any) -> str:
        return sentence(code, Situation({**FACTS, **facts}, MOMENT, "UTC", "CNY", "en"), judged())

    day = MOMENT.date()
    assert told("urgency", purchase_date=day.replace(day=22)) == "Purchase date in 12 days: urgency 0.5"
    assert told("urgency", purchase_date=day.replace(day=1)) == "Purchase date passed 9 days ago: urgency 0.5"
    assert told("urgency", purchase_date=None) == "Purchase date unknown: urgency 0.5 is assumed"
    assert told("date_overdue", purchase_date=day.replace(day=1)) == "The purchase date passed 9 days ago"
    assert told("rival") == "20 points behind the best rival"
    assert told("rival", rival_fit_score=0.5) == "20 points ahead of the best rival"
    assert told("next_step") == "Next step on 2026-03-10"
    assert told("next_step", next_step_on=day.replace(day=1)) == "Next step overdue since 2026-03-01"
    assert told("coach", coach=False) == "No coach yet"
    assert told("budget_cover") == "The budget covers 90 % of our price"
    assert told("margin") == "Expected margin 1,000 CNY"
    assert no_opportunity("zh-Hans").startswith("尚无")
    # A day is the workspace's: in Shanghai it is the 10th since 16:00 UTC of the 9th.
    late = Situation(FACTS, datetime(2026, 3, 9, 17, tzinfo=UTC), "Asia/Shanghai", "CNY", "en")
    assert late.today == day


def test_causes_name_the_other_and_the_event() -> None:
    for code in BY_ANOTHER:
        assert cause_text({"code": code}, "{name}", "en").endswith("{name}")
    cause = {"code": "overtook", "event": {"type": "opportunity.milestone_passed"}}
    assert cause_text(cause, "Press", "en") == "Overtook Press: a milestone was passed"
    assert cause_text(cause, "Press", "zh-Hans") == "超过 Press：通过里程点"
    assert cause_text({"code": "overtook", "event": {"type": "of.tomorrow"}}, None, "en") == "Overtook another"
    assert cause_text({"code": "of_tomorrow"}, None, "en") == "of_tomorrow"
    assert all(text.strip() for label in EVENTS.values() for text in label)


def test_effects_are_ordered_and_never_endless() -> None:
    usual = Usual(margin=500.0, urgency=0.5, hours=20.0, base_rate=0.1)
    found = {code: effect for code, effect, _ in effects(judged(), usual)}
    assert found["margin"] == pytest.approx(0.693, abs=1e-3)
    assert found["hours"] == pytest.approx(0.693, abs=1e-3)
    assert found["urgency"] == 0.0
    assert found["base_rate"] == 0.0
    assert found["coach"] == pytest.approx(0.06)
    assert "limit" not in found
    ordered = [abs(effect) for _, effect, _ in effects(judged(margin=-5.0), usual)]
    assert ordered == sorted(ordered, reverse=True)
    assert ordered[0] == 10.0
    nobody = Usual(None, None, None, None)
    assert {code for code, effect, _ in effects(judged(), nobody) if effect == 0} >= {"margin", "urgency", "hours"}


def test_a_probability_is_never_shown_as_lost_or_won() -> None:
    row: dict[str, Any] = {
        "model_version": "later", "probability": 1.0, "probability_low": 0.0, "probability_high": 1.0,
        "score_priority": 1.0, "margin": 1.0, "urgency": 1.0, "score_slack_days": 0.0, "hours": 1.0,
        "contributions": [float("nan"), 0.5], "criteria": [float("nan")], "parts": [], "flags": 5, "unknowns": 0,
        "imputed": 0,
    }  # fmt: skip
    # A model of a later version reads by its own codes, and a place without a code is left out.
    codes = {"later": {"factors": ["base_rate"], "criteria": ["budget"], "flags": ["a", "b", "c"]}}
    shown = Judged.of(row, codes)
    assert shown is not None
    assert shown.probability_wire == {"value": 0.999, "low": 0.001, "high": 0.999}
    assert (shown.contributions, shown.criteria) == ({"base_rate": None}, {"budget": None})
    assert shown.flags == ["a", "c"]
    assert Judged.of({**row, "model_version": None}, codes) is None


def test_capacities_and_limits_are_those_of_the_triage() -> None:
    assert Policy().capacities == capacity.DEFAULTS
    assert RANGES["capacities"] == (0, capacity.MOST)
    assert Policy().pin_limit == pins.PIN_LIMIT
    assert capacity.of_policy([4, 10, 20]) == (4, 10, 20)
    assert capacity.of_policy({"engage": 4}) == (4, 100, 400)
    assert capacity.of_policy(None) == capacity.DEFAULTS
