"""How many new A customers a rep needs (D9.7), from the rep's own rates from class to class."""

from dataclasses import dataclass
from math import ceil
from typing import Final

# How many observations the expected rate counts for: a rep's first win or loss moves a rate by about a tenth.
PRIOR_STRENGTH: Final = 8.0
# Where a workspace has no rates of its own yet: A to B, B to C, C to D.
DEFAULT_RATES: Final = (0.30, 0.35, 0.30)


@dataclass(frozen=True, slots=True)
class Conversion:
    """Of `tried` subjects that stood in a class, `reached` went on to the next; both have been decided."""

    reached: int
    tried: int


@dataclass(frozen=True, slots=True)
class Deficit:
    """What a rep's base lacks. Counts are customers; rates are shares from A to B, B to C and C to D."""

    rates: tuple[float, float, float]
    yield_of_a: float  # wins expected of one A customer: the product of the rates
    needed_customers: int  # A customers that the wins still missing take, from nothing
    expected_wins: float  # wins expected of the present base
    needed_new_customers: int  # A customers needed beyond the present base
    empty_seats: int
    below_capacity: bool


def shrunken_rate(reached: float, tried: float, expected: float, strength: float = PRIOR_STRENGTH) -> float:
    """A rate pulled toward the `expected` one as if that had been seen `strength` times.

    Raises `ValueError` unless 0 <= reached <= tried, 0 <= expected <= 1 and strength > 0.
    """
    if not (0 <= reached <= tried and 0 <= expected <= 1 and strength > 0):
        raise ValueError(f"no rate: {reached!r} of {tried!r} with {expected!r} expected at strength {strength!r}")
    return (reached + expected * strength) / (tried + strength)


def base_deficit(
    target_wins: float,
    conversions: tuple[Conversion, Conversion, Conversion],
    base: tuple[int, int, int],
    capacity: int,
    expected_rates: tuple[float, float, float] = DEFAULT_RATES,
) -> Deficit:
    """What is needed for `target_wins` more wins, given the subjects of class A, B and C in `base`.

    `conversions` are the rep's own, from A to B, B to C and C to D; `expected_rates` those of the workspace.
    Raises `ValueError` when an expected rate is 0, for then no number of customers would do.
    """
    if min(expected_rates) <= 0.0:
        raise ValueError("expected rates from class to class must be above 0")
    to_b, to_c, to_d = (
        shrunken_rate(own.reached, own.tried, expected)
        for own, expected in zip(conversions, expected_rates, strict=True)
    )
    product = to_b * to_c * to_d
    expected_wins = base[0] * product + base[1] * to_c * to_d + base[2] * to_d
    missing = max(target_wins, 0.0)
    empty = max(capacity - sum(base), 0)
    return Deficit(
        rates=(to_b, to_c, to_d),
        yield_of_a=product,
        needed_customers=ceil(missing / product),
        expected_wins=expected_wins,
        needed_new_customers=ceil(max(missing - expected_wins, 0.0) / product),
        empty_seats=empty,
        below_capacity=empty > 0,
    )
