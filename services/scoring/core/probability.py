"""Win probability from the first day (D12.1): a documented prior with named, bounded pushes on the log-odds.

log-odds = base rate of the remaining stages + pushes. A fact that is unknown pushes nothing and widens the
interval. Facts that tend to come together stand in one group, whose sum is damped: s becomes s / sqrt(1 +
(s / bound)²), which keeps the sign and order, leaves small sums nearly alone and never passes the bound.
The sum of all groups is damped once more. `docs/scoring.md` gives every constant with its reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.codes import FACTORS, IMPUTED, UNKNOWNS
from services.scoring.core.facts import Floats
from services.scoring.core.pushes import PUSHES
from services.scoring.core.view import View

# Groups of factors that tend to be true together, each with the most their sum may push.
GROUPS: Final[tuple[tuple[float, tuple[str, ...]], ...]] = (
    (0.6, ("need", "pain")),
    (1.2, ("interest", "interest_signals", "confidence", "quiet")),
    (0.9, ("meetings", "contact_age", "reciprocity")),
    (0.8, ("coach", "executive", "breadth")),
    (0.8, ("budget_firmness", "budget_cover")),
    (0.9, ("date_firmness", "date_slips", "time_fit", "date_overdue")),
    (1.0, ("fit", "rival")),
    (0.6, ("stage_pace",)),
    (0.5, ("next_step", "promises", "handover")),
    (1.2, ("attributes",)),
)
TOTAL_BOUND: Final = 2.5

# No declared rate of a stage is certainty, and no estimate ever reads 0 or 1.
RATE_RANGE: Final = (0.01, 0.97)
PROBABILITY_RANGE: Final = (0.005, 0.995)
_LOGIT_LIMIT: Final = float(np.log(0.995 / 0.005))

# Standard deviations on the log-odds: of the base rate (declared, or taken from the process's median), and of
# what one fact would have told had it been known.
BASE_SPREAD: Final = 0.45
IMPUTED_BASE_SPREAD: Final = 0.9
SPREADS: Final[dict[str, float]] = {
    "need_known": 0.25,
    "pain_known": 0.25,
    "interest": 0.5,
    "positive_signals": 0.2,
    "negative_signals": 0.2,
    "confidence": 0.35,
    "meeting_count": 0.25,
    "last_two_way_at": 0.3,
    "two_way_count": 0.15,
    "has_coach": 0.3,
    "has_executive": 0.25,
    "contact_count": 0.15,
    "budget_status": 0.4,
    "budget_amount": 0.2,
    "purchase_date": 0.3,
    "purchase_date_firmness": 0.15,
    "purchase_date_slips": 0.2,
    "fit_score": 0.4,
    "rival_fit_score": 0.3,
    "stage_entered_at": 0.15,
    "promises_kept": 0.1,
    "promises_broken": 0.1,
}
# In 4096ths, so that their sums are exact in any order and a row's interval does not depend on its neighbours.
_VARIANCES: Final = np.round([SPREADS.get(code, 0.0) ** 2 * 4096.0 for code in UNKNOWNS]) / 4096.0
Z_80: Final = 1.2815515655446004  # 90th percentile of the standard normal

_SLOT: Final = {code: position for position, code in enumerate(FACTORS)}
_WIN_RATE: Final = IMPUTED.index("win_rate")


@dataclass(frozen=True, slots=True)
class Probability:
    """Estimates of n opportunities: each (n,), `contributions` (len(FACTORS), n) float32, `base_rate` as
    used."""

    value: Floats
    low: Floats
    high: Floats
    contributions: NDArray[np.float32]
    base_rate: Floats


def logit(share: Floats) -> Floats:
    """Log-odds of a share strictly between 0 and 1."""
    return np.log(share / (1.0 - share))


def sigmoid(log_odds: Floats) -> Floats:
    """The share whose log-odds are given."""
    return 1.0 / (1.0 + np.exp(-log_odds))


def _clip(share: Floats) -> Floats:
    return np.minimum(np.maximum(share, PROBABILITY_RANGE[0]), PROBABILITY_RANGE[1])


def _damp(pushes: Floats, bound: float) -> None:
    """Damps the sum of the rows of `pushes` (k, n) in place, every row in the same proportion."""
    total = pushes.sum(axis=0)
    total *= 1.0 / bound
    total *= total
    total += 1.0
    pushes /= np.sqrt(total, out=total)


def estimate(view: View, stand_ins: Floats, unknown: Floats) -> Probability:
    """Estimates every opportunity of the view.

    `stand_ins` are the medians (len(IMPUTED), n), `unknown` (len(UNKNOWNS), n) is 1 where a fact is missing.
    """
    rate = view["remaining_win_rate"]
    imputed = np.isnan(rate)
    rate = np.where(imputed, stand_ins[_WIN_RATE], rate)
    rate = np.minimum(np.maximum(rate, RATE_RANGE[0]), RATE_RANGE[1])

    pushes = np.zeros((len(FACTORS), rate.shape[0]))
    push: Callable[[View], Floats]
    for code, push in PUSHES.items():
        pushes[_SLOT[code]] = push(view)
    # An unknown fact made its push NaN.
    np.copyto(pushes, 0.0, where=np.isnan(pushes))
    for bound, codes in GROUPS:
        _damp(pushes[_SLOT[codes[0]] : _SLOT[codes[-1]] + 1], bound)
    _damp(pushes[1:-1], TOTAL_BOUND)

    pushes[0] = logit(rate)
    log_odds = pushes.sum(axis=0)
    pushes[-1] = np.minimum(np.maximum(log_odds, -_LOGIT_LIMIT), _LOGIT_LIMIT) - log_odds
    contributions = pushes.astype(np.float32)
    # What is shown must add up to what is said: the log-odds are the sum of the rounded contributions.
    log_odds = contributions.sum(axis=0, dtype=np.float64)

    variance = _VARIANCES @ unknown
    variance += np.where(imputed, IMPUTED_BASE_SPREAD**2, BASE_SPREAD**2)
    reach = Z_80 * np.sqrt(variance)
    return Probability(
        value=_clip(sigmoid(log_odds)),
        low=_clip(sigmoid(log_odds - reach)),
        high=_clip(sigmoid(log_odds + reach)),
        contributions=contributions,
        base_rate=rate,
    )
