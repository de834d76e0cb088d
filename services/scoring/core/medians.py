"""Medians that stand in for unknown parts of a priority (§14)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.codes import IMPUTED
from services.scoring.core.facts import Floats, OpportunityFacts, Uuids
from services.scoring.core.policy import Policy

# Used only where no open opportunity of the workspace knows the part. Being the same for all, they order
# nothing: they keep a priority finite and are reported as imputed.
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


@dataclass(frozen=True, slots=True)
class Medians:
    """Medians of the parts in `IMPUTED`, per process and over all.

    `process_ids` (P,) V16, distinct; `values` (P + 1, len(IMPUTED)) with the last row over all processes;
    NaN where nobody knows the part.
    """

    process_ids: Uuids
    values: Floats

    @classmethod
    def none(cls) -> "Medians":
        """Of a workspace without any open opportunity: everything falls to the defaults."""
        return cls(np.zeros(0, dtype="V16"), np.full((1, len(IMPUTED)), np.nan))


def medians_of(facts: OpportunityFacts, policy: Policy, now: float) -> Medians:
    """Medians over the known parts of `facts` (the open opportunities of one workspace) as of `now`."""
    raise NotImplementedError
