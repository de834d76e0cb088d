"""Medians that stand in for unknown parts of a priority (§14)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.codes import IMPUTED
from services.scoring.core.facts import Bools, Floats, OpportunityFacts, Uuids
from services.scoring.core.policy import Policy
from services.scoring.core.priority import expected_margin, slack_days
from services.scoring.core.view import View

# Used only where no open opportunity of the workspace knows the part. Being the same for all, they order
# nothing: they keep a priority finite, and are reported as imputed.
DEFAULTS: Final[dict[str, float]] = {
    "margin": 1_000.0,
    "margin_rate": 0.3,
    "delivery_cost_share": 0.0,  # a gross margin rate already covers ordinary delivery
    "delivery_risk": 0.0,
    "payment_risk": 0.0,
    "win_rate": 0.2,
    "slack_days": 30.0,
    "remaining_days": 60.0,
    "remaining_hours": 20.0,
}
_DEFAULTS: Final = np.array([DEFAULTS[code] for code in IMPUTED])

# Odd multipliers that fold the halves of a uuid into one key; the first that keeps the processes apart is
# used.
_MULTIPLIERS: Final = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


@dataclass(frozen=True, slots=True)
class Medians:
    """Medians of the parts in `IMPUTED`, per process and over all.

    `process_ids` (P,) V16, distinct; `values` (P + 1, len(IMPUTED)) with the last row over all processes; NaN
    where nobody knows the part.
    """

    process_ids: Uuids
    values: Floats

    @classmethod
    def none(cls) -> "Medians":
        """Of a workspace without any open opportunity: everything falls to the defaults."""
        return cls(np.zeros(0, dtype="V16"), np.full((1, len(IMPUTED)), np.nan))

    def stand_ins(self, process_ids: Uuids) -> Floats:
        """What stands in for each unknown part of each opportunity: (len(IMPUTED), n), never NaN.

        The median of its process; where none of that process knows the part, of all processes; then the
        default.
        """
        everywhere = np.where(np.isnan(self.values[-1]), _DEFAULTS, self.values[-1])
        filled = np.where(np.isnan(self.values), everywhere, self.values)
        if len(filled) == 1:
            return np.repeat(filled.T, len(process_ids), axis=1)
        return np.ascontiguousarray(filled.T[:, index_of(self.process_ids, process_ids)])


def _halves(ids: Uuids) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    pairs = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _keys(ids: Uuids, multiplier: int) -> NDArray[np.uint64]:
    first, second = _halves(ids)
    return first * np.uint64(multiplier) ^ second


def index_of(known: Uuids, wanted: Uuids) -> NDArray[np.intp]:
    """Position of each `wanted` uuid in `known` (distinct, at least one), `len(known)` where it is not there.

    Raises `ValueError` when `known` holds one uuid twice.
    """
    for multiplier in _MULTIPLIERS:
        keys = _keys(known, multiplier)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        if not bool(np.any(keys[1:] == keys[:-1])):
            break
    else:
        raise ValueError("a process stands twice among the medians")
    found = order[np.minimum(np.searchsorted(keys, _keys(wanted, multiplier)), len(keys) - 1)]
    return np.where(_same(known[found], wanted), found, len(known))


def _same(left: Uuids, right: Uuids) -> Bools:
    (left_first, left_second), (right_first, right_second) = _halves(left), _halves(right)
    same: Bools = (left_first == right_first) & (left_second == right_second)
    return same


def _distinct(ids: Uuids) -> tuple[Uuids, NDArray[np.intp]]:
    """The distinct uuids among `ids`, and for each of `ids` its position there."""
    for multiplier in _MULTIPLIERS:
        _, first, group = np.unique(_keys(ids, multiplier), return_index=True, return_inverse=True)
        distinct = ids[first]
        if bool(_same(distinct[group], ids).all()):
            return distinct, group
    raise ValueError("the ids of the processes could not be told apart")


def medians_of(facts: OpportunityFacts, policy: Policy, now: float) -> Medians:
    """Medians over the known parts of `facts` (the open opportunities of one workspace) as of `now`.

    The medians of margin and slack are taken over those whose amount, or purchase date, is known; what else
    is unknown in them stands in from the simpler medians first.
    """
    if not len(facts):
        return Medians.none()
    view = View.of(facts, policy, now)
    process_ids, group = _distinct(facts.uuids("process_id"))
    ingredients = {
        "margin_rate": view["margin_rate"],
        "delivery_cost_share": _share(view["cost_to_deliver"], view["amount"]),
        "delivery_risk": view["delivery_risk"],
        "payment_risk": view["payment_risk"],
        "win_rate": view["remaining_win_rate"],
        "remaining_days": view["remaining_days"],
        "remaining_hours": view["remaining_hours"],
    }
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(len(process_ids) + 1))
    values = np.full((len(process_ids) + 1, len(IMPUTED)), np.nan)
    for code, column in ingredients.items():
        values[:, IMPUTED.index(code)] = _grouped_medians(column, order, bounds)
    stand_ins = Medians(process_ids, values).stand_ins(facts.uuids("process_id"))
    margin, _ = expected_margin(view, stand_ins)
    slack, _ = slack_days(view, stand_ins)
    for code, column, usable in (
        ("margin", margin, view.known("amount")),
        ("slack_days", slack, view.known("purchase_date")),
    ):
        seen = np.where(usable, column, np.nan)
        values[:, IMPUTED.index(code)] = _grouped_medians(seen, order, bounds)
    return Medians(process_ids, values)


def _share(cost: Floats, amount: Floats) -> Floats:
    usable: Bools = amount > 0
    return np.where(usable, cost / np.where(usable, amount, 1.0), np.nan)


def _grouped_medians(column: Floats, order: NDArray[np.intp], bounds: NDArray[np.intp]) -> Floats:
    """Medians of the known entries by group, then over all: (groups + 1,), NaN where none is known.

    `order` sorts the rows by group, `bounds` are where the groups begin and end in it.
    """
    column = column[order]
    groups = [column[start:end] for start, end in pairwise(bounds)]
    return np.array([_median(group[~np.isnan(group)]) for group in (*groups, column)])


def _median(known: Floats) -> float:
    return float(np.median(known)) if len(known) else np.nan
