"""Why subjects moved: each move between bands with its cause, and the other subject in it where there is one."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.cadence import HIGHEST_BAND
from services.scoring.core.codes import CAUSES, Band, SubjectKind
from services.scoring.core.facts import Bools, Uuids
from services.scoring.core.focus import (
    SEATED,
    Bands,
    Departed,
    Indices,
    Seating,
    Subjects,
    former_band,
    seat,
)
from services.scoring.core.policy import Policy

_CODE: Final = {code: position for position, code in enumerate(CAUSES)}


@dataclass(frozen=True, slots=True)
class Moves:
    """m moves, those to the best ranks first. `subject` (m,) are positions among the subjects; `cause` into CAUSES.

    `cause_id` (m,) is the subject that left the seat taken (`seat_freed`), was beaten (`overtook`) or took the seat
    (`displaced`); all zero where none did.
    """

    subject: Indices
    from_band: Bands
    to_band: Bands
    cause: NDArray[np.int8]
    cause_id: Uuids

    def __len__(self) -> int:
        return len(self.subject)


@dataclass(frozen=True, slots=True)
class Triage:
    """The seating of one owner's subjects and the moves that led to it."""

    seating: Seating
    moves: Moves


@dataclass(frozen=True, slots=True)
class _Partners:
    """For one border: by subject, the id that explains how it crossed (zero for none), and how."""

    freed_by: Uuids
    beaten: Uuids
    beaten_by: Uuids


def triage(subjects: Subjects, departed: Departed, policy: Policy, now: float) -> Triage:
    """Seats the subjects of one owner as of `now` and explains every move from their previous bands.

    `departed` are those that left a seat of this owner since the last triage. O(n log n); no move when nothing
    changed.
    """
    seating = seat(subjects, policy, now)
    partners = [_partners(subjects, departed, seating, level) for level in SEATED]
    return Triage(seating, _explain(subjects, seating, partners, now))


def _partners(subjects: Subjects, departed: Departed, seating: Seating, level: Band) -> _Partners:
    """Pairs those who crossed the border of `level` with the ones who made room for them or took their seat."""
    none = np.zeros(len(subjects), dtype="V16")
    found = _Partners(none, none.copy(), none.copy())
    border = seating.borders[level]
    previous = former_band(subjects)
    before = (previous != Band.NONE) & (previous <= level)
    after = seating.band <= level
    best = seating.order

    gone = departed.id[np.argsort(departed.previous_band, kind="stable")]
    gone = gone[np.sort(departed.previous_band, kind="stable") <= level]
    gave_up = before & ~after & (seating.muted | (seating.gate > level) | seating.pinned)
    freed = np.concatenate((gone, subjects.id[best[gave_up[best]]]))
    # Those who passed straight into an inner band, or came by a pin, need a seat within this border as well.
    came = after & ~before & ((seating.band < level) | seating.pinned)
    passing = best[came[best]]

    settled = min(len(passing), len(freed))
    found.freed_by[passing[:settled]] = freed[:settled]
    remaining = freed[settled:]
    settled_fill = min(len(border.filled), len(remaining))
    found.freed_by[border.filled[:settled_fill]] = remaining[:settled_fill]
    pushing = passing[settled:]
    pushed = border.crowded_out[: len(pushing)]
    found.beaten_by[pushed] = subjects.id[pushing[: len(pushed)]]
    found.beaten[pushing[: len(pushed)]] = subjects.id[pushed]
    found.beaten[border.entered] = subjects.id[border.left]
    found.beaten_by[border.left] = subjects.id[border.entered]
    return found


def _explain(subjects: Subjects, seating: Seating, partners: list[_Partners], now: float) -> Moves:
    band, previous = seating.band, subjects.previous_band
    moved = (band != previous) | subjects.reassigned
    subject = seating.order[moved[seating.order]]
    cause = np.zeros(len(subject), dtype=np.int8)
    cause_id = np.zeros(len(subject), dtype="V16")
    to_band = band[subject]
    from_band = np.where(subjects.reassigned, np.int8(Band.NONE), previous)[subject]

    arrives = from_band == Band.NONE
    inward = arrives | (to_band < from_band)
    # The border that tells most is the innermost one entered, or the innermost one lost.
    crossed = np.where(inward, to_band, from_band)
    for level in SEATED:
        here = crossed == level
        enters, leaves = here & inward, here & ~inward
        at = partners[level]
        for rows, ids, code in (
            (enters, at.freed_by, "seat_freed"),
            (enters, at.beaten, "overtook"),
            (leaves, at.beaten_by, "displaced"),
        ):
            given = ids[subject] != np.void(bytes(16))
            cause[rows & given] = _CODE[code]
            cause_id[rows & given] = ids[subject][rows & given]
    plain = cause == 0
    cause[plain & inward] = _CODE["seat_vacant"]
    cause[plain & ~inward] = _CODE["capacity_changed"]
    for code, rows in _own_causes(subjects, seating, now).items():
        cause[rows[subject]] = _CODE[code]
    unrelated = np.isin(cause, [_CODE["muted"], _CODE["class_lost"]])
    cause_id[unrelated] = np.void(bytes(16))
    return Moves(subject, from_band, to_band, cause, cause_id)


def _own_causes(subjects: Subjects, seating: Seating, now: float) -> dict[str, Bools]:
    """Causes that lie in the subject itself, each stronger than those before it: by code, a mask over all subjects."""
    band, previous = seating.band, subjects.previous_band
    outward = (previous != Band.NONE) & (previous < band)
    inward = previous > band
    ended = ~(subjects.pin_until > now) & (subjects.pin_band == previous) & (previous != Band.NONE)
    known = np.maximum(subjects.previous_class, 0)
    gate_before = np.where(subjects.kind == SubjectKind.CUSTOMER, np.int8(Band.MONITOR), HIGHEST_BAND[known])
    return {
        "pin_ended": ended,
        "class_gained": inward & (subjects.previous_class >= 0) & (gate_before > band),
        "class_lost": outward & (seating.gate > previous),
        "pinned": seating.pinned,
        "mute_ended": (previous == Band.MUTED) & ~seating.muted,
        "arrived": previous == Band.NONE,
        "reassigned": subjects.reassigned,
        "muted": seating.muted,
    }
