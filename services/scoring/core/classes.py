"""Today's class of an opportunity, by evidence (D9.1). D is reached by winning alone and never judged
here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.codes import CustomerClass
from services.scoring.core.facts import Bools, Floats
from services.scoring.core.pushes import gone_quiet
from services.scoring.core.view import View


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of n opportunities and what made them."""

    code: NDArray[np.int8]
    from_stage: Bools  # the stage evidences more than the facts do
    held_down: Bools  # a dead interest took it back to A
    interest_dead: Bools
    gone_quiet: Bools


def sign_of_life(view: View) -> Floats:
    """Day number of the customer's last sign of life: a two-way contact, or a stage entered by a passed
    milestone."""
    passed = np.where(view["stage_position"] > 0.0, view.day("stage_entered_at"), np.nan)
    return np.fmax(view.day("last_two_way_at"), passed)


def silence_limit(view: View) -> Floats:
    """Days of silence after which the interest counts as dead, by line."""
    policy = view.policy
    return np.where(view.long_line, policy.interest_dead_days_long, policy.interest_dead_days)


def is_dead(view: View, quiet: Bools) -> Bools:
    """Where the interest is dead: gone quiet, or silent, for longer than the policy allows.

    A next step still ahead keeps it alive, and so does a long line's agreed day of resuming. Where no two-way
    contact was ever recorded the silence is unknown, not long: nothing can die that was never seen to live.
    """
    life = sign_of_life(view)
    silent = view.known("last_two_way_at") & (view.today - life > silence_limit(view))
    quiet_day = view.day("quiet_signal_at")
    # A milestone passed after the signal has answered it.
    answered = life > quiet_day
    stays_quiet = quiet & ~answered & (view.today - quiet_day >= view.policy.quiet_dead_days)
    return (silent | stays_quiet) & ~view.step_ahead & ~view.resting


def classify(view: View) -> Classes:
    """Class of every opportunity of the view.

    B: a real meeting took place and interest is shown. C: B's evidence, or a stage that stands for it, and
    need and pain known, and interest firmer. Standing in a stage evidences that stage's class as well.
    Interest that nobody rated is read from the customer's signals.
    """
    policy = view.policy
    interest = view["interest"]
    unrated = np.isnan(interest)
    positive = view["positive_signals"]
    negative = view["negative_signals"]
    net = positive - np.where(np.isnan(negative), 0.0, negative)
    shown = (interest >= policy.class_b_interest) | (unrated & (positive >= policy.class_b_signals))
    firmer = (interest >= policy.class_c_interest) | (unrated & (net >= policy.class_c_signals))
    met = view["meeting_count"] >= policy.class_b_meetings
    stage = view["stage_class"]
    understood = (view["need_known"] > 0.5) & (view["pain_known"] > 0.5)
    evidence_b = met & shown
    evidence_c = (evidence_b | (stage >= CustomerClass.B)) & understood & firmer
    by_evidence = np.where(evidence_c, CustomerClass.C, evidence_b * CustomerClass.B)
    by_stage = np.where(stage >= CustomerClass.C, CustomerClass.C, (stage >= CustomerClass.B) * CustomerClass.B)
    reached = np.maximum(by_evidence, by_stage)
    quiet = gone_quiet(view)
    dead = is_dead(view, quiet)
    return Classes(
        code=np.where(dead, CustomerClass.A, reached).astype(np.int8),
        from_stage=(by_stage > by_evidence) & ~dead,
        held_down=dead & (reached > CustomerClass.A),
        interest_dead=dead,
        gone_quiet=quiet,
    )
