"""The five criteria of an opportunity (D6.1 to D6.5), each 0..1, NaN where what it rests on is unknown."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.codes import CRITERIA, PARTS
from services.scoring.core.facts import Bools, Floats
from services.scoring.core.priority import Priority
from services.scoring.core.probability import Probability
from services.scoring.core.pushes import budget_cover, by_code, time_fit, unit
from services.scoring.core.view import View

# How firm a budget is, by status (none, indicated, requested, approved, locked), and a date, by firmness.
_BUDGET_FIRMNESS: Final = np.array([0.0, 0.35, 0.6, 0.85, 1.0, np.nan])
_DATE_FIRMNESS: Final = np.array([0.4, 0.7, 1.0, np.nan])
# A budget of unknown size is taken to cover three quarters of the price: neither none of it nor all.
UNKNOWN_COVER: Final = 0.75
# A purchase this many days away is half as near as one today.
NEARNESS_HALF_LIFE_DAYS: Final = 90.0

_CRITERION: Final = {code: position for position, code in enumerate(CRITERIA)}
_PART: Final = {code: position for position, code in enumerate(PARTS)}


@dataclass(frozen=True, slots=True)
class Criteria:
    """`criteria` (len(CRITERIA), n), `parts` (len(PARTS), n) with the rows that criteria rest on,
    `qualified` (n,)."""

    criteria: Floats
    parts: Floats
    qualified: Bools


def judge_criteria(view: View, priority: Priority, probability: Probability) -> Criteria:
    """The five criteria, their parts, and whether all are known and above the workspace's thresholds
    (D6.6)."""
    count = view.matrix.shape[1]
    criteria = np.full((len(CRITERIA), count), np.nan)
    parts = np.full((len(PARTS), count), np.nan)
    criteria[_CRITERION["budget"]] = _budget(view, parts)
    criteria[_CRITERION["timeline"]] = _timeline(view, parts)
    criteria[_CRITERION["fit"]] = _fit(view, parts)
    criteria[_CRITERION["worth"]] = _worth(view, priority, parts)
    criteria[_CRITERION["win_probability"]] = probability.value
    parts[_PART["base_win_rate"]] = probability.base_rate
    qualified = view.known("remaining_win_rate")
    for row, threshold in zip(criteria, view.policy.qualification, strict=True):
        qualified &= row >= threshold
    return Criteria(criteria, parts, qualified)


def _budget(view: View, parts: Floats) -> Floats:
    """Firmness, lowered by up to half where the budget falls short of our price."""
    firmness = by_code(_BUDGET_FIRMNESS, view["budget_status"])
    cover = unit(budget_cover(view))
    parts[_PART["budget_firmness"]] = firmness
    parts[_PART["budget_cover"]] = cover
    return firmness * (0.5 + 0.5 * np.where(np.isnan(cover), UNKNOWN_COVER, cover))


def _timeline(view: View, parts: Floats) -> Floats:
    """Nearness, trusted as far as the date is firm, steady and leaves room for our remaining stages."""
    nearness = np.exp2(view.days_left * (-1.0 / NEARNESS_HALF_LIFE_DAYS))
    firmness = by_code(_DATE_FIRMNESS, view["purchase_date_firmness"])
    room = np.where(view.known("purchase_date"), time_fit(view), np.nan)
    steadiness = 1.0 / (1.0 + 0.5 * np.maximum(view["purchase_date_slips"], 0.0))
    parts[_PART["nearness"]] = nearness
    parts[_PART["date_firmness"]] = firmness
    parts[_PART["time_fit"]] = room
    parts[_PART["date_steadiness"]] = steadiness
    total = np.zeros_like(nearness)
    known = np.zeros_like(nearness)
    for part in (firmness, room, steadiness):
        here = ~np.isnan(part)
        total += np.where(here, part, 0.0)
        known += here
    # With nothing known about the date beyond itself it is trusted half.
    trust = np.where(known > 0.0, total / np.maximum(known, 1.0), 0.5)
    return nearness * (0.4 + 0.6 * trust)


def _fit(view: View, parts: Floats) -> Floats:
    """The weighted score of the customer's conditions and our lead over the best rival, six to four."""
    score = view["fit_score"]
    lead = score - view["rival_fit_score"]
    parts[_PART["fit_score"]] = score
    parts[_PART["fit_lead"]] = lead
    return np.where(np.isnan(lead), score, 0.6 * score + 0.4 * (0.5 + 0.5 * lead))


def _worth(view: View, priority: Priority, parts: Floats) -> Floats:
    """Share of the expected margin that is left when our own hours are paid; known only from known
    figures."""
    selling = view["remaining_hours"] * view.policy.cost_per_hour
    known = view.known("amount") & view.known("margin_rate")
    margin = np.where(known, priority.margin, np.nan)
    parts[_PART["selling_cost"]] = selling
    parts[_PART["net_worth"]] = margin - selling
    share = unit(1.0 - selling / np.where(margin > 0.0, margin, 1.0))
    return np.where(np.isnan(margin), np.nan, np.where(margin > 0.0, share, 0.0))
