"""Identifiers: version 7, growing, with room for chance."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.ids import new_id


@given(st.integers(min_value=0, max_value=2**48 - 1))
def test_an_id_is_of_version_7_and_holds_its_time(at_ms: int) -> None:
    made = new_id(at_ms)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == at_ms
    assert UUID(str(made)) == made


@given(st.lists(st.integers(min_value=0, max_value=2**48 - 1), min_size=2, max_size=20, unique=True))
def test_ids_sort_as_their_times_do(times: list[int]) -> None:
    assert [each.int >> 80 for each in sorted(new_id(at) for at in times)] == sorted(times)


def test_ids_of_one_process_only_grow() -> None:
    made = [new_id() for _ in range(50_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(each.version == 7 and each.variant == RFC_4122 for each in made)
    assert abs((made[-1].int >> 80) - time.time() * 1000) < 5_000


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(1) for _ in range(1_000)}) == 1_000


def test_an_id_of_another_time_does_not_move_the_order() -> None:
    before = new_id()
    new_id(2**48 - 1)
    after = new_id()
    assert before < after
    assert (after.int >> 80) < 2**47
