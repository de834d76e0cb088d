"""What an attempt's answer means: for its delivery, and for its endpoint. Decisions only; nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.api.delivery import schedule
from services.api.delivery.breaker import CLOSED, Breaker
from services.api.delivery.claims import MOST_CLAIMS, Claimed
from services.api.delivery.client import Answer
from services.api.delivery.endpoints import Endpoint, breaker_of
from shared.ids import new_id

PENDING, DELIVERED, FAILED, SKIPPED = "pending", "delivered", "failed", "skipped"
GONE_REASON, FAILING_REASON = "gone", "failing"
# Where nothing else is to be written, a success is noted this often.
NOTED: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery that was taken up. `answer` is None where nothing was sent."""

    claimed: Claimed
    at: datetime
    ended_at: datetime
    status: str
    attempts: int
    next_attempt_at: datetime | None = None
    error: str | None = None
    answer: Answer | None = None
    url: str = ""
    request_headers: Mapping[str, str] = field(default_factory=dict)
    # Beginning with its time, so that the id names the day.
    id: UUID = field(default_factory=new_id)

    @property
    def succeeded(self) -> bool:
        return self.status == DELIVERED

    @property
    def gone(self) -> bool:
        """Whether the receiver said that it wants nothing ever again."""
        return self.answer is not None and self.answer.status == schedule.GONE


def untried(claimed: Claimed, endpoint: Endpoint | None, now: datetime) -> Outcome | None:
    """What becomes of a delivery that can't be sent at all; None where it can."""
    if endpoint is None:
        status, error = SKIPPED, "The endpoint was deleted."
    elif not claimed.test and not endpoint.may_be_told(claimed.type):
        # Handed out while they might; an example tells nothing.
        status, error = SKIPPED, f"Who answers for the endpoint may not read {claimed.type}."
    elif claimed.body is None:
        status, error = FAILED, "The event is no longer kept."
    elif claimed.claims > MOST_CLAIMS:
        status, error = FAILED, f"It was taken up {claimed.claims - 1} times, and nothing was heard of it again."
    else:
        return None
    return Outcome(claimed, now, now, status, claimed.attempts, error=error)


def judge(
    claimed: Claimed,
    endpoint: Endpoint,
    answer: Answer,
    *,
    at: datetime,
    ended_at: datetime,
    chance: float,
    request_headers: Mapping[str, str],
) -> Outcome:
    """An attempt begun `at` that was answered: delivered, to be made again, or the last one."""
    attempts = claimed.attempts + 1
    status, error, next_attempt_at = DELIVERED, None, None
    if answer.outcome != schedule.SUCCESS:
        error = answer.error or f"It answered {answer.status}."
        asked = schedule.retry_after_seconds(answer.headers.get("retry-after"), ended_at)
        wait = schedule.delay_after(attempts, answer.outcome, answer.status, asked, chance, endpoint.schedule)
        if wait is None or answer.status == schedule.GONE:
            status = FAILED
        else:
            status, next_attempt_at = PENDING, ended_at + timedelta(seconds=wait)
    return Outcome(
        claimed=claimed,
        at=at,
        ended_at=ended_at,
        status=status,
        attempts=attempts,
        next_attempt_at=next_attempt_at,
        error=error,
        answer=answer,
        url=endpoint.url,
        request_headers=request_headers,
        id=new_id(int(at.timestamp() * 1000)),
    )


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of an endpoint over many attempts."""

    failing_since: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    alerted: int = 0
    breaker: Breaker = field(default_factory=Breaker)

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Health:
        """As its row says, or of an endpoint that was never tried."""
        if row is None:
            return cls()
        return cls(
            row["failing_since"], row["last_success_at"], row["last_failure_at"], row["alerted"], breaker_of(row)
        )


@dataclass(frozen=True, slots=True)
class Told:
    """Something an endpoint's administrator should hear of."""

    type: str
    data: dict[str, Any]


def follow(health: Health, outcomes: Sequence[Outcome], unnoted: int) -> tuple[Health, list[Told], str | None]:
    """An endpoint's health after attempts that ended in this order, what is told of it, and why it is disabled.

    `unnoted` successes came before, of which only the breaker has yet to hear.
    """
    told: list[Told] = []
    reason: str | None = None
    was_open = health.breaker.state != CLOSED
    breaker = health.breaker.after(unnoted, 0, outcomes[0].ended_at) if unnoted and not was_open else health.breaker
    health = replace(health, breaker=breaker)
    for each in outcomes:
        health = replace(
            health, breaker=health.breaker.after(int(each.succeeded), int(not each.succeeded), each.ended_at)
        )
        if each.succeeded:
            if health.failing_since is not None:
                told.append(Told("endpoint.recovered", {"failing_since": health.failing_since}))
            health = replace(health, failing_since=None, alerted=0, last_success_at=each.ended_at)
            continue
        failing_since = health.failing_since or each.at
        patience = schedule.patience(failing_since, each.ended_at, health.alerted)
        health = replace(health, failing_since=failing_since, last_failure_at=each.ended_at)
        if patience.alert is not None:
            health = replace(health, alerted=patience.alert)
            told.append(Told("endpoint.failing", {"failing_since": failing_since, "percent": patience.alert}))
        told += _of_delivery(each)
        if each.gone:
            reason = GONE_REASON
        elif patience.disable:
            reason = reason or FAILING_REASON
    if not was_open and health.breaker.state != CLOSED:
        told.append(Told("endpoint.paused", {"until": health.breaker.until}))
    return health, told, reason


def _of_delivery(outcome: Outcome) -> list[Told]:
    """Of failures worth hearing of. What is told about endpoints is no cause to tell more: it would go on for ever."""
    if outcome.claimed.type.startswith("endpoint."):
        return []
    data = {
        "delivery_id": outcome.claimed.delivery_id,
        "event_id": outcome.claimed.event_id,
        "event_type": outcome.claimed.type,
        "attempts": outcome.attempts,
        # Its class alone: the words may name the receiver's host, which is not for other receivers.
        "error": outcome.answer and outcome.answer.outcome,
    }
    if outcome.status == FAILED:
        return [Told("endpoint.exhausted", data)]
    if outcome.attempts == schedule.FAILING_ATTEMPT:
        return [Told("endpoint.attempt_failing", data)]
    return []
