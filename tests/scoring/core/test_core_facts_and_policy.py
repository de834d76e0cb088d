"""The shape of the facts, the medians that stand in, and the ranges of the policy."""

import dataclasses

import numpy as np
import pytest
from scoring_core_cases import NOW, TODAY, facts_of, many_facts

from services.scoring.core.codes import FACTORS, FLAGS, IMPUTED, PARTS, UNKNOWNS, bit
from services.scoring.core.facts import DTYPE, FIELDS, NUMBER_FIELDS, OpportunityFacts, make_facts, unknown_facts
from services.scoring.core.judge import judge
from services.scoring.core.medians import DEFAULTS, Medians, index_of, medians_of
from services.scoring.core.policy import RANGES, Policy
from services.scoring.core.probability import GROUPS
from services.scoring.core.pushes import PUSHES

ONE, TWO = b"1" * 16, b"2" * 16


def test_unknown_facts_hold_no_number() -> None:
    rows = unknown_facts(3)
    assert all(bool(np.isnan(rows[name]).all()) for name in NUMBER_FIELDS)


@pytest.mark.parametrize("broken", [DTYPE.descr[:-1], [*DTYPE.descr[:-1], (FIELDS[-1][0], "f4")]])
def test_facts_refuse_missing_and_mistyped_fields(broken: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=FIELDS[-1][0]):
        OpportunityFacts(np.zeros(2, dtype=broken))


def test_facts_in_the_byte_order_of_the_wire_give_the_same_judgement() -> None:
    facts = many_facts(50, seed=3)
    wire = np.zeros(50, dtype=[(name, "V16" if kind == "uuid" else ">f8") for name, kind in FIELDS])
    for name, _ in FIELDS:
        wire[name] = facts.rows[name]
    ours = judge(facts, Policy(), Medians.none(), NOW)
    theirs = judge(OpportunityFacts(wire), Policy(), Medians.none(), NOW)
    np.testing.assert_array_equal(ours.priority, theirs.priority)
    np.testing.assert_array_equal(ours.flags, theirs.flags)


@pytest.mark.parametrize("codes", [FACTORS, FLAGS, PARTS, UNKNOWNS, IMPUTED])
def test_codes_are_distinct_and_fit_their_masks(codes: tuple[str, ...]) -> None:
    assert len(set(codes)) == len(codes) < 53
    assert bit(codes, codes[-1]) == 1 << (len(codes) - 1)


def test_masks_of_thirty_two_bits_are_wide_enough() -> None:
    assert max(len(FLAGS), len(IMPUTED)) < 32


def test_every_factor_stands_in_one_group_in_order() -> None:
    grouped = [code for _, codes in GROUPS for code in codes]
    assert grouped == list(PUSHES) == list(FACTORS[1:-1])
    assert set(UNKNOWNS) <= set(NUMBER_FIELDS)


def test_every_constant_of_the_policy_has_a_range_that_holds_its_default() -> None:
    names = {field.name for field in dataclasses.fields(Policy)}
    assert names == set(RANGES)
    assert Policy().capacities == (16, 100, 400)


@pytest.mark.parametrize(
    "change",
    [
        {"urgency_half_life_days": 0.0},
        {"hysteresis_margin": 0.9},
        {"capacities": (20, 10, 400)},
        {"capacities": (16, 100)},
        {"cadence_short_days": (0.0, 1.0, 1.0, 1.0)},
        {"cost_per_hour": float("nan")},
    ],
)
def test_policy_refuses_what_is_out_of_range(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(Policy(), **change)


@pytest.mark.parametrize(("offset", "day"), [(0.0, 100), (8.0, 101), (-12.0, 100)])
def test_days_begin_at_the_midnight_of_the_workspace(offset: float, day: float) -> None:
    policy = Policy(utc_offset_hours=offset)
    moment = 100.75
    assert policy.today(moment) == day
    assert policy.day_start(day) <= moment < policy.day_start(day + 1)


def test_an_unknown_part_takes_the_median_of_its_process_then_of_all_then_the_default() -> None:
    facts = facts_of(
        {"process_id": ONE, "remaining_hours": 10.0, "margin_rate": 0.2},
        {"process_id": ONE, "remaining_hours": 30.0},
        {"process_id": TWO, "remaining_hours": 70.0},
        {"process_id": TWO},
    )
    medians = medians_of(facts, Policy(), NOW)
    stand_ins = medians.stand_ins(
        facts_of({"process_id": ONE}, {"process_id": TWO}, {"process_id": b"3" * 16}).uuids("process_id")
    )
    assert stand_ins[IMPUTED.index("remaining_hours")].tolist() == [20.0, 70.0, 30.0]
    assert stand_ins[IMPUTED.index("margin_rate")].tolist() == [0.2, 0.2, 0.2]
    assert stand_ins[IMPUTED.index("win_rate")].tolist() == [DEFAULTS["win_rate"]] * 3


def test_medians_of_margin_and_slack_use_known_amounts_and_dates_only() -> None:
    known = {
        "process_id": ONE,
        "amount": 1_000.0,
        "margin_rate": 0.5,
        "purchase_date": TODAY + 50,
        "remaining_days": 10.0,
    }
    medians = medians_of(facts_of(known, {"process_id": ONE}, {"process_id": ONE}), Policy(), NOW)
    stand_ins = medians.stand_ins(facts_of({"process_id": ONE}).uuids("process_id"))
    assert stand_ins[IMPUTED.index("margin"), 0] == 500.0
    assert stand_ins[IMPUTED.index("slack_days"), 0] == 40.0


def test_medians_equal_numpy_medians_per_process() -> None:
    facts = many_facts(500, seed=11)
    medians = medians_of(facts, Policy(), NOW)
    column = IMPUTED.index("remaining_days")
    for position, process in enumerate(medians.process_ids):
        mine = facts.rows["remaining_days"][facts.rows["process_id"] == process]
        assert medians.values[position, column] == np.nanmedian(mine)
    assert medians.values[-1, column] == np.nanmedian(facts.rows["remaining_days"])


def test_no_facts_give_no_judgement_and_no_medians() -> None:
    nothing = make_facts(0)
    medians = medians_of(nothing, Policy(), NOW)
    assert len(judge(nothing, Policy(), medians, NOW).priority) == 0
    assert np.isnan(medians.values).all()


def test_a_process_may_not_stand_twice() -> None:
    ids = facts_of({"process_id": ONE}, {"process_id": ONE}).uuids("process_id")
    with pytest.raises(ValueError, match="twice"):
        index_of(ids, ids)
