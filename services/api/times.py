"""When something may have happened: a fact can't be recorded before it has come about."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.api.errors import invalid

# A caller's clock may be fast by this much.
CLOCK_SKEW = timedelta(minutes=5)


def check_not_future(now: datetime, occurred_at: datetime | None, what: str) -> None:
    """Raises Invalid at `/occurred_at` where it lies after `now`; `what` begins the sentence: "An opportunity"."""
    if occurred_at is not None and occurred_at > now + CLOCK_SKEW:
        raise invalid("/occurred_at", "in_future", f"{what} can't be recorded before it happens.")
