"""The core's judgement over a batch, so that one row it can't judge does not take the others with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.facts import OpportunityFacts
from services.scoring.core.judge import Judgement, judge
from services.scoring.core.medians import Medians
from services.scoring.core.policy import Policy

# What wrong data or a fault of the core raises. Trouble with the connection is none of these.
POISON: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)

Judge = Callable[[OpportunityFacts, Policy, Medians, float, NDArray[np.int8] | None], Judgement]
_COLUMNS: Final = tuple(field.name for field in fields(Judgement))


def judge_all(
    facts: OpportunityFacts,
    policy: Policy,
    medians: Medians,
    now: float,
    bands: NDArray[np.int8],
    judged_by: Judge = judge,
) -> tuple[NDArray[np.bool_], Judgement | None, Exception | None]:
    """Which rows could be judged (n,), the judgement of those, and the last error of those that could not.

    A failing batch is halved until the rows that make it fail stand alone: O(k log n) more judgements for k of them.
    """
    fine = np.ones(len(facts), dtype=np.bool_)
    parts: list[Judgement] = []
    error: Exception | None = None
    pending = [slice(0, len(facts))]
    while pending:
        part = pending.pop()
        try:
            parts.append(judged_by(facts[part], policy, medians, now, bands[part]))
        except POISON as found:
            error = found
            if part.stop - part.start <= 1:
                fine[part] = False
                continue
            middle = (part.start + part.stop) // 2
            pending += [slice(middle, part.stop), slice(part.start, middle)]
    return fine, join(parts) if parts else None, error


def join(parts: list[Judgement]) -> Judgement:
    """Several judgements as one, row after row."""
    if len(parts) == 1:
        return parts[0]
    return Judgement(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})


def rejudge(
    judgement: Judgement,
    rows: NDArray[np.intp],
    facts: OpportunityFacts,
    policy: Policy,
    medians: Medians,
    now: float,
    bands: NDArray[np.int8],
    judged_by: Judge = judge,
) -> None:
    """Judges `rows` once more for the bands (n,) they have come to, in place: their cadence depends on them."""
    again: Any = judged_by(facts[rows], policy, medians, now, bands[rows])
    for name in _COLUMNS:
        getattr(judgement, name)[rows] = getattr(again, name)
