"""The triage of one owner's subjects (D9.3 to D9.6, §14): who is engaged, tracked, monitored, and who must wait.

Bands are nested sets: the engaged are within the tracked, those within the monitored. Each border is drawn from the
inside out over the subjects whose class allows it, by the same rule (`_draw`): who was inside stays, free seats go
to the best outside at once, and a full border opens only to a challenger better by the policy's margin.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.cadence import HIGHEST_BAND
from services.scoring.core.codes import Band, SubjectKind
from services.scoring.core.facts import Bools, Floats, Uuids
from services.scoring.core.policy import Policy

Indices = NDArray[np.intp]
Bands = NDArray[np.int8]
SEATED: Final = (Band.ENGAGE, Band.TRACK, Band.MONITOR)


@dataclass(frozen=True, slots=True)
class Subjects:
    """The n subjects of one owner: open opportunities, and customers that have none. Ids are distinct.

    `previous_band` is `Band.NONE` for one that held no seat with this owner. A pin (`pin_band`, else `Band.NONE`)
    holds while `pin_until` lies ahead, a mute while `mute_until` does (days since the Unix epoch, NaN for none);
    both are ignored for a reassigned subject, whose former seat was another owner's. `previous_class` (-1 unknown)
    only serves to name causes.

    Raises `ValueError` when the lengths differ or a priority or nearness is not finite.
    """

    id: Uuids
    kind: NDArray[np.int8]
    class_code: NDArray[np.int8]
    priority: Floats
    nearness: Floats  # slack days: fewer is nearer
    previous_band: Bands
    previous_class: NDArray[np.int8]
    pin_band: Bands
    pin_until: Floats
    mute_until: Floats
    reassigned: Bools

    def __post_init__(self) -> None:
        count = len(self.id)
        columns = [getattr(self, name) for name in self.__slots__]
        if any(column.shape != (count,) for column in columns):
            raise ValueError(f"every column of the subjects must have shape ({count},)")
        if not bool(np.isfinite(self.priority).all() and np.isfinite(self.nearness).all()):
            raise ValueError("priority and nearness of a subject must be finite numbers")

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Departed:
    """Subjects that held a seat with this owner and are no longer among the subjects: closed, reassigned, deleted."""

    id: Uuids
    previous_band: Bands

    @classmethod
    def none(cls) -> "Departed":
        """Nobody left."""
        return cls(np.zeros(0, dtype="V16"), np.zeros(0, dtype=np.int8))


@dataclass(frozen=True, slots=True)
class Border:
    """How one border was drawn; every field holds subject numbers, best first unless said."""

    inside: Indices
    filled: Indices  # took a free seat
    entered: Indices  # beat an incumbent ...
    left: Indices  # ... the one at the same position here
    crowded_out: Indices  # had to go because fewer seats were left, weakest first


@dataclass(frozen=True, slots=True)
class Seating:
    """The bands of n subjects and how they came about."""

    band: Bands  # (n,)
    order: Indices  # (n,) subject numbers by rank
    rank: NDArray[np.int32]  # (n,) from 1; 0 for the muted
    gate: Bands  # (n,) innermost band that kind and class allow
    pinned: Bools  # (n,) held by a pin that was honoured
    muted: Bools
    borders: tuple[Border, Border, Border]
    vacant: tuple[int, int, int]  # seats left empty in engage, and within track and monitor
    lacking_class: tuple[
        int, int
    ]  # of engage and track: empty seats that outer subjects could take but for their class


def gates(subjects: Subjects) -> Bands:
    """The innermost band each subject may hold, by its class; a customer without opportunity is monitored at most."""
    gate = HIGHEST_BAND[subjects.class_code]
    return np.where(subjects.kind == SubjectKind.CUSTOMER, np.int8(Band.MONITOR), gate)


def former_band(subjects: Subjects) -> Bands:
    """The band that makes a subject an incumbent: another owner's seat is none, and `MUTED` lies beyond all borders."""
    return np.where(subjects.reassigned, np.int8(Band.NONE), subjects.previous_band)


def seat(subjects: Subjects, policy: Policy, now: float) -> Seating:
    """Seats the subjects as of `now` (days since the Unix epoch, UTC).

    Same subjects, same previous bands, same time: same result, in whatever order the subjects are given. Seating
    again with the result as the previous bands changes nothing.
    """
    count = len(subjects)
    best = _best_first(subjects)
    gate = gates(subjects)
    muted = (subjects.mute_until > now) & ~subjects.reassigned
    previous = former_band(subjects)
    pin = _honoured_pins(subjects, policy, now, gate, muted)

    band = np.full(count, Band.BACKLOG, dtype=np.int8)
    band[muted] = Band.MUTED
    pinned = np.zeros(count, dtype=np.bool_)
    borders = []
    taken = 0
    for level in SEATED:
        wanted = pin == level
        # One that is pinned further out does not come in here, one pinned here comes before all others.
        candidates = (band == Band.BACKLOG) & (gate <= level) & ((pin == Band.NONE) | (pin <= level))
        inside_before = (previous != Band.NONE) & (previous <= level)
        border = _draw(
            best[candidates[best]],
            first=wanted,
            incumbent=inside_before,
            priority=subjects.priority,
            seats=max(policy.capacities[level] - taken, 0),
            margin=policy.hysteresis_margin,
        )
        band[border.inside] = level
        pinned[border.inside] = wanted[border.inside]
        taken += len(border.inside)
        borders.append(border)

    order = best[np.argsort(band[best], kind="stable")]
    rank = np.zeros(count, dtype=np.int32)
    rank[order] = np.arange(1, count + 1)
    rank[muted] = 0
    vacant, lacking = _shortages(band, gate, policy)
    return Seating(band, order, rank, gate, pinned, muted, (borders[0], borders[1], borders[2]), vacant, lacking)


def _best_first(subjects: Subjects) -> Indices:
    """Subject numbers by priority (highest first), nearness (nearest first), id."""
    first, second = _halves(subjects.id)
    return np.lexsort((second, first, subjects.nearness, -subjects.priority))


def _halves(ids: Uuids) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The halves of uuids as numbers in the order of their bytes."""
    halves = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    return halves[:, 0], halves[:, 1]


def _honoured_pins(subjects: Subjects, policy: Policy, now: float, gate: Bands, muted: Bools) -> Bands:
    """The band each subject is pinned to, `Band.NONE` where no pin holds.

    A pin does not hold against the class, nor beyond the limit of pins per band. Over the limit the pins that last
    longest hold (then by id): a choice that neither priorities nor seats can turn, so that it cannot flap.
    """
    pin = np.where(subjects.pin_until > now, subjects.pin_band, Band.NONE).astype(np.int8)
    pin[muted | subjects.reassigned | (gate > pin) | (pin > Band.MONITOR)] = Band.NONE
    for level in SEATED:
        held = np.flatnonzero(pin == level)
        if len(held) > policy.pin_limit:
            first, second = _halves(subjects.id[held])
            pin[held[np.lexsort((second, first, -subjects.pin_until[held]))][policy.pin_limit :]] = Band.NONE
    return pin


def _draw(candidates: Indices, first: Bools, incumbent: Bools, priority: Floats, seats: int, margin: float) -> Border:
    """Draws one border over `candidates` (best first): who of them is inside.

    `first` go in before all others, then the incumbents, then the best of the rest while seats are free; then each
    remaining challenger, the best first, takes the seat of the weakest remaining incumbent if his priority is at
    least `margin` times as high, and higher.
    """
    pinned = candidates[first[candidates]][:seats]
    # A pin that finds no seat counts like any other subject.
    rest = candidates[~np.isin(candidates, pinned)] if len(pinned) else candidates
    holds = incumbent[rest]
    incumbents, challengers = rest[holds], rest[~holds]
    free = seats - len(pinned)
    crowded_out = incumbents[free:][::-1]
    incumbents = incumbents[:free]
    filled = challengers[: free - len(incumbents)]
    challengers = challengers[len(filled) :]
    weakest = incumbents[::-1]
    pairs = min(len(challengers), len(weakest))
    strong, weak = priority[challengers[:pairs]], priority[weakest[:pairs]]
    # Challengers get weaker and incumbents stronger along the pairs, so the winners are the leading ones.
    wins = int(np.count_nonzero((strong >= margin * weak) & (strong > weak)))
    inside = np.concatenate((pinned, incumbents[: len(incumbents) - wins], filled, challengers[:wins]))
    return Border(inside, filled, challengers[:wins], weakest[:wins], crowded_out)


def _shortages(band: Bands, gate: Bands, policy: Policy) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Empty seats within each border, and how many of engage and track others would take but for their class."""
    within = [int(np.count_nonzero(band <= level)) for level in SEATED]
    vacant = [capacity - count for capacity, count in zip(policy.capacities, within, strict=True)]
    barred = [int(np.count_nonzero((band > level) & (band != Band.MUTED) & (gate > level))) for level in SEATED]
    return (vacant[0], vacant[1], vacant[2]), (min(vacant[0], barred[0]), min(vacant[1], barred[1]))
