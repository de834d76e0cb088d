"""Today's class by evidence, the five criteria, the cadence clock and the moment a judgement changes by itself."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_core_cases import NOW, TODAY, criteria_of, facts_of, flags_of, many_facts, parts_of, rows

from services.scoring.core.cadence import cadence, highest_band
from services.scoring.core.codes import Band, CustomerClass
from services.scoring.core.due import next_day, next_due_of_seats
from services.scoring.core.judge import Judgement, judge
from services.scoring.core.medians import Medians, medians_of
from services.scoring.core.policy import Policy

A, B, C = CustomerClass.A, CustomerClass.B, CustomerClass.C
MET = {"meeting_count": 1.0, "interest": 1.0}
UNDERSTOOD = {"need_known": 1.0, "pain_known": 1.0}


def judged(*known: dict[str, float], policy: Policy | None = None, now: float = NOW) -> Judgement:
    return judge(facts_of(*known), policy or Policy(), Medians.none(), now)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, A),
        ({"meeting_count": 1.0}, A),
        ({"interest": 3.0}, A),
        (MET, B),
        ({"meeting_count": 2.0, "positive_signals": 1.0}, B),
        ({"meeting_count": 1.0, "interest": 0.0, "positive_signals": 5.0}, A),
        (MET | UNDERSTOOD, B),
        (MET | UNDERSTOOD | {"interest": 2.0}, C),
        (MET | {"need_known": 1.0, "interest": 3.0}, B),
        (UNDERSTOOD | {"interest": 2.0}, A),
        (UNDERSTOOD | {"interest": 2.0, "stage_class": 1.0}, C),
        (UNDERSTOOD | {"meeting_count": 1.0, "positive_signals": 4.0, "negative_signals": 1.0}, C),
        (UNDERSTOOD | {"meeting_count": 1.0, "positive_signals": 4.0, "negative_signals": 2.0}, B),
        ({"stage_class": 2.0}, C),
        ({"stage_class": 1.0}, B),
        ({"stage_class": 0.0}, A),
    ],
)
def test_class_follows_from_evidence(known: dict[str, float], expected: CustomerClass) -> None:
    assert judged(known).class_code[0] == expected


def test_the_class_says_when_the_stage_made_it() -> None:
    assert "class_from_stage" in flags_of(judged({"stage_class": 2.0}))
    assert "class_from_stage" not in flags_of(judged(MET | {"stage_class": 1.0}))


@pytest.mark.parametrize(
    ("known", "dead"),
    [
        ({"last_two_way_at": NOW - 60}, False),
        ({"last_two_way_at": NOW - 61}, True),
        ({"last_two_way_at": NOW - 100, "next_step_on": TODAY}, False),
        ({"last_two_way_at": NOW - 100, "next_step_on": TODAY - 1}, True),
        ({"last_two_way_at": NOW - 100, "line": 1.0}, False),
        ({"last_two_way_at": NOW - 200, "line": 1.0}, True),
        ({"last_two_way_at": NOW - 200, "line": 1.0, "resume_on": TODAY + 1}, False),
        ({"last_two_way_at": NOW - 200, "line": 0.0, "resume_on": TODAY + 1}, True),
        ({"last_two_way_at": NOW - 200, "stage_position": 1.0, "stage_entered_at": NOW - 5}, False),
        ({"last_two_way_at": NOW - 200, "stage_position": 0.0, "stage_entered_at": NOW - 5}, True),
        ({"created_at": NOW - 300}, False),
        ({"last_two_way_at": NOW - 22, "quiet_signal_at": NOW - 21}, True),
        ({"last_two_way_at": NOW - 22, "quiet_signal_at": NOW - 20}, False),
        ({"last_two_way_at": NOW - 5, "quiet_signal_at": NOW - 21}, False),
        (
            {
                "last_two_way_at": NOW - 40,
                "quiet_signal_at": NOW - 30,
                "stage_position": 1.0,
                "stage_entered_at": NOW - 10,
            },
            False,
        ),
    ],
)
def test_a_dead_interest_goes_back_to_a_whatever_the_stage(known: dict[str, float], dead: bool) -> None:
    result = judged(known | {"stage_class": 2.0})
    assert result.class_code[0] == (A if dead else C)
    assert ("interest_dead" in flags_of(result)) is dead
    assert ("class_held_down" in flags_of(result)) is dead


def test_the_thresholds_of_the_classes_are_policy() -> None:
    strict = dataclasses.replace(Policy(), class_b_meetings=2, class_c_interest=3)
    assert judged(MET, policy=strict).class_code[0] == A
    well = MET | UNDERSTOOD | {"meeting_count": 2.0, "interest": 2.0}
    assert judged(well, policy=strict).class_code[0] == B
    assert judged(well | {"interest": 3.0}, policy=strict).class_code[0] == C


@pytest.mark.parametrize(("code", "band"), [(A, Band.MONITOR), (B, Band.TRACK), (C, Band.ENGAGE)])
def test_a_class_opens_bands_up_to_its_own(code: CustomerClass, band: Band) -> None:
    assert highest_band(code) is band


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, None),
        ({"budget_status": 0.0}, 0.0),
        ({"budget_status": 4.0}, 0.875),
        ({"budget_status": 4.0, "budget_amount": 100.0, "amount": 100.0}, 1.0),
        ({"budget_status": 3.0, "budget_amount": 50.0, "amount": 100.0}, 0.85 * 0.75),
        ({"budget_status": 3.0, "budget_amount": 300.0, "amount": 100.0}, 0.85),
        ({"budget_amount": 300.0, "amount": 100.0}, None),
    ],
)
def test_budget(known: dict[str, float], expected: float | None) -> None:
    budget = criteria_of(judged(known))["budget"]
    assert np.isnan(budget) if expected is None else budget == pytest.approx(expected)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"purchase_date_firmness": 2.0}, None),
        ({"purchase_date": TODAY}, 0.7),
        ({"purchase_date": TODAY + 90}, 0.35),
        ({"purchase_date": TODAY, "purchase_date_firmness": 2.0, "purchase_date_slips": 0.0}, 1.0),
        ({"purchase_date": TODAY - 5, "remaining_days": 20.0}, 0.4),
        ({"purchase_date": TODAY + 90, "remaining_days": 180.0, "purchase_date_slips": 2.0}, 0.5 * 0.7),
    ],
)
def test_timeline(known: dict[str, float], expected: float | None) -> None:
    timeline = criteria_of(judged(known))["timeline"]
    assert np.isnan(timeline) if expected is None else timeline == pytest.approx(expected)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"rival_fit_score": 0.5}, None),
        ({"fit_score": 0.6}, 0.6),
        ({"fit_score": 0.6, "rival_fit_score": 0.6}, 0.56),
        ({"fit_score": 1.0, "rival_fit_score": 0.0}, 1.0),
    ],
)
def test_fit(known: dict[str, float], expected: float | None) -> None:
    fit = criteria_of(judged(known))["fit"]
    assert np.isnan(fit) if expected is None else fit == pytest.approx(expected)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"amount": 1000.0, "remaining_hours": 5.0}, None),
        ({"amount": 1000.0, "margin_rate": 0.3}, None),
        ({"amount": 1000.0, "margin_rate": 0.3, "remaining_hours": 5.0}, 0.5),
        ({"amount": 1000.0, "margin_rate": 0.3, "remaining_hours": 50.0}, 0.0),
        ({"amount": 1000.0, "margin_rate": 0.3, "cost_to_deliver": 400.0, "remaining_hours": 5.0}, 0.0),
        ({"amount": 1000.0, "margin_rate": 0.3, "payment_risk": 0.5, "remaining_hours": 2.0}, 0.6),
    ],
)
def test_worth(known: dict[str, float], expected: float | None) -> None:
    worth = criteria_of(judged(known))["worth"]
    assert np.isnan(worth) if expected is None else worth == pytest.approx(expected)


QUALIFIED = {
    "budget_status": 3.0,
    "purchase_date": TODAY + 30,
    "fit_score": 0.8,
    "amount": 10_000.0,
    "margin_rate": 0.4,
    "remaining_hours": 10.0,
    "remaining_win_rate": 0.5,
}


def test_qualified_needs_all_five_known_and_above_their_thresholds() -> None:
    assert "qualified" in flags_of(judged(QUALIFIED))
    for missing in QUALIFIED:
        lacking = {name: value for name, value in QUALIFIED.items() if name != missing}
        assert "qualified" not in flags_of(judged(lacking)), missing
    for name, value in (
        ("budget_status", 0.0),
        ("fit_score", 0.2),
        ("purchase_date", TODAY + 400),
        ("remaining_win_rate", 0.05),
    ):
        assert "qualified" not in flags_of(judged(QUALIFIED | {name: value})), name


@settings(max_examples=60, deadline=None)
@given(rows())
def test_criteria_lie_between_0_and_1_or_are_unknown(row: dict[str, float]) -> None:
    criteria = judged(row).criteria[0]
    assert all(np.isnan(value) or 0 <= value <= 1 for value in criteria)


@pytest.mark.parametrize(
    ("band", "line", "days"),
    [
        (Band.ENGAGE, 0.0, 3),
        (Band.TRACK, 0.0, 7),
        (Band.MONITOR, 0.0, 30),
        (Band.ENGAGE, 1.0, 7),
        (Band.BACKLOG, 1.0, 120),
        (Band.MUTED, 0.0, 90),
    ],
)
def test_cadence_by_band_and_line(band: Band, line: float, days: int) -> None:
    def at(ago: int, **more: float):
        facts = facts_of({"last_two_way_at": NOW - ago, "line": line} | more)
        return cadence(facts, np.array([band], np.int8), Policy(), NOW)

    assert not at(days - 1).due[0]
    on_the_day = at(days)
    assert on_the_day.due[0]
    assert not on_the_day.overdue[0]
    assert at(days + 1).forgotten[0]
    waiting = at(days + 1, next_step_on=TODAY + 2)
    assert waiting.overdue[0]
    assert not waiting.forgotten[0]
    assert at(days + 1, next_step_on=TODAY - 1).forgotten[0]


def test_the_clock_starts_at_creation_where_nobody_answered_yet_and_a_touch_alone_does_not_restart_it() -> None:
    known = {"created_at": NOW - 31, "last_touch_at": NOW}
    assert {"being_forgotten", "never_contacted", "no_next_step"} <= flags_of(judged(known))
    assert parts_of(judged(known))["cadence_days"] == 30


def test_contact_that_was_counted_but_not_dated_is_contact() -> None:
    assert "never_contacted" not in flags_of(judged({"two_way_count": 1.0}))
    assert "never_contacted" in flags_of(judged({"two_way_count": 0.0}))


def test_a_cadence_of_a_part_of_a_day_is_due_when_it_is_full() -> None:
    policy = dataclasses.replace(Policy(), cadence_short_days=(3.5, 7.0, 30.0, 90.0))
    held = np.array([Band.ENGAGE, Band.ENGAGE], np.int8)
    rhythm = cadence(facts_of({"last_two_way_at": NOW - 3}, {"last_two_way_at": NOW - 4}), held, policy, NOW)
    assert rhythm.due.tolist() == [False, True]


def test_the_band_held_sets_the_rhythm() -> None:
    facts = facts_of({"last_two_way_at": NOW - 5, "stage_class": 2.0}, {"last_two_way_at": NOW - 5, "stage_class": 2.0})
    held = judge(facts, Policy(), Medians.none(), NOW, bands=np.array([Band.NONE, Band.TRACK], np.int8))
    assert "cadence_overdue" in flags_of(held, 0)
    assert "cadence_due" not in flags_of(held, 1)
    with pytest.raises(ValueError, match="bands"):
        judge(facts, Policy(), Medians.none(), NOW, bands=np.zeros(1, np.int8))


def same(left: Judgement, right: Judgement, row: int) -> bool:
    return all(
        np.array_equal(getattr(left, field.name)[row], getattr(right, field.name)[row], equal_nan=True)
        for field in dataclasses.fields(Judgement)
        if field.name != "next_due_at"
    )


@settings(max_examples=100, deadline=None)
@given(rows(), st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 8.0, -5.0]))
def test_until_it_is_due_a_judgement_stands(row: dict[str, float], fraction: float, offset: float) -> None:
    policy = Policy(utc_offset_hours=offset)
    first = judged(row, policy=policy)
    due = float(first.next_due_at[0])
    assert due > NOW
    later = NOW + min(due - NOW, 500.0) * fraction
    if later < due:
        assert same(first, judged(row, policy=policy, now=later), 0)


def test_a_judgement_changes_on_the_day_it_is_due() -> None:
    facts = many_facts(400, seed=21, known_share=0.15)
    # Counts over a window and small pushes held back by a bound need not show; both are due to be looked at daily.
    facts.rows["positive_signals"] = facts.rows["negative_signals"] = np.nan
    medians = medians_of(facts, Policy(), NOW)
    first = judge(facts, Policy(), medians, NOW)
    changed = 0
    finite = np.flatnonzero(np.isfinite(first.next_due_at))
    for row in finite:
        then = judge(facts[row : row + 1], Policy(), medians, float(first.next_due_at[row]))
        changed += not same(then, judge(facts[row : row + 1], Policy(), medians, NOW), 0)
    assert len(finite) > 100
    assert changed >= 0.9 * len(finite)


SLOW = dataclasses.replace(Policy(), quiet_dead_days=40.0, interest_dead_days=120.0)


@pytest.mark.parametrize(
    ("known", "due_on"),
    [
        ({"quiet_signal_at": NOW - 30}, TODAY + 10),
        ({"quiet_signal_at": NOW - 40}, np.inf),
        ({"last_two_way_at": NOW - 100}, TODAY + 21),
        ({"last_two_way_at": NOW - 121}, np.inf),
        ({"owner_changed_at": NOW - 10}, TODAY + 1),
        ({"owner_changed_at": NOW - 45}, np.inf),
        ({"stage_entered_at": NOW - 5, "stage_typical_days": 10.0}, TODAY + 5),
        ({"stage_entered_at": NOW - 10, "stage_typical_days": 10.0}, TODAY + 1),
        ({"stage_entered_at": NOW - 31, "stage_typical_days": 10.0}, np.inf),
        ({"positive_signals": 1.0}, TODAY + 1),
        ({"positive_signals": 0.0}, np.inf),
        ({"next_step_on": TODAY + 3}, TODAY + 4),
        ({"next_step_on": TODAY - 1}, np.inf),
        ({"line": 1.0, "resume_on": TODAY + 7}, TODAY + 7),
        ({"line": 0.0, "resume_on": TODAY + 7}, np.inf),
        ({"created_at": NOW - 10}, TODAY + 20),
        ({"created_at": NOW - 30}, TODAY + 1),
        ({"purchase_date": TODAY + 100}, TODAY + 1),
        ({"purchase_date": TODAY - 60}, np.inf),
    ],
)
def test_due_on_the_very_day(known: dict[str, float], due_on: float) -> None:
    assert judged(known, policy=SLOW).next_due_at[0] == due_on


def test_nothing_known_never_changes_by_itself() -> None:
    assert judged({}).next_due_at[0] == np.inf


def test_pins_and_mutes_bring_the_due_moment_forward() -> None:
    due = next_due_of_seats(
        np.array([NOW + 9, NOW + 9, np.inf]),
        np.array([NOW + 2, NOW - 1, np.nan]),
        np.array([np.nan, np.nan, NOW + 30]),
        NOW,
    )
    assert due.tolist() == [NOW + 2, NOW + 9, NOW + 30]
    assert next_day(Policy(utc_offset_hours=12.0), NOW) == TODAY + 0.5
