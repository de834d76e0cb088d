"""What each fact pushes on the log-odds of winning, before its group is damped.

Every push is NaN where its fact is unknown, does not fall as its fact gets better, and is near 0 for the
ordinary case, because the base rate of a stage already holds the average of the facts.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from services.scoring.core.facts import Floats
from services.scoring.core.view import View

# A long line runs at about a third of the short line's pace.
LONG_LINE_PACE: Final = 1.0 / 3.0
CONTACT_NEUTRAL_DAYS: Final = 21.0
CONTACT_WORST_DAYS: Final = 90.0
QUIET_FULL_DAYS: Final = 21.0
OVERDUE_FULL_DAYS: Final = 60.0
PACE_WORST: Final = 3.0
HANDOVER_DAYS: Final = 45.0

# By code; the last entry stands for unknown.
_INTEREST: Final = np.array([-0.9, 0.0, 0.4, 0.8, np.nan])
_BUDGET: Final = np.array([-0.5, -0.05, 0.15, 0.5, 0.7, np.nan])
_DATE_FIRMNESS: Final = np.array([-0.1, 0.05, 0.25, np.nan])
# By number of contacts, five or more as five.
_BREADTH: Final = np.array([-0.2, -0.05, 0.05, 0.15, 0.2, 0.25, np.nan])


def by_code(table: Floats, codes: Floats) -> Floats:
    """`table[code]` with codes beyond it held to its ends; its last entry for NaN."""
    last = len(table) - 1
    held = np.minimum(np.maximum(codes, 0.0), last - 1.0)
    return table[np.where(np.isnan(held), last, held).astype(np.int8)]


def unit(values: Floats) -> Floats:
    """`values` held to 0..1; NaN stays."""
    return np.minimum(np.maximum(values, 0.0), 1.0)


def _need(view: View) -> Floats:
    return 0.5 * view["need_known"] - 0.25


def _pain(view: View) -> Floats:
    return 0.5 * view["pain_known"] - 0.25


def _interest(view: View) -> Floats:
    return by_code(_INTEREST, view["interest"])


def _interest_signals(view: View) -> Floats:
    # Saturates: ten questions are not ten times the interest of one. Known silence is a little worse than
    # average.
    net = view["positive_signals"] - view["negative_signals"] - 0.5
    return 0.6 * net / (4.0 + np.abs(net))


def _confidence(view: View) -> Floats:
    return 1.2 * view["confidence"] - 0.6


def gone_quiet(view: View) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The customer went quiet or postponed, and no two-way contact has followed."""
    quiet, contact = view["quiet_signal_at"], view["last_two_way_at"]
    return (quiet > contact) | (~np.isnan(quiet) & np.isnan(contact))


def _quiet(view: View) -> Floats:
    since = unit(view.age("quiet_signal_at") * (1.0 / QUIET_FULL_DAYS))
    return np.where(gone_quiet(view), -0.3 - 0.3 * since, 0.0)


def _meetings(view: View) -> Floats:
    return 0.45 - 0.6 * np.exp2(-np.maximum(view["meeting_count"], 0.0))


def _contact_age(view: View) -> Floats:
    age = view.age("last_two_way_at") * np.where(view.long_line, LONG_LINE_PACE, 1.0)
    fresh = 0.2 - age * (0.2 / CONTACT_NEUTRAL_DAYS)
    fading = (age - CONTACT_NEUTRAL_DAYS) * (-0.6 / (CONTACT_WORST_DAYS - CONTACT_NEUTRAL_DAYS))
    push = np.maximum(np.where(age <= CONTACT_NEUTRAL_DAYS, fresh, fading), -0.6)
    # Silence that was agreed upon says nothing against us.
    return np.where(view.resting, np.maximum(push, 0.0), push)


def _reciprocity(view: View) -> Floats:
    return 0.3 - 0.5 * np.exp2(np.maximum(view["two_way_count"], 0.0) * (-1.0 / 3.0))


def _coach(view: View) -> Floats:
    return 0.55 * view["has_coach"] - 0.15


def _executive(view: View) -> Floats:
    return 0.5 * view["has_executive"] - 0.15


def _breadth(view: View) -> Floats:
    return by_code(_BREADTH, view["contact_count"])


def _budget_firmness(view: View) -> Floats:
    return by_code(_BUDGET, view["budget_status"])


def budget_cover(view: View) -> Floats:
    """Budget as a share of our price, NaN where either is unknown or the price is 0."""
    amount = view["amount"]
    return view["budget_amount"] / np.where(amount > 0.0, amount, np.nan)


def _budget_cover(view: View) -> Floats:
    cover = np.minimum(np.maximum(budget_cover(view), 0.5), 1.2)
    below = (cover - 1.0) * 1.0 + 0.1
    above = (cover - 1.0) * 0.25 + 0.1
    # Without a budget there is nothing to cover the price with; that is said by its firmness alone.
    return np.where(view["budget_status"] == 0.0, 0.0, np.where(cover < 1.0, below, above))


def _date_firmness(view: View) -> Floats:
    return by_code(_DATE_FIRMNESS, view["purchase_date_firmness"])


def _date_slips(view: View) -> Floats:
    return 0.85 * np.exp2(np.maximum(view["purchase_date_slips"], 0.0) * -0.5) - 0.8


def time_fit(view: View) -> Floats:
    """Share of the remaining stages' typical time that is left before the purchase date, 0..1."""
    needed = view.days_needed
    return unit(np.where(needed > 0.0, view.days_left / np.where(needed > 0.0, needed, 1.0), 1.0 + needed))


def _time_fit(view: View) -> Floats:
    return np.where(np.isnan(view["purchase_date"]), np.nan, 0.6 * time_fit(view) - 0.5)


def _date_overdue(view: View) -> Floats:
    late = view.today - view["purchase_date"]
    return np.where(late > 0.0, -0.3 - 0.3 * unit(late * (1.0 / OVERDUE_FULL_DAYS)), 0.0)


def _fit(view: View) -> Floats:
    return 1.2 * view["fit_score"] - 0.6


def _rival(view: View) -> Floats:
    return 0.8 * (view["fit_score"] - view["rival_fit_score"])


def stage_pace(view: View) -> Floats:
    """Days in the present stage as a multiple of its typical length, NaN where either is unknown."""
    typical = view["stage_typical_days"]
    return view.age("stage_entered_at") / np.where(typical > 0.0, typical, np.nan)


def _stage_pace(view: View) -> Floats:
    pace = np.minimum(stage_pace(view), PACE_WORST)
    push = np.where(pace <= 1.0, 0.05, 0.05 - 0.325 * (pace - 1.0))
    return np.where(np.isnan(pace), np.nan, np.where(view.resting, np.maximum(push, 0.0), push))


def _next_step(view: View) -> Floats:
    return np.where(view.step_ahead, 0.15, np.where(view["next_step_on"] < view.today, -0.15, np.nan))


def _promises(view: View) -> Floats:
    kept, overdue = view["promises_kept"], view["promises_overdue"]
    made = kept + view["promises_broken"] + np.where(np.isnan(overdue), 0.0, overdue)
    return 0.6 * (kept + 1.0) / (made + 2.0) - 0.3


def _handover(view: View) -> Floats:
    return np.minimum(view.age("owner_changed_at") * (0.2 / HANDOVER_DAYS) - 0.2, 0.0)


def _attributes(view: View) -> Floats:
    # Weighed by the workspace itself; its group's bound keeps them from deciding alone.
    return view["attribute_push"]


# In the order of `FACTORS`, whose first and last (the base rate and the limit) are no pushes.
PUSHES: Final[dict[str, Callable[[View], Floats]]] = {
    "need": _need,
    "pain": _pain,
    "interest": _interest,
    "interest_signals": _interest_signals,
    "confidence": _confidence,
    "quiet": _quiet,
    "meetings": _meetings,
    "contact_age": _contact_age,
    "reciprocity": _reciprocity,
    "coach": _coach,
    "executive": _executive,
    "breadth": _breadth,
    "budget_firmness": _budget_firmness,
    "budget_cover": _budget_cover,
    "date_firmness": _date_firmness,
    "date_slips": _date_slips,
    "time_fit": _time_fit,
    "date_overdue": _date_overdue,
    "fit": _fit,
    "rival": _rival,
    "stage_pace": _stage_pace,
    "next_step": _next_step,
    "promises": _promises,
    "handover": _handover,
    "attributes": _attributes,
}
