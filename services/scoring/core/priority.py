"""Priority (D9.4, §14): what one hour of the rep's time is worth now, with every part of it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.codes import IMPUTED
from services.scoring.core.facts import Bools, Floats
from services.scoring.core.view import View

_SLOT: Final = {code: position for position, code in enumerate(IMPUTED)}


@dataclass(frozen=True, slots=True)
class Priority:
    """Parts of n priorities; `imputed` (len(IMPUTED), n) says which parts took a median."""

    priority: Floats  # money per hour
    margin: Floats  # money, may be negative
    urgency: Floats  # 0..1
    slack: Floats  # days
    hours: Floats
    overdue: Bools
    imputed: Bools


def expected_margin(view: View, stand_ins: Floats) -> tuple[Floats, Bools]:
    """Expected gross margin in money, and which of its parts were imputed (len(IMPUTED), n).

    (amount × margin rate − cost to deliver) × (1 − delivery risk) × (1 − payment risk); with the amount
    unknown the median margin of the process stands in whole, and its ingredients are not asked for.
    """
    amount = view["amount"]
    known = ~np.isnan(amount)
    imputed = np.zeros(stand_ins.shape, dtype=np.bool_)
    imputed[_SLOT["margin"]] = ~known

    def part(field: str, code: str) -> Floats:
        missing = np.isnan(view[field])
        imputed[_SLOT[code]] = missing & known
        return np.where(missing, stand_ins[_SLOT[code]], view[field])

    gross = amount * part("margin_rate", "margin_rate")
    missing_cost = np.isnan(view["cost_to_deliver"])
    imputed[_SLOT["delivery_cost_share"]] = missing_cost & known
    cost = np.where(missing_cost, amount * stand_ins[_SLOT["delivery_cost_share"]], view["cost_to_deliver"])
    # A risk is a chance of losing what would be earned; a loss expected before any risk grows no smaller by
    # it.
    kept = (1.0 - part("delivery_risk", "delivery_risk")) * (1.0 - part("payment_risk", "payment_risk"))
    net = gross - cost
    margin = np.where(net > 0.0, net * kept, net)
    return np.where(known, margin, stand_ins[_SLOT["margin"]]), imputed


def slack_days(view: View, stand_ins: Floats) -> tuple[Floats, Bools]:
    """Days to spare before the remaining stages no longer fit, at least 0, and what was imputed
    (len(IMPUTED), n).

    A purchase date that has passed leaves no slack. With the date unknown the median slack stands in.
    """
    imputed = np.zeros(stand_ins.shape, dtype=np.bool_)
    known = view.known("purchase_date")
    missing_days = np.isnan(view["remaining_days"])
    days = np.where(missing_days, stand_ins[_SLOT["remaining_days"]], view["remaining_days"])
    slack = np.maximum(view["purchase_date"] - view.today - days, 0.0)
    imputed[_SLOT["slack_days"]] = ~known
    imputed[_SLOT["remaining_days"]] = missing_days & known
    return np.where(known, slack, stand_ins[_SLOT["slack_days"]]), imputed


def urgency_of(slack: Floats, half_life_days: float) -> Floats:
    """Urgency 0..1: 1 without slack, halved by every `half_life_days` of it."""
    return np.exp2(slack * (-1.0 / half_life_days))


def prioritise(view: View, stand_ins: Floats, probability: Floats) -> Priority:
    """Priority of every opportunity of the view: margin × p × urgency ÷ max(minimum hours, hours).

    A negative margin is shown as it is and gives priority 0: no hour spent on it earns anything.
    """
    margin, imputed = expected_margin(view, stand_ins)
    slack, imputed_slack = slack_days(view, stand_ins)
    imputed |= imputed_slack
    missing_hours = np.isnan(view["remaining_hours"])
    imputed[_SLOT["remaining_hours"]] = missing_hours
    imputed[_SLOT["win_rate"]] = np.isnan(view["remaining_win_rate"])
    hours = np.where(missing_hours, stand_ins[_SLOT["remaining_hours"]], view["remaining_hours"])
    hours = np.maximum(hours, view.policy.minimum_hours)
    urgency = urgency_of(slack, view.policy.urgency_half_life_days)
    priority = np.maximum(margin, 0.0) * probability * urgency / hours
    overdue: Bools = view["purchase_date"] < view.today
    return Priority(priority, margin, urgency, slack, hours, overdue, imputed)
