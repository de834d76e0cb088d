"""The triage: capacities, gates, hysteresis, pins, mutes, causes, and the deficit of the base."""

import dataclasses

import numpy as np
import pytest
from scoring_core_cases import NOW, make_subjects, subject_ids

from services.scoring.core.codes import CAUSES, Band, SubjectKind
from services.scoring.core.deficit import Conversion, base_deficit, shrunken_rate
from services.scoring.core.focus import Departed, Subjects
from services.scoring.core.moves import Triage, triage
from services.scoring.core.policy import Policy

E, T, M, REST, MUTED, NONE = Band.ENGAGE, Band.TRACK, Band.MONITOR, Band.BACKLOG, Band.MUTED, Band.NONE
SMALL = dataclasses.replace(Policy(), capacities=(2, 4, 6), pin_limit=1)


def run(subjects: Subjects, policy: Policy = SMALL, departed: Departed | None = None) -> Triage:
    return triage(subjects, departed or Departed.none(), policy, NOW)


def bands(result: Triage) -> list[int]:
    return result.seating.band.tolist()


def moves(result: Triage) -> dict[int, tuple[str, int]]:
    """Of every moved subject (by position): its cause and the number of the other subject in it (0: none)."""
    found = result.moves
    return {
        int(subject): (CAUSES[cause], int.from_bytes(other.tobytes(), "big"))
        for subject, cause, other in zip(found.subject, found.cause, found.cause_id, strict=True)
    }


def left(*numbered_bands: tuple[int, Band]) -> Departed:
    return Departed(subject_ids(*(n for n, _ in numbered_bands)), np.array([b for _, b in numbered_bands], np.int8))


def test_bands_fill_by_priority_from_the_inside() -> None:
    result = run(make_subjects(8, priority=[1, 2, 3, 4, 5, 6, 7, 8]))
    assert bands(result) == [REST, REST, M, M, T, T, E, E]
    assert result.seating.rank.tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert {cause for cause, _ in moves(result).values()} == {"arrived"}


def test_equal_priorities_go_by_nearness_then_id() -> None:
    result = run(make_subjects(4, nearness=[5, 9, 5, 1]))
    assert result.seating.order.tolist() == [3, 0, 2, 1]


def test_a_seat_stays_empty_rather_than_go_to_a_lower_class() -> None:
    result = run(make_subjects(7, class_code=[2, 1, 1, 0, 0, 0, 0], priority=[1, 50, 40, 90, 80, 70, 60]))
    assert bands(result) == [E, T, T, M, M, M, REST]
    assert result.seating.vacant == (1, 1, 0)
    assert result.seating.lacking_class == (1, 1)


def test_unused_inner_seats_serve_the_outer_bands() -> None:
    result = run(make_subjects(7, class_code=[1, 1, 1, 1, 1, 0, 0]))
    assert bands(result) == [T, T, T, T, M, M, REST]


def test_a_customer_without_opportunity_is_monitored_at_most() -> None:
    result = run(make_subjects(2, kind=[SubjectKind.CUSTOMER, SubjectKind.OPPORTUNITY], priority=[9, 1]))
    assert bands(result) == [M, E]
    assert result.seating.lacking_class == (1, 1)


@pytest.mark.parametrize(("challenger", "wins"), [(109.9, False), (110.1, True), (100.0, False), (99.0, False)])
def test_across_a_border_a_challenger_must_be_clearly_better(challenger: float, wins: bool) -> None:
    result = run(make_subjects(3, priority=[300, 100, challenger], previous_band=[E, E, T]))
    assert bands(result) == ([E, T, E] if wins else [E, E, T])
    assert moves(result) == ({2: ("overtook", 2), 1: ("displaced", 3)} if wins else {})


def test_inside_a_band_order_follows_priority_at_once() -> None:
    result = run(make_subjects(2, priority=[100, 101], previous_band=[E, E]))
    assert result.seating.order.tolist() == [1, 0]
    assert len(result.moves) == 0


def test_worthless_incumbents_do_not_swap_with_worthless_challengers() -> None:
    result = run(make_subjects(3, priority=[0, 0, 0], previous_band=[T, E, E]))
    assert len(result.moves) == 0


def test_the_closed_loop_fills_a_freed_seat_at_once_and_the_next_border_after_it() -> None:
    # Number 9 was engaged and is won: the best tracked moves up, the best monitored after it.
    subjects = make_subjects(6, priority=[100, 50, 40, 30, 20, 10], previous_band=[E, T, T, M, M, REST])
    result = run(subjects, departed=left((9, E)))
    assert bands(result) == [E, E, T, T, M, M]
    assert moves(result) == {1: ("seat_freed", 9), 3: ("seat_freed", 9), 5: ("seat_freed", 9)}


def test_one_that_passes_straight_inside_takes_the_only_seat() -> None:
    subjects = make_subjects(
        4, class_code=[2, 1, 1, 2], priority=[9, 8, 7, 6], previous_band=[E, T, T, M], previous_class=[2, 1, 1, 1]
    )
    result = run(subjects, dataclasses.replace(SMALL, capacities=(2, 4, 6)), left((9, E)))
    assert bands(result) == [E, T, T, E]
    assert moves(result) == {3: ("class_gained", 9)}


def test_a_challenger_from_afar_displaces_at_every_border_it_crosses() -> None:
    subjects = make_subjects(5, priority=[100, 90, 80, 70, 500], previous_band=[E, E, T, T, M])
    result = run(subjects)
    assert bands(result) == [E, T, T, M, E]
    assert moves(result) == {4: ("overtook", 2), 1: ("displaced", 5), 3: ("displaced", 5)}


def test_a_lost_class_loses_the_seat_at_once_and_frees_it() -> None:
    subjects = make_subjects(3, class_code=[0, 2, 2], priority=[900, 50, 40], previous_band=[E, E, T])
    result = run(subjects)
    assert bands(result) == [M, E, E]
    assert moves(result) == {0: ("class_lost", 0), 2: ("seat_freed", 1)}


def test_a_mute_takes_out_until_its_date_and_does_not_give_the_seat_back_by_itself() -> None:
    subjects = make_subjects(3, priority=[104, 100, 99], previous_band=[E, E, T], mute_until=[NOW + 1, np.nan, np.nan])
    muted = run(subjects)
    assert bands(muted) == [MUTED, E, E]
    assert moves(muted) == {0: ("muted", 0), 2: ("seat_freed", 1)}
    assert muted.seating.rank.tolist() == [0, 1, 2]
    back = run(dataclasses.replace(subjects, previous_band=muted.seating.band, mute_until=np.full(3, NOW)))
    assert bands(back) == [T, E, E]
    assert moves(back)[0][0] == "mute_ended"


def test_a_pin_holds_against_priority() -> None:
    subjects = make_subjects(
        3, priority=[1, 80, 70], previous_band=[T, E, E], pin_band=[E, NONE, NONE], pin_until=[NOW + 1] * 3
    )
    result = run(subjects)
    assert bands(result) == [E, E, T]
    assert moves(result) == {0: ("pinned", 3), 2: ("displaced", 1)}


def test_the_best_pin_pushes_out_the_weakest() -> None:
    subjects = make_subjects(
        4, priority=[2, 1, 90, 80], previous_band=[T, T, E, E], pin_band=[E, E, NONE, NONE], pin_until=[NOW + 1] * 4
    )
    result = run(subjects, dataclasses.replace(SMALL, pin_limit=2))
    assert moves(result) == {0: ("pinned", 4), 1: ("pinned", 3), 2: ("displaced", 2), 3: ("displaced", 1)}


def test_a_pin_outward_keeps_from_moving_in() -> None:
    subjects = make_subjects(2, priority=[9, 1], previous_band=[E, T], pin_band=[M, NONE], pin_until=[NOW + 1] * 2)
    result = run(subjects)
    assert bands(result) == [M, E]
    assert moves(result) == {0: ("pinned", 0), 1: ("seat_freed", 1)}
    assert result.seating.lacking_class == (0, 0)


@pytest.mark.parametrize(
    "change",
    [{"class_code": [1, 2, 2]}, {"pin_until": [NOW, np.nan, np.nan]}, {"reassigned": [True, False, False]}],
    ids=["class", "expired", "owner changed"],
)
def test_a_pin_does_not_hold(change: dict[str, object]) -> None:
    columns = {
        "priority": [1, 80, 70],
        "previous_band": [T, E, E],
        "pin_band": [E, NONE, NONE],
        "pin_until": [NOW + 1] * 3,
    }
    assert bands(run(make_subjects(3, **(columns | change)))) == [T, E, E]


def test_pins_are_limited_per_band_and_by_capacity() -> None:
    subjects = make_subjects(4, priority=[4, 3, 2, 1], pin_band=E, pin_until=[NOW + 1, NOW + 2, NOW + 3, NOW + 9])
    assert run(subjects).seating.pinned.tolist() == [False, False, False, True]
    narrow = dataclasses.replace(SMALL, capacities=(2, 4, 6), pin_limit=3)
    result = run(subjects, narrow)
    assert np.count_nonzero(result.seating.band == E) == 2
    assert bands(result)[3] == E or result.seating.pinned.sum() == 2


def test_a_pin_that_ends_says_so() -> None:
    subjects = make_subjects(
        3, priority=[1, 80, 70], previous_band=[E, E, T], pin_band=[E, NONE, NONE], pin_until=[NOW] * 3
    )
    result = run(subjects)
    assert moves(result) == {0: ("pin_ended", 3), 2: ("overtook", 1)}


def test_a_reassigned_subject_starts_without_a_seat_or_mute() -> None:
    subjects = make_subjects(
        3,
        priority=[105, 100, 100],
        previous_band=[E, E, E],
        reassigned=[True, False, False],
        mute_until=[NOW + 9, np.nan, np.nan],
    )
    result = run(subjects)
    assert bands(result) == [T, E, E]
    assert moves(result) == {0: ("reassigned", 0)}


def test_smaller_capacity_sends_the_weakest_out() -> None:
    result = run(make_subjects(3, priority=[3, 2, 1], previous_band=E))
    assert bands(result) == [E, E, T]
    assert moves(result) == {2: ("capacity_changed", 0)}


def test_a_seat_that_stood_empty_is_taken() -> None:
    result = run(make_subjects(2, previous_band=[E, T], previous_class=[2, 2]))
    assert moves(result) == {1: ("seat_vacant", 0)}


@pytest.mark.parametrize("broken", [{"priority": np.nan}, {"nearness": np.inf}])
def test_subjects_must_be_comparable(broken: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        make_subjects(2, **broken)


def test_subjects_must_be_of_one_length() -> None:
    with pytest.raises(ValueError, match="shape"):
        dataclasses.replace(make_subjects(2), priority=np.zeros(3))


def test_nobody_to_seat() -> None:
    result = run(make_subjects(0), departed=left((9, E)))
    assert bands(result) == []
    assert result.seating.vacant == (2, 4, 6)


def test_five_thousand_subjects_fill_every_seat() -> None:
    rng = np.random.default_rng(4)
    subjects = make_subjects(5_000, priority=rng.gamma(1, 100, 5_000), class_code=rng.integers(0, 3, 5_000))
    result = run(subjects, Policy())
    assert np.bincount(result.seating.band).tolist() == [16, 84, 300, 4_600]


def test_deficit_is_target_wins_by_the_product_of_rates() -> None:
    own = (Conversion(300, 1000), Conversion(350, 1000), Conversion(300, 1000))
    result = base_deficit(12, own, base=(0, 0, 0), capacity=400)
    assert result.rates == pytest.approx((0.3, 0.35, 0.3))
    assert result.needed_customers == 381  # 12 / 0.0315
    assert result.empty_seats == 400
    assert result.below_capacity


def test_the_present_base_counts_toward_the_target() -> None:
    own = (Conversion(0, 0), Conversion(0, 0), Conversion(0, 0))
    result = base_deficit(12, own, base=(100, 50, 40), capacity=190)
    assert result.expected_wins == pytest.approx(100 * 0.0315 + 50 * 0.105 + 40 * 0.3)
    assert result.needed_new_customers == 0
    assert not result.below_capacity


@pytest.mark.parametrize("expected", [0.05, 0.2, 0.5])
def test_one_win_proves_little(expected: float) -> None:
    assert expected < shrunken_rate(1, 1, expected) < 0.6
    assert 0 < shrunken_rate(0, 1, expected) < expected


def test_impossible_counts_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="no rate"):
        shrunken_rate(2, 1, 0.5)
    with pytest.raises(ValueError, match="above 0"):
        base_deficit(1, (Conversion(0, 0),) * 3, (0, 0, 0), 400, expected_rates=(0.0, 0.5, 0.5))
