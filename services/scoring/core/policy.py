"""The constants of a workspace that a judgement depends on, each with the range it may be set in."""

from dataclasses import dataclass, fields
from typing import Final

from services.scoring.core.codes import Band

# Inclusive bounds of each single number; the tuples are checked element by element.
RANGES: Final[dict[str, tuple[float, float]]] = {
    "urgency_half_life_days": (1, 365),
    "hysteresis_margin": (1, 3),
    "minimum_hours": (0.1, 40),
    "cost_per_hour": (0, 100_000),
    "capacities": (0, 10_000),
    "pin_limit": (0, 100),
    "cadence_short_days": (1, 365),
    "cadence_long_days": (1, 365),
    "interest_dead_days": (7, 730),
    "interest_dead_days_long": (7, 1460),
    "quiet_dead_days": (1, 365),
    "class_b_meetings": (0, 20),
    "class_b_interest": (1, 3),
    "class_c_interest": (1, 3),
    "class_b_signals": (1, 50),
    "class_c_signals": (1, 50),
    "qualified_budget": (0, 1),
    "qualified_timeline": (0, 1),
    "qualified_fit": (0, 1),
    "qualified_worth": (0, 1),
    "qualified_win_probability": (0, 1),
    "utc_offset_hours": (-12, 14),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """Constants of DOMAIN §9 and §14. Raises `ValueError` naming the constant that is out of its range."""

    # Priority (§14): urgency halves every so many days of slack; fewer hours than the minimum count as the
    # minimum.
    urgency_half_life_days: float = 30.0
    minimum_hours: float = 1.0
    # Worth (D6.4): what an hour of selling costs, in the workspace's currency.
    cost_per_hour: float = 30.0

    # Triage (D9.3, D9.5): nested capacities of engage, track and monitor; how much better a challenger must
    # be.
    capacities: tuple[int, int, int] = (16, 100, 400)
    hysteresis_margin: float = 1.10
    pin_limit: int = 3

    # Cadence (D8.3): days between contacts by band: engage, track, monitor, backlog.
    cadence_short_days: tuple[float, float, float, float] = (3.0, 7.0, 30.0, 90.0)
    cadence_long_days: tuple[float, float, float, float] = (7.0, 21.0, 60.0, 120.0)

    # Class (D9.1): evidence asked for B and C, and when an interest counts as dead.
    class_b_meetings: int = 1
    class_b_interest: int = 1
    class_b_signals: int = 1
    class_c_interest: int = 2
    class_c_signals: int = 3
    interest_dead_days: float = 60.0
    interest_dead_days_long: float = 180.0
    quiet_dead_days: float = 21.0

    # Qualification (D6.6): what each criterion must reach.
    qualified_budget: float = 0.35
    qualified_timeline: float = 0.25
    qualified_fit: float = 0.5
    qualified_worth: float = 0.3
    qualified_win_probability: float = 0.2

    # The workspace's present distance from UTC: days begin at its midnight.
    utc_offset_hours: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = RANGES[field.name]
            value = getattr(self, field.name)
            for number in value if isinstance(value, tuple) else (value,):
                if not low <= number <= high:
                    raise ValueError(f"policy.{field.name} must lie between {low:g} and {high:g}, not {number!r}")
        for name, size in (("capacities", 3), ("cadence_short_days", 4), ("cadence_long_days", 4)):
            if len(getattr(self, name)) != size:
                raise ValueError(f"policy.{name} must have {size} entries, by band from {Band(0).name.lower()}")
        if not self.capacities[0] <= self.capacities[1] <= self.capacities[2]:
            raise ValueError("policy.capacities must not fall from engage over track to monitor")

    @property
    def qualification(self) -> tuple[float, float, float, float, float]:
        """Thresholds in the order of `CRITERIA`."""
        return (
            self.qualified_budget,
            self.qualified_timeline,
            self.qualified_fit,
            self.qualified_worth,
            self.qualified_win_probability,
        )

    def today(self, now: float) -> float:
        """Day number of the workspace's calendar date at `now` (days since the Unix epoch, UTC)."""
        return float((now + self.utc_offset_hours / 24.0) // 1.0)

    def day_start(self, day: float) -> float:
        """Moment (days since the Unix epoch, UTC) at which the workspace's day number `day` begins."""
        return day - self.utc_offset_hours / 24.0
