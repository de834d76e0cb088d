"""Columns of a block of facts beside the day they are seen on: what every part of the judgement reads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.facts import NUMBER_FIELDS, Bools, Floats, OpportunityFacts
from services.scoring.core.policy import Policy

_ROW = {name: position for position, name in enumerate(NUMBER_FIELDS)}


@dataclass(frozen=True, slots=True)
class View:
    """`matrix` (len(NUMBER_FIELDS), n) of one block, `today` its day number in the workspace's zone.

    Ages are whole days of the calendar, so that a judgement moves at midnight and not in between.
    """

    matrix: Floats
    today: float
    policy: Policy

    @classmethod
    def of(cls, facts: OpportunityFacts, policy: Policy, now: float) -> "View":
        """The view of all rows of `facts` at `now`."""
        matrix = np.empty((len(NUMBER_FIELDS), len(facts)))
        for row, name in enumerate(NUMBER_FIELDS):
            matrix[row] = facts.rows[name]
        return cls(matrix, policy.today(now), policy)

    def __getitem__(self, name: str) -> Floats:
        row: Floats = self.matrix[_ROW[name]]
        return row

    def known(self, name: str) -> Bools:
        """Where the field is known."""
        return ~np.isnan(self[name])

    def day(self, name: str) -> Floats:
        """Day number of a moment in the workspace's zone."""
        return np.floor(self[name] + self.policy.utc_offset_hours / 24.0)

    def age(self, name: str) -> Floats:
        """Whole days since a moment, 0 when it lies ahead, NaN when it is unknown."""
        return np.maximum(self.today - self.day(name), 0.0)

    @property
    def long_line(self) -> Bools:
        """On the long line; an unknown line counts as short."""
        return self["line"] > 0.5

    @property
    def resting(self) -> Bools:
        """On the long line with the day of resuming still ahead: silence until then is agreed."""
        return self.long_line & (self["resume_on"] > self.today)

    @property
    def step_ahead(self) -> Bools:
        """A next step stands for today or later."""
        return self["next_step_on"] >= self.today

    @property
    def days_left(self) -> Floats:
        """Days to the purchase date, 0 when it has passed, NaN when unknown."""
        return np.maximum(self["purchase_date"] - self.today, 0.0)

    @property
    def days_needed(self) -> Floats:
        """Typical days of the remaining stages, NaN when unknown."""
        return self["remaining_days"]


def rows_of(names: tuple[str, ...]) -> NDArray[np.intp]:
    """Row numbers of `names` in `View.matrix`."""
    return np.array([_ROW[name] for name in names], dtype=np.intp)


def mask_of(bits: Bools | Floats) -> Floats:
    """Masks of the rows of `bits` (k, n), bit k from row k, as whole float64 numbers: exact up to 53 codes."""
    return np.exp2(np.arange(bits.shape[0])) @ np.asarray(bits, dtype=np.float64)
