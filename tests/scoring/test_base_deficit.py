"""How many new customers a rep needs (D9.7): from closed opportunities to what the focus answer says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.deficit import DEFAULT_RATES, Experience, base_deficit
from tests.scoring.support import World

REP = b"r" * 16
counts = st.integers(0, 500)


def test_an_empty_base_needs_a_new_customer_for_every_seat() -> None:
    found = Experience.none().deficit(REP, (0, 0, 0), 400)
    assert (found.needed_new_customers, found.empty_seats, found.rates) == (400, 400, DEFAULT_RATES)


def test_the_further_a_subject_has_come_the_more_new_customers_it_spares() -> None:
    nobody = Experience.none()
    spared = [400 - nobody.deficit(REP, base, 400).needed_new_customers for base in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert spared == [1, 3, 9]  # 1, 1 / 0.3, 1 / (0.3 × 0.35), rounded to the rep's disadvantage


def test_own_rates_are_pulled_toward_the_workspaces() -> None:
    seen = Experience.of({REP: (100, 60, 30, 15), b"s" * 16: (100, 20, 5, 1)})
    assert seen.expected == pytest.approx((82.4 / 208, 37.8 / 88, 18.4 / 43))
    first, second, third = seen.deficit(REP, (0, 0, 0), 400).rates
    assert 80 / 200 < first < 60 / 100
    assert (second, third) == pytest.approx(((30 + 8 * 37.8 / 88) / 68, (15 + 8 * 18.4 / 43) / 38))


@given(counts, counts, counts, st.integers(0, 1000))
def test_a_full_base_needs_nobody_and_one_more_subject_never_more(a: int, b: int, c: int, capacity: int) -> None:
    seen = Experience.none()
    needed = seen.deficit(REP, (a, b, c), capacity).needed_new_customers
    assert 0 <= needed <= max(capacity - a - b - c, 0)
    for base in ((a + 1, b, c), (a, b + 1, c), (a, b, c + 1)):
        assert seen.deficit(REP, base, capacity).needed_new_customers <= needed


def test_a_target_of_ones_own_counts_instead() -> None:
    own = Experience.none().own.get(REP) or Experience.of({REP: (0, 0, 0, 0)}).own[REP]
    found = base_deficit(1, own, (0, 0, 0), 400)
    assert found.needed_new_customers == found.needed_customers == 32  # 1 / (0.3 × 0.35 × 0.3) is 31.7


async def test_the_drain_keeps_what_is_needed(world: World) -> None:
    rep = await world.member(monitor_capacity=50, track_capacity=20, engage_capacity=5)
    first, second, third, _ = await world.opportunities(rep, 4)
    await world.move(first, "pass", 0)  # into a stage that evidences C
    await world.move(first, "lose")
    await world.move(second, "lose")
    await world.mark("workspace")
    await world.drain()
    (load,) = await world.read("SELECT shortages, counts FROM scoring.loads WHERE workspace_id = $1")
    seen = Experience.of({rep.bytes: (2, 1, 1, 0)})
    expected = seen.deficit(rep.bytes, (2, 0, 0), 50)
    assert load["counts"]["class_a"] == 2
    assert load["shortages"]["needed_new_customers"] == expected.needed_new_customers == 48
    assert load["shortages"]["rates"]["a_to_b"] == pytest.approx(expected.rates[0])
    await world.move(third, "pass", 0)
    await world.drain()
    (after,) = await world.read("SELECT shortages FROM scoring.loads WHERE workspace_id = $1")
    assert after["shortages"]["needed_new_customers"] < 48
