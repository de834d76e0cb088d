"""The one entry of a judgement: facts of many opportunities in, everything said about each out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.cadence import Cadence, clock, held_or_highest
from services.scoring.core.classes import Classes, classify
from services.scoring.core.codes import CRITERIA, FACTORS, FLAGS, PARTS, UNKNOWNS
from services.scoring.core.criteria import Criteria, judge_criteria
from services.scoring.core.due import STALLED_PACE, next_due
from services.scoring.core.facts import Bools, Floats, OpportunityFacts
from services.scoring.core.medians import Medians
from services.scoring.core.policy import Policy
from services.scoring.core.priority import Priority, prioritise
from services.scoring.core.probability import estimate
from services.scoring.core.pushes import stage_pace
from services.scoring.core.view import View, mask_of, rows_of


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


# Blocks this long keep their temporaries in the processor's cache.
BLOCK = 4096
LITTLE_KNOWN = 0.5
DATE_SLIPS_FLAGGED = 2.0

_UNKNOWN_ROWS = rows_of(UNKNOWNS)
_PART = {code: position for position, code in enumerate(PARTS)}


def judge(
    facts: OpportunityFacts,
    policy: Policy,
    medians: Medians,
    now: float,
    bands: NDArray[np.int8] | None = None,
) -> Judgement:
    """Judges every opportunity of `facts` as of `now` (days since the Unix epoch, UTC).

    `bands` (n,) are the bands the opportunities hold at present; the cadence depends on them. Where it is
    left out or `Band.NONE`, the innermost band that the class allows is taken. Each row is judged by
    itself: its result does not depend on the others.

    Raises `ValueError` when `bands` has another length.
    """
    count = len(facts)
    if bands is not None and bands.shape != (count,):
        raise ValueError(f"bands must have shape ({count},), not {bands.shape}")
    out = _empty(count)
    stand_ins = medians.stand_ins(facts.uuids("process_id"))
    for start in range(0, count, BLOCK):
        block = slice(start, min(start + BLOCK, count))
        view = View.of(facts[block], policy, now)
        _judge_block(view, stand_ins[:, block], None if bands is None else bands[block], out, block)
    return out


def _judge_block(view: View, stand_ins: Floats, bands: NDArray[np.int8] | None, out: Judgement, block: slice) -> None:
    unknown = np.isnan(view.matrix[_UNKNOWN_ROWS]).astype(np.float64)
    probability = estimate(view, stand_ins, unknown)
    priority = prioritise(view, stand_ins, probability.value)
    criteria = judge_criteria(view, priority, probability)
    classes = classify(view)
    cadence = clock(view, held_or_highest(bands, classes.code))
    known_share = 1.0 - unknown.mean(axis=0)
    criteria.parts[_PART["cadence_days"]] = cadence.days
    criteria.parts[_PART["known_share"]] = known_share

    out.probability[block] = probability.value
    out.probability_low[block] = probability.low
    out.probability_high[block] = probability.high
    out.contributions[block] = probability.contributions.T
    out.criteria[block] = criteria.criteria.T
    out.parts[block] = criteria.parts.T
    out.priority[block] = priority.priority
    out.margin[block] = priority.margin
    out.urgency[block] = priority.urgency
    out.slack_days[block] = priority.slack
    out.hours[block] = priority.hours
    out.class_code[block] = classes.code
    out.flags[block] = mask_of(_flags(view, priority, criteria, classes, cadence, known_share))
    out.unknowns[block] = mask_of(unknown)
    out.imputed[block] = mask_of(priority.imputed)
    out.next_due_at[block] = next_due(view, classes, cadence)


def _flags(
    view: View, priority: Priority, criteria: Criteria, classes: Classes, cadence: Cadence, known_share: Floats
) -> Bools:
    """All flags, (len(FLAGS), n)."""
    contacts, contact = view["two_way_count"], view["last_two_way_at"]
    flags = {
        "purchase_date_overdue": priority.overdue,
        "qualified": criteria.qualified,
        "cadence_due": cadence.due,
        "cadence_overdue": cadence.overdue,
        "being_forgotten": cadence.forgotten,
        "interest_dead": classes.interest_dead,
        "resting": view.resting,
        "gone_quiet": classes.gone_quiet,
        "no_next_step": np.isnan(view["next_step_on"]),
        "next_step_overdue": view["next_step_on"] < view.today,
        "no_coach": view["has_coach"] < 0.5,
        "no_executive": view["has_executive"] < 0.5,
        "promise_overdue": view["promises_overdue"] > 0.0,
        "stage_stalled": (stage_pace(view) > STALLED_PACE) & ~view.resting,
        "time_too_short": (view.days_left < view.days_needed) & ~priority.overdue,
        "date_slipping": view["purchase_date_slips"] >= DATE_SLIPS_FLAGGED,
        "unprofitable": priority.margin < 0.0,
        "little_known": known_share < LITTLE_KNOWN,
        "never_contacted": np.isnan(contact) & ~(contacts > 0.0),
        "class_from_stage": classes.from_stage,
        "class_held_down": classes.held_down,
    }
    return np.array([flags[code] for code in FLAGS])


def _empty(count: int) -> Judgement:
    def column() -> Floats:
        return np.empty(count)

    return Judgement(
        probability=column(),
        probability_low=column(),
        probability_high=column(),
        contributions=np.empty((count, len(FACTORS)), dtype=np.float32),
        criteria=np.empty((count, len(CRITERIA))),
        parts=np.empty((count, len(PARTS))),
        priority=column(),
        margin=column(),
        urgency=column(),
        slack_days=column(),
        hours=column(),
        class_code=np.empty(count, dtype=np.int8),
        flags=np.empty(count, dtype=np.int32),
        unknowns=np.empty(count, dtype=np.int64),
        imputed=np.empty(count, dtype=np.int32),
        next_due_at=column(),
    )
