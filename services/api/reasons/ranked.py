"""Which reasons tell most about a place in the order: what sets a priority apart from the rep's others.

An *effect* is a difference on the natural logarithm of the priority: +0.69 doubles it, −0.69 halves it. Margin,
urgency, hours and base rate are held against the median of the rep's own open opportunities, for they have no
ordinary value; facts about winning push away from the ordinary case by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.api.reasons.facts import Situation
from services.api.reasons.judged import Judged, shown
from services.api.reasons.sentences import no_opportunity, sentence

SHOWN = 5
# Beyond this a difference says no more: a margin of nothing is not infinitely worse than a small one.
_FURTHEST = 10.0


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians over the open opportunities of one rep; None where there is none to take."""

    margin: float | None
    urgency: float | None
    hours: float | None
    base_rate: float | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Usual:
        return cls(row["usual_margin"], row["usual_urgency"], row["usual_hours"], row["usual_base_rate"])


def effects(judged: Judged, usual: Usual) -> list[tuple[str, float, float]]:
    """(code, effect, value) of everything that moved the priority, the most telling first."""
    found = [
        ("margin", _against(judged.margin, usual.margin), judged.margin),
        ("urgency", _against(judged.urgency, usual.urgency), judged.urgency),
        ("hours", -_against(judged.hours, usual.hours), judged.hours),
    ]
    # A small step of the log-odds moves the logarithm of a probability p by (1 − p) of it.
    share = 1.0 - judged.probability
    for code, push in judged.contributions.items():
        if push is None or push == 0.0:
            continue
        if code == "base_rate":
            effect = 0.0 if usual.base_rate is None else (push - usual.base_rate) * share
            found.append((code, effect, judged.parts.get("base_win_rate") or push))
        elif code != "limit":
            found.append((code, push * share, push))
    return sorted(found, key=lambda reason: -abs(reason[1]))


def _against(value: float, usual: float | None) -> float:
    if usual is None or usual <= 0.0:
        return 0.0
    return max(math.log(value / usual), -_FURTHEST) if value > 0.0 else -_FURTHEST


def reasons(about: Situation, judged: Judged | None, usual: Usual) -> list[dict[str, Any]]:
    """The few reasons that tell most, in words."""
    if judged is None:
        if about.row["subject_type"] != "customer":
            return []
        return [{"code": "no_opportunity", "text": no_opportunity(about.language), "effect": 0.0, "value": None}]
    return [
        {"code": code, "text": sentence(code, about, judged), "effect": shown(effect), "value": shown(value)}
        for code, effect, value in effects(judged, usual)[:SHOWN]
    ]
