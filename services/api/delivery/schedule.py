"""When an attempt is made again, and when an endpoint is given up: arithmetic without a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

# Seconds between an attempt and the next one: the first is made at once, the tenth 75.6 hours later.
DEFAULT_SCHEDULE: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER: Final = 0.2
# Who is overloaded, or too slow to answer, is not asked again within this many seconds.
FLOOR_SECONDS: Final = 60.0
DISABLE_AFTER: Final = timedelta(days=5)
ALERTS: Final = (50, 70, 90, 100)
FAILING_ATTEMPT: Final = 4

# Classes of outcomes.
SUCCESS: Final = "success"
TIMEOUT: Final = "timeout"
CONNECTION: Final = "connection"
REFUSED: Final = "refused"
REDIRECT: Final = "redirect"
CLIENT_ERROR: Final = "client_error"
SERVER_ERROR: Final = "server_error"
GONE: Final = 410
TOO_MANY: Final = 429


def outcome_of(status: int) -> str:
    """The class of a response: 2xx alone is success, and a redirect is a failure like any other."""
    if 200 <= status < 300:
        return SUCCESS
    if 300 <= status < 400:
        return REDIRECT
    return CLIENT_ERROR if 400 <= status < 500 else SERVER_ERROR


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, in both its forms; None where it says nothing of use."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), 10**9))
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if at.tzinfo is None:
        return None
    return max(0.0, (at - now).total_seconds())


def delay_after(
    attempts: int,
    outcome: str,
    status: int | None,
    retry_after: float | None,
    chance: float,
    schedule: Sequence[float] | None = None,
) -> float | None:
    """Seconds to wait after failure number `attempts` (1 for the first); None where that was the last attempt.

    `chance` in [0, 1) spreads retries over ±20 %. A receiver that names a time is taken at its word within once and
    twice the scheduled time. 429 and timeouts are never retried within a minute.
    """
    steps = DEFAULT_SCHEDULE if schedule is None else schedule
    if attempts > len(steps):
        return None
    floor = FLOOR_SECONDS if status == TOO_MANY or outcome == TIMEOUT else 0.0
    base = max(float(steps[attempts - 1]), floor)
    if retry_after is not None:
        return min(max(retry_after, base), 2 * base)
    return max(base * (1 - JITTER + 2 * JITTER * chance), floor)


@dataclass(frozen=True, slots=True)
class Patience:
    """How much of the patience with a failing endpoint is used up."""

    percent: int
    alert: int | None
    disable: bool


def patience(failing_since: datetime, now: datetime, alerted: int) -> Patience:
    """Judges an endpoint at a failure at `now` that has not succeeded since `failing_since`, its first failure.

    `alerted` is the highest alert given so far. It is disabled after five days; both ends are failures, so that no
    endpoint is given up for the failures of a few hours after days without any event.
    """
    percent = max(0, int(100 * (now - failing_since) / DISABLE_AFTER))
    reached = [each for each in ALERTS if percent >= each]
    alert = reached[-1] if reached and reached[-1] > alerted else None
    return Patience(percent, alert, percent >= ALERTS[-1])
