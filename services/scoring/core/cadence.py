"""The rhythm of contact (D8.3): when the next touch is due, and who is being forgotten (§14, cadence
clock)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.codes import Band, CustomerClass
from services.scoring.core.facts import Bools, Floats, OpportunityFacts
from services.scoring.core.policy import Policy
from services.scoring.core.view import View

# The innermost band each class allows (A, B, C, D); a signed one is in after-care, outside the bands.
HIGHEST_BAND = np.array([Band.MONITOR, Band.TRACK, Band.ENGAGE, Band.MONITOR], dtype=np.int8)


@dataclass(frozen=True, slots=True)
class Cadence:
    """Rhythm of n opportunities. `started_on` and `due_on` are day numbers in the workspace's zone."""

    started_on: Floats
    days: Floats
    due_on: Floats
    due: Bools  # the day has come
    overdue: Bools  # the day has passed
    forgotten: Bools  # overdue, and no next step stands ahead


def clock(view: View, bands: NDArray[np.int8]) -> Cadence:
    """The cadence clock of every opportunity of the view, for the bands (n,) they hold."""
    policy = view.policy
    # The muted one keeps the slowest rhythm: nobody is to be forgotten for good.
    slot = np.minimum(bands, Band.BACKLOG)
    short = np.array(policy.cadence_short_days)
    long = np.array(policy.cadence_long_days)
    days = np.where(view.long_line, long[slot], short[slot])
    contact = view.day("last_two_way_at")
    started = np.where(np.isnan(contact), view.day("created_at"), contact)
    due_on = started + np.ceil(days)
    overdue = view.today > due_on
    return Cadence(started, days, due_on, view.today >= due_on, overdue, overdue & ~view.step_ahead)


def held_or_highest(bands: NDArray[np.int8] | None, classes: NDArray[np.int8]) -> NDArray[np.int8]:
    """The bands held, and where none is held the innermost that the class allows."""
    highest = HIGHEST_BAND[classes]
    return highest if bands is None else np.where(bands == Band.NONE, highest, bands)


def cadence(facts: OpportunityFacts, bands: NDArray[np.int8], policy: Policy, now: float) -> Cadence:
    """The cadence clock of `facts` for the bands (n,) they hold; a band of `NONE` counts as `MONITOR`."""
    held = np.where(bands == Band.NONE, np.int8(Band.MONITOR), bands)
    return clock(View.of(facts, policy, now), held)


def highest_band(class_code: CustomerClass) -> Band:
    """The innermost band that a class allows (D9)."""
    return Band(int(HIGHEST_BAND[class_code]))
