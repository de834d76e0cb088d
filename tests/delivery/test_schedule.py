"""When an attempt is made again, and when an endpoint rests or is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.delivery import schedule
from services.api.delivery.breaker import CLOSED, OPEN, Breaker
from services.api.delivery.schedule import DEFAULT_SCHEDULE, delay_after, patience, retry_after_seconds

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)


def test_the_schedule_lasts_seventy_five_hours_and_a_half() -> None:
    assert len(DEFAULT_SCHEDULE) + 1 == 10
    assert sum(DEFAULT_SCHEDULE) / 3600 == pytest.approx(75.6, abs=0.02)


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True))
def test_retries_are_spread_by_a_fifth(attempts: int, chance: float) -> None:
    wait = delay_after(attempts, schedule.SERVER_ERROR, 500, None, chance)
    assert wait is not None
    assert 0.8 * DEFAULT_SCHEDULE[attempts - 1] <= wait <= 1.2 * DEFAULT_SCHEDULE[attempts - 1]


def test_the_last_attempt_is_the_last() -> None:
    assert delay_after(10, schedule.SERVER_ERROR, 500, None, 0.5) is None
    assert delay_after(3, schedule.SERVER_ERROR, 500, 99.0, 0.5, [1, 1]) is None
    assert delay_after(2, schedule.SERVER_ERROR, 500, None, 0.5, [1, 7]) == pytest.approx(7)


@given(st.integers(1, 9), st.floats(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_receiver_that_names_a_time_is_obeyed_within_bounds(attempts: int, asked: float, chance: float) -> None:
    base = DEFAULT_SCHEDULE[attempts - 1]
    wait = delay_after(attempts, schedule.SERVER_ERROR, 503, asked, chance)
    assert wait == min(max(asked, base), 2 * base)
    slow = delay_after(attempts, schedule.CLIENT_ERROR, 429, asked, chance)
    assert slow == min(max(asked, base, 60), 2 * max(base, 60))


@given(st.floats(0, 1, exclude_max=True))
def test_the_overloaded_have_a_minute(chance: float) -> None:
    for outcome, status in ((schedule.TIMEOUT, None), (schedule.CLIENT_ERROR, 429)):
        wait = delay_after(1, outcome, status, None, chance)
        assert wait is not None
        assert 60 <= wait <= 72


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("7", 7), (" 120 ", 120), ("", None), ("-3", None), ("1.5", None), ("soon", None), ("٣", None),
        ("9" * 40, 999_999_999_999), ("Tue, 10 Mar 2026 09:00:30 GMT", 30), ("Tue, 10 Mar 2026 08:00:00 GMT", 0),
        ("Tuesday, 10-Mar-26 09:00:30 GMT", 30),
    ],
)  # fmt: skip
def test_both_forms_of_retry_after(text: str | None, seconds: float | None) -> None:
    found = retry_after_seconds(text, NOW)
    assert found == (None if seconds is None else min(seconds, 10**9))


def test_patience_ends_after_five_days() -> None:
    hours = [(59, None, False), (60, 50, False), (83, 50, False), (84, 70, False), (108, 90, False), (120, 100, True)]
    for hour, alert, disable in hours:
        found = patience(NOW, NOW + timedelta(hours=hour), 0)
        assert (found.alert, found.disable) == (alert, disable)
    assert patience(NOW, NOW + timedelta(hours=61), 50).alert is None
    assert patience(NOW, NOW, 0) == schedule.Patience(0, None, False)


def test_the_breaker_opens_at_seven_of_ten_and_not_before() -> None:
    assert Breaker().after(0, 9, NOW).state == CLOSED
    assert Breaker().after(0, 10, NOW).state == OPEN
    assert Breaker().after(3, 7, NOW).state == OPEN
    assert Breaker().after(4, 7, NOW).state == CLOSED
    quiet = Breaker().after(0, 9, NOW).after(0, 1, NOW + timedelta(minutes=6))
    assert (quiet.state, quiet.attempts) == (CLOSED, 1)


def test_pauses_grow_and_a_success_ends_them() -> None:
    breaker = Breaker().after(0, 10, NOW)
    at, pauses = NOW, []
    for _ in range(6):
        assert breaker.until is not None
        assert breaker.room(breaker.until - timedelta(seconds=1)) == 0
        pauses.append((breaker.until - at).total_seconds())
        at = breaker.until
        assert breaker.room(at) == 1
        breaker = breaker.after(0, 1, at)
    assert pauses == [30, 60, 120, 240, 300, 300]
    assert breaker.after(0, 1, at) == breaker, "what was under way when it opened says nothing new"
    assert breaker.after(1, 0, at) == Breaker()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 400))))
def test_a_breaker_is_open_only_with_an_end(course: list[tuple[int, int, int]]) -> None:
    breaker, at = Breaker(), NOW
    for succeeded, failed, seconds in course:
        at += timedelta(seconds=seconds)
        breaker = breaker.after(succeeded, failed, at)
        assert (breaker.state == OPEN) == (breaker.until is not None)
        assert breaker.failures <= breaker.attempts
        assert breaker.until is None or breaker.until - at <= timedelta(minutes=5)
