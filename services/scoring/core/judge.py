"""The one entry of a judgement: facts of many opportunities in, everything said about each out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.facts import Floats, OpportunityFacts
from services.scoring.core.medians import Medians
from services.scoring.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was judged of n opportunities at one moment. Row i belongs to row i of the facts.

    Money is in the workspace's currency; times are days since the Unix epoch (UTC). Masks hold bit k for
    the k-th code.
    """

    probability: Floats  # (n,) of passing the winning milestone, 0.005..0.995
    probability_low: Floats  # (n,) lower end of the 80 % interval
    probability_high: Floats  # (n,) upper end
    contributions: NDArray[np.float32]  # (n, len(FACTORS)) on the log-odds; a row's sum is logit(probability)
    criteria: Floats  # (n, 5) CRITERIA, 0..1, NaN unknown
    parts: Floats  # (n, len(PARTS)), NaN unknown
    priority: Floats  # (n,) money per hour of the rep's time
    margin: Floats  # (n,) expected gross margin, money
    urgency: Floats  # (n,) 0..1
    slack_days: Floats  # (n,) >= 0
    hours: Floats  # (n,) typical hours of the remaining stages, as divided by
    class_code: NDArray[np.int8]  # (n,) CustomerClass
    flags: NDArray[np.int32]  # (n,) FLAGS
    unknowns: NDArray[np.int64]  # (n,) UNKNOWNS
    imputed: NDArray[np.int32]  # (n,) IMPUTED
    next_due_at: Floats  # (n,) earliest moment the judgement changes with no new fact; inf: never


def judge(
    facts: OpportunityFacts,
    policy: Policy,
    medians: Medians,
    now: float,
    bands: NDArray[np.int8] | None = None,
) -> Judgement:
    """Judges every opportunity of `facts` as of `now` (days since the Unix epoch, UTC).

    `bands` (n,) are the bands the opportunities hold at present; the cadence depends on them. Where it is
    left out or `Band.NONE`, the innermost band that the class allows is taken.
    """
    raise NotImplementedError
