"""The facts of opportunities as one structured array: the only input of a judgement.

`FIELDS` is the one place that lists them. Whoever fills the array takes the order, names and kinds from here.

Every number is a float64 in which NaN means *unknown* (never 0). A `TIME` is days since the Unix epoch in
UTC, with a fraction. A `DATE` is the day number of a calendar date in the workspace's time zone, a whole
number (1970-01-01 is 0). Money is in the workspace's currency. A uuid is 16 bytes, all zero for none.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Uuids = NDArray[np.void]

NO_UUID: Final = bytes(16)
UNKNOWN: Final = float("nan")


class Kind(StrEnum):
    """What a field holds; all but `UUID` are stored as float64."""

    UUID = "uuid"
    TIME = "time"
    DATE = "date"
    MONEY = "money"
    SHARE = "share"  # 0..1
    COUNT = "count"
    DAYS = "days"
    HOURS = "hours"
    CODE = "code"  # a small whole number whose meanings stand beside the field
    FLAG = "flag"  # 0 or 1
    LOG_ODDS = "log_odds"


FIELDS: Final[tuple[tuple[str, Kind], ...]] = (
    ("id", Kind.UUID),
    ("customer_id", Kind.UUID),
    ("owner_id", Kind.UUID),
    ("process_id", Kind.UUID),
    ("created_at", Kind.TIME),
    # Worth (D6.4): price, gross margin as a share of it, what delivery costs beyond that margin, and what
    # may go wrong.
    ("amount", Kind.MONEY),
    ("margin_rate", Kind.SHARE),
    ("cost_to_deliver", Kind.MONEY),
    ("delivery_risk", Kind.SHARE),
    ("payment_risk", Kind.SHARE),
    # Budget (D6.1).
    ("budget_amount", Kind.MONEY),
    ("budget_status", Kind.CODE),  # 0 none, 1 indicated, 2 requested, 3 approved, 4 locked
    # Timeline (D6.2).
    ("purchase_date", Kind.DATE),
    ("purchase_date_firmness", Kind.CODE),  # 0 guessed, 1 stated, 2 firm
    ("purchase_date_slips", Kind.COUNT),
    # Fit (D6.3).
    ("fit_score", Kind.SHARE),
    ("rival_fit_score", Kind.SHARE),
    # What is known of the customer's case, and the line it is on (D8.3).
    ("need_known", Kind.FLAG),
    ("pain_known", Kind.FLAG),
    ("line", Kind.CODE),  # 0 short, 1 long
    ("resume_on", Kind.DATE),
    # Where it stands (D7).
    ("stage_position", Kind.COUNT),  # 0-based
    ("stage_entered_at", Kind.TIME),
    ("stage_typical_days", Kind.DAYS),
    ("stage_class", Kind.CODE),  # 0 A, 1 B, 2 C: the class that standing in this stage evidences
    (
        "remaining_win_rate",
        Kind.SHARE,
    ),  # base win rates multiplied, up to and including the winning milestone
    ("remaining_days", Kind.DAYS),
    ("remaining_hours", Kind.HOURS),
    # Contact (D8). A meeting counts when it really took place.
    ("two_way_count", Kind.COUNT),
    ("meeting_count", Kind.COUNT),
    ("last_two_way_at", Kind.TIME),
    ("last_touch_at", Kind.TIME),
    ("positive_signals", Kind.COUNT),  # over the last 90 days
    ("negative_signals", Kind.COUNT),  # over the last 90 days
    ("quiet_signal_at", Kind.TIME),  # the last "goes quiet" or "postpones"
    ("confidence", Kind.SHARE),  # the rep's last reading of the customer
    ("contact_count", Kind.COUNT),
    ("has_coach", Kind.FLAG),
    ("has_executive", Kind.FLAG),
    ("next_step_on", Kind.DATE),  # earliest open next step or task
    ("promises_kept", Kind.COUNT),
    ("promises_broken", Kind.COUNT),
    ("promises_overdue", Kind.COUNT),
    ("source_rate", Kind.SHARE),  # kept for the learning models; this model does not read it
    ("interest", Kind.CODE),  # 0 none, 1 shown, 2 firmer, 3 firm
    ("owner_changed_at", Kind.TIME),
    # What the workspace's own attributes push on the log-odds, each within ±1 (unknown: none is to count).
    ("attribute_push", Kind.LOG_ODDS),
)

UUID_FIELDS: Final = tuple(name for name, kind in FIELDS if kind is Kind.UUID)
NUMBER_FIELDS: Final = tuple(name for name, kind in FIELDS if kind is not Kind.UUID)
DTYPE: Final = np.dtype([(name, "V16" if kind is Kind.UUID else "f8") for name, kind in FIELDS])


@dataclass(frozen=True, slots=True)
class OpportunityFacts:
    """Facts of n opportunities, known at one moment.

    `rows` is a one-dimensional structured array with at least the fields of `FIELDS`: uuids of 16 bytes,
    numbers float64 in either byte order (so that records read straight from a binary COPY need no
    conversion; padding is allowed).

    Raises `ValueError` when a field is missing or of another type.
    """

    rows: NDArray[np.void]

    def __post_init__(self) -> None:
        names = self.rows.dtype.names or ()
        missing = [name for name, _ in FIELDS if name not in names]
        if missing or self.rows.ndim != 1:
            raise ValueError(f"facts must be a one-dimensional structured array; missing fields: {missing}")
        for name, kind in FIELDS:
            found = self.rows.dtype[name]
            if (found.kind, found.itemsize) != (("V", 16) if kind is Kind.UUID else ("f", 8)):
                raise ValueError(f"field {name} must be {'16 bytes' if kind is Kind.UUID else 'float64'}, not {found}")

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def __getitem__(self, part: slice | Bools | NDArray[np.intp]) -> "OpportunityFacts":
        """The opportunities that `part` selects."""
        return OpportunityFacts(self.rows[part])

    def numbers(self, name: str) -> Floats:
        """One number field, shape (n,), contiguous and in native byte order."""
        return np.ascontiguousarray(self.rows[name], dtype=np.float64)

    def uuids(self, name: str) -> Uuids:
        """One uuid field, shape (n,), dtype V16."""
        return np.ascontiguousarray(self.rows[name])


def unknown_facts(count: int) -> NDArray[np.void]:
    """Rows of `count` opportunities of which nothing is known: numbers NaN, uuids none."""
    rows: NDArray[np.void] = np.zeros(count, dtype=DTYPE)
    for name in NUMBER_FIELDS:
        rows[name] = UNKNOWN
    return rows


def make_facts(count: int = 1, **values: Any) -> OpportunityFacts:
    """Facts in which only `values` are known; each value is a scalar or an array of `count` entries.

    A uuid is given as 16 bytes (or as an array of dtype V16).
    """
    rows = unknown_facts(count)
    for name, value in values.items():
        rows[name] = np.void(value) if isinstance(value, bytes) else value
    return OpportunityFacts(rows)
