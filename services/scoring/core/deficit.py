"""How many new A customers a rep needs (D9.7), from the rep's own rates from class to class."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

# How many observations the expected rate counts for: a rep's first win or loss moves a rate by about a tenth.
PRIOR_STRENGTH: Final = 8.0
# Where a workspace has no rates of its own yet: A to B, B to C, C to D.
DEFAULT_RATES: Final = (0.30, 0.35, 0.30)
# What a division leaves over is no customer.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Conversion:
    """Of `tried` subjects that stood in a class, `reached` went on to the next; both have been decided."""

    reached: int
    tried: int


Conversions = tuple[Conversion, Conversion, Conversion]
NOTHING_SEEN: Final = (Conversion(0, 0), Conversion(0, 0), Conversion(0, 0))


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


@dataclass(frozen=True, slots=True)
class Experience:
    """What was seen of a workspace's closed opportunities: of each rep's, and over all."""

    own: Mapping[bytes, Conversions]
    expected: tuple[float, float, float]

    @classmethod
    def none(cls) -> "Experience":
        """Of a workspace in which nothing has been closed yet."""
        return cls({}, DEFAULT_RATES)

    @classmethod
    def of(cls, counts: Mapping[bytes, tuple[int, int, int, int]]) -> "Experience":
        """From how many of each rep's closed opportunities there were, came to B, to C, and were won."""
        closed, to_b, to_c, won = (sum(column) for column in zip(*counts.values(), strict=True)) if counts else (0,) * 4
        seen = zip((to_b, to_c, won), (closed, to_b, to_c), DEFAULT_RATES, strict=True)
        first, second, third = (shrunken_rate(reached, tried, usual) for reached, tried, usual in seen)
        own = {owner: (Conversion(b, a), Conversion(c, b), Conversion(d, c)) for owner, (a, b, c, d) in counts.items()}
        return cls(own, (first, second, third))

    def deficit(self, owner: bytes, base: tuple[int, int, int], capacity: int) -> "Deficit":
        """What the base of one rep lacks for as many wins as a full base of new customers would bring."""
        return base_deficit(None, self.own.get(owner, NOTHING_SEEN), base, capacity, self.expected)


def base_deficit(
    target_wins: float | None,
    conversions: Conversions,
    base: tuple[int, int, int],
    capacity: int,
    expected_rates: tuple[float, float, float] = DEFAULT_RATES,
) -> Deficit:
    """What is needed for `target_wins` more wins, given the subjects of class A, B and C in `base`.

    `conversions` are the rep's own, from A to B, B to C and C to D; `expected_rates` those of the workspace. Where no
    target is set it is what a base of `capacity` new customers would win.
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
    missing = capacity * product if target_wins is None else max(target_wins, 0.0)
    empty = max(capacity - sum(base), 0)
    return Deficit(
        rates=(to_b, to_c, to_d),
        yield_of_a=product,
        needed_customers=ceil(missing / product - _ROUNDING),
        expected_wins=expected_wins,
        needed_new_customers=ceil(max(missing - expected_wins, 0.0) / product - _ROUNDING),
        empty_seats=empty,
        below_capacity=empty > 0,
    )
