"""Codes of everything a judgement says, in the order of the columns and bits they name.

The core knows no sentences. Codes are stable: one never changes its meaning; a new one is appended and
`MODEL_VERSION` moves.
"""

from enum import IntEnum
from typing import Final

MODEL_VERSION: Final = "prior-2"


class CustomerClass(IntEnum):
    """How far evidence has carried a subject (D9.1). D is reached only by winning, outside this core."""

    A = 0
    B = 1
    C = 2
    D = 3


class Band(IntEnum):
    """Result of the triage, innermost first. `NONE`: the subject held no seat before."""

    NONE = -1
    ENGAGE = 0
    TRACK = 1
    MONITOR = 2
    BACKLOG = 3
    MUTED = 4


class SubjectKind(IntEnum):
    """What takes a seat: an open opportunity, or a customer that has none."""

    OPPORTUNITY = 0
    CUSTOMER = 1


# Columns of `Judgement.criteria` (D6.1 to D6.5).
CRITERIA: Final = ("budget", "timeline", "fit", "worth", "win_probability")

# Columns of `Judgement.contributions`: pushes on the log-odds that add up to them.
FACTORS: Final = (
    "base_rate",
    "need",
    "pain",
    "interest",
    "interest_signals",
    "confidence",
    "quiet",
    "meetings",
    "contact_age",
    "reciprocity",
    "coach",
    "executive",
    "breadth",
    "budget_firmness",
    "budget_cover",
    "date_firmness",
    "date_slips",
    "time_fit",
    "date_overdue",
    "fit",
    "rival",
    "stage_pace",
    "next_step",
    "promises",
    "handover",
    "attributes",
    "limit",
)

# Columns of `Judgement.parts`: the numbers behind criteria, priority and cadence.
PARTS: Final = (
    "budget_firmness",
    "budget_cover",
    "nearness",
    "date_firmness",
    "time_fit",
    "date_steadiness",
    "fit_score",
    "fit_lead",
    "selling_cost",
    "net_worth",
    "base_win_rate",
    "cadence_days",
    "known_share",
)

# Bits of `Judgement.flags`.
FLAGS: Final = (
    "purchase_date_overdue",
    "qualified",
    "cadence_due",
    "cadence_overdue",
    "being_forgotten",
    "interest_dead",
    "resting",
    "gone_quiet",
    "no_next_step",
    "next_step_overdue",
    "no_coach",
    "no_executive",
    "promise_overdue",
    "stage_stalled",
    "time_too_short",
    "date_slipping",
    "unprofitable",
    "little_known",
    "never_contacted",
    "class_from_stage",
    "class_held_down",
)

# Bits of `Judgement.unknowns`: facts the judgement would have leaned on.
UNKNOWNS: Final = (
    "amount",
    "margin_rate",
    "cost_to_deliver",
    "delivery_risk",
    "payment_risk",
    "budget_amount",
    "budget_status",
    "purchase_date",
    "purchase_date_firmness",
    "purchase_date_slips",
    "fit_score",
    "rival_fit_score",
    "need_known",
    "pain_known",
    "line",
    "stage_entered_at",
    "stage_typical_days",
    "remaining_win_rate",
    "remaining_days",
    "remaining_hours",
    "two_way_count",
    "meeting_count",
    "last_two_way_at",
    "positive_signals",
    "negative_signals",
    "confidence",
    "contact_count",
    "has_coach",
    "has_executive",
    "promises_kept",
    "promises_broken",
    "promises_overdue",
    "interest",
)

# Bits of `Judgement.imputed`: parts of the priority that were unknown and took a median. The columns of
# `Medians.values`.
IMPUTED: Final = (
    "margin",
    "margin_rate",
    "delivery_cost_share",
    "delivery_risk",
    "payment_risk",
    "win_rate",
    "slack_days",
    "remaining_days",
    "remaining_hours",
)

# Why a subject moved to another band.
CAUSES: Final = (
    "none",
    "arrived",
    "reassigned",
    "muted",
    "mute_ended",
    "pinned",
    "pin_ended",
    "class_gained",
    "class_lost",
    "seat_freed",
    "seat_vacant",
    "overtook",
    "displaced",
    "capacity_changed",
)


def bit(codes: tuple[str, ...], code: str) -> int:
    """The mask of one code: `flags & bit(FLAGS, "qualified")`. Raises `ValueError` for an unknown code."""
    return 1 << codes.index(code)
