"""When a judgement must be made again though no new fact came: the earliest moment at which it changes."""

import numpy as np

from services.scoring.core.cadence import Cadence
from services.scoring.core.classes import Classes, sign_of_life, silence_limit
from services.scoring.core.facts import Bools, Floats
from services.scoring.core.policy import Policy
from services.scoring.core.pushes import (
    CONTACT_WORST_DAYS,
    HANDOVER_DAYS,
    LONG_LINE_PACE,
    OVERDUE_FULL_DAYS,
    PACE_WORST,
    QUIET_FULL_DAYS,
)
from services.scoring.core.view import View

STALLED_PACE = 2.0
NEVER = np.inf


def moves_daily(view: View, classes: Classes) -> Bools:
    """Where something of the judgement moves with every day.

    Nearness and urgency until the purchase date, and a passed date's weight for a while after; the age of
    contact, of silence, of the stage and of a handover while each still counts; and the window over which
    signals are counted.
    """
    today = view.today
    resting = view.resting
    contact_limit = CONTACT_WORST_DAYS / np.where(view.long_line, LONG_LINE_PACE, 1.0)
    typical = view["stage_typical_days"]
    stage_age = view.age("stage_entered_at")
    signals = (view["positive_signals"] > 0.0) | (view["negative_signals"] > 0.0)
    moves: Bools = today - view["purchase_date"] < OVERDUE_FULL_DAYS
    moves |= view.age("last_two_way_at") < contact_limit
    moves |= classes.gone_quiet & (view.age("quiet_signal_at") < QUIET_FULL_DAYS)
    moves |= (stage_age > typical - 1.0) & (stage_age < PACE_WORST * typical) & ~resting
    moves |= view.age("owner_changed_at") < HANDOVER_DAYS
    moves |= signals
    return moves


def next_due(view: View, classes: Classes, cadence: Cadence) -> Floats:
    """The moment (days since the Unix epoch, UTC) at which each judgement next changes by itself; `inf`:
    never.

    Always the beginning of a day of the workspace, for judgements are made in whole days.
    """
    policy = view.policy
    tomorrow = view.today + 1.0
    days = (
        np.where(view.long_line, view["resume_on"], np.nan),
        view["next_step_on"] + 1.0,
        cadence.due_on,
        cadence.due_on + 1.0,
        sign_of_life(view) + np.floor(silence_limit(view)) + 1.0,
        view.day("quiet_signal_at") + np.ceil(policy.quiet_dead_days),
        # Facts recorded ahead of time begin to age on their day.
        view.day("last_two_way_at") + 1.0,
        view.day("stage_entered_at") + 1.0,
        view.day("quiet_signal_at") + 1.0,
        view.day("owner_changed_at") + 1.0,
        view.day("stage_entered_at") + np.floor(view["stage_typical_days"]),
        view.day("stage_entered_at") + np.floor(STALLED_PACE * view["stage_typical_days"]) + 1.0,
    )
    earliest = np.where(moves_daily(view, classes), tomorrow, NEVER)
    for day in days:
        np.minimum(earliest, np.where(day > view.today, day, NEVER), out=earliest)
    return policy.day_start(0.0) + np.maximum(earliest, tomorrow)


def next_due_of_seats(judged_due_at: Floats, pin_until: Floats, mute_until: Floats, now: float) -> Floats:
    """Brings the expiry of pins and mutes (n,), NaN for none, into the moments of judgements (n,)."""
    due = judged_due_at.copy()
    for until in (pin_until, mute_until):
        np.minimum(due, np.where(until > now, until, NEVER), out=due)
    return due


def next_day(policy: Policy, now: float) -> float:
    """The moment at which the workspace's next day begins."""
    return policy.day_start(policy.today(now) + 1.0)
