"""Wire types of the workspace's policy: every constant a judgement depends on, with its range and its default.

Names, defaults and ranges are those of the scoring core; a test holds the two together. Where the workspace's day
begins follows from its time zone and is no part of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from services.api.fields import Currency, Strict

MOST_RATES = 200


def _decimal_from_text(value: object) -> object:
    if isinstance(value, float | int):
        raise ValueError('a rate is a string, such as "7.12"')
    return value


Rate = Annotated[
    Decimal,
    BeforeValidator(_decimal_from_text),
    Field(gt=0, max_digits=22, decimal_places=12, allow_inf_nan=False),
    WithJsonSchema({"type": "string", "format": "decimal", "pattern": r"^\d{1,10}(\.\d{1,12})?$"}),
]
Seats = Annotated[int, Field(ge=0, le=10_000)]
Days = Annotated[float, Field(ge=1, le=365, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Signals = Annotated[int, Field(ge=1, le=50)]
InterestLevel = Annotated[int, Field(ge=1, le=3)]


class Capacities(Strict):
    """Seats a rep has, nested: engage within track within monitor."""

    engage: Seats = 16
    track: Seats = 100
    monitor: Seats = 400


class ShortLineCadence(Strict):
    """Days between contacts by band, for customers in a hurry."""

    engage: Days = 3.0
    track: Days = 7.0
    monitor: Days = 30.0
    backlog: Days = 90.0


class LongLineCadence(Strict):
    """Days between contacts by band, for customers who are not in a hurry."""

    engage: Days = 7.0
    track: Days = 21.0
    monitor: Days = 60.0
    backlog: Days = 120.0


class PolicyDocument(Strict):
    """All that a workspace sets; what it leaves out is the default."""

    urgency_half_life_days: float = Field(
        default=30.0, ge=1, le=365, allow_inf_nan=False, description="Urgency halves with every so many days of slack."
    )
    minimum_hours: float = Field(
        default=1.0, ge=0.1, le=40, allow_inf_nan=False, description="Fewer remaining hours count as this many."
    )
    cost_per_hour: float = Field(
        default=30.0,
        ge=0,
        le=100_000,
        allow_inf_nan=False,
        description="What an hour of selling costs, in the workspace's currency.",
    )
    capacities: Capacities = Field(default_factory=Capacities)
    hysteresis_margin: float = Field(
        default=1.10, ge=1, le=3, allow_inf_nan=False, description="How many times better a challenger must be."
    )
    pin_limit: int = Field(default=3, ge=0, le=100, description="Most subjects pinned to engage per rep.")
    cadence_short_days: ShortLineCadence = Field(default_factory=ShortLineCadence)
    cadence_long_days: LongLineCadence = Field(default_factory=LongLineCadence)
    class_b_meetings: int = Field(default=1, ge=0, le=20, description="Real meetings that class B asks for.")
    class_b_interest: InterestLevel = Field(default=1, description="Interest that class B asks for: weak is 1.")
    class_b_signals: Signals = Field(default=1, description="Signals that stand for the interest of class B.")
    class_c_interest: InterestLevel = Field(default=2, description="Interest that class C asks for: interested is 2.")
    class_c_signals: Signals = Field(default=3, description="Signals that stand for the interest of class C.")
    interest_dead_days: float = Field(
        default=60.0, ge=7, le=730, allow_inf_nan=False, description="Days without two-way contact: back to class A."
    )
    interest_dead_days_long: float = Field(
        default=180.0, ge=7, le=1460, allow_inf_nan=False, description="The same for long-line opportunities."
    )
    quiet_dead_days: Days = Field(default=21.0, description="The same after the customer went quiet or postponed.")
    qualified_budget: Threshold = 0.35
    qualified_timeline: Threshold = 0.25
    qualified_fit: Threshold = 0.5
    qualified_worth: Threshold = 0.3
    qualified_win_probability: Threshold = 0.2
    reopen_days: int = Field(
        default=90, ge=1, le=3650, description="Days within which a lost or abandoned opportunity may be reopened."
    )
    rates: dict[Currency, Rate] = Field(
        default_factory=dict,
        max_length=MOST_RATES,
        description="Units of the workspace's currency for one unit of each other currency.",
        examples=[{"USD": "7.12"}],
    )


class PolicyPatch(PolicyDocument):
    """Changes to the policy, as JSON merge-patch; null, or a name in `clear`, sets the default again."""

    clear: list[str] = Field(
        default_factory=list, description="Names to set to their default, such as `pin_limit` or `rates.USD`."
    )

    @model_validator(mode="before")
    @classmethod
    def nulls_clear(cls, data: Any) -> Any:
        return _without_nulls(data) if isinstance(data, Mapping) else data


def _without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its nulls named in `clear` instead."""
    kept: dict[str, Any] = {}
    cleared: list[str] = []
    for name, value in data.items():
        if value is None:
            cleared.append(name)
        elif isinstance(value, Mapping):
            kept[name] = {inner: each for inner, each in value.items() if each is not None}
            cleared += [f"{name}.{inner}" for inner, each in value.items() if each is None]
        else:
            kept[name] = value
    given = kept.get("clear", [])
    return kept | {"clear": [*given, *cleared] if isinstance(given, list) else given}


class Policy(PolicyDocument):
    """The policy of a workspace, complete with defaults."""

    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    updated_at: datetime
