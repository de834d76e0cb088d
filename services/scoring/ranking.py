"""From judged subjects and the seats held before to new seats and moves: one triage for each owner concerned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.codes import CAUSES, Band, SubjectKind
from services.scoring.core.deficit import Experience
from services.scoring.core.facts import NO_UUID
from services.scoring.core.focus import Departed, Seating, Subjects
from services.scoring.core.moves import Triage, triage
from services.scoring.core.policy import Policy
from services.scoring.snapshots import Pin
from services.scoring.wire import positions

Rows = NDArray[np.void]

SUBJECT: Final = np.dtype(
    [
        ("kind", "i1"),
        ("id", "V16"),
        ("owner_id", "V16"),
        ("customer_id", "V16"),
        ("class_code", "i1"),
        ("priority", "f8"),
        ("slack_days", "f8"),
        # What was judged just now, as against a seat that only takes part in the triage.
        ("fresh", "?"),
        ("stored", "?"),
        ("reassigned", "?"),
        ("previous_band", "i1"),
        ("previous_rank", "i4"),
        ("previous_class", "i1"),
        ("since", "f8"),
        ("previous_due_at", "f8"),
        ("changed", "?"),
        ("band", "i1"),
        ("rank", "i4"),
        ("next_due_at", "f8"),
    ]
)
MOVE: Final = np.dtype(
    [
        ("owner_id", "V16"),
        ("kind", "i1"),
        ("id", "V16"),
        ("from_band", "i1"),
        ("to_band", "i1"),
        ("cause", "i1"),
        ("cause_id", "V16"),
    ]
)
# Why a subject left the seats altogether; the core only knows those that stay.
MOVE_CAUSES: Final = (*CAUSES, "closed", "removed", "opportunity_opened", "signed")
CAUSE: Final = {code: place for place, code in enumerate(MOVE_CAUSES)}


@dataclass(frozen=True, slots=True)
class Ranking:
    """New seats of all owners concerned: `subjects` (n,) of `SUBJECT`, `moves` of `MOVE`, the ids whose seat is gone,
    and what each owner's triage found."""

    subjects: Rows
    moves: Rows
    vacated: Rows
    loads: dict[bytes, dict[str, Any]]


def fresh_subjects(count: int, kind: SubjectKind) -> Rows:
    """`count` subjects that were judged just now, everything else still blank."""
    subjects: Rows = np.zeros(count, dtype=SUBJECT)
    subjects["kind"] = kind
    subjects["fresh"] = True
    subjects["previous_band"] = Band.NONE
    subjects["previous_class"] = -1
    subjects["since"] = subjects["previous_due_at"] = np.nan
    return subjects


def rank(
    fresh: Rows,
    seats: Rows,
    replaced: Rows,
    departures: dict[bytes, str],
    pins: dict[bytes, list[Pin]],
    policies: dict[bytes, Policy],
    experience: Experience,
    now: float,
) -> Ranking:
    """Triages every owner of `policies`; `experience` tells what each still needs.

    `fresh` are the subjects judged just now; `seats` (`snapshots.SEATS`) all seats those owners hold; `replaced` the
    ids whose seat is not to be trusted any more, since they are fresh or gone; `departures` says why the gone ones
    went. `now` is in days since the Unix epoch (UTC).
    """
    touched = positions(replaced, seats["id"]) >= 0
    subjects = np.concatenate((_with_history(fresh, seats), _kept(seats[~touched])))
    place = positions(fresh["id"], seats["id"])
    new_owner = np.where(place >= 0, fresh["owner_id"][place], np.void(NO_UUID)) if len(fresh) else None
    left = touched if new_owner is None else touched & (new_owner != seats["owner_id"])
    gone = touched & (place < 0)

    owners = np.frombuffer(b"".join(policies), dtype="V16") if policies else np.zeros(0, dtype="V16")
    of_subject = positions(owners, subjects["owner_id"])
    of_seat = positions(owners, seats["owner_id"])
    order = np.argsort(of_subject, kind="stable")
    bounds = np.searchsorted(of_subject[order], np.arange(len(owners) + 1))
    loads: dict[bytes, dict[str, Any]] = {}
    moves: list[Rows] = []
    for number, (owner, policy) in enumerate(policies.items()):
        rows = order[bounds[number] : bounds[number + 1]]
        leaving = seats[left & (of_seat == number)]
        outcome = _triage_owner(subjects, rows, leaving, pins, policy, now)
        moves += [_moves(subjects[rows], outcome, owner), _departures(leaving, departures, owner)]
        loads[owner] = _load(subjects[rows], outcome.seating, owner, policy, experience)
    _find_changes(subjects, now)
    return Ranking(
        subjects,
        np.concatenate(moves) if moves else np.zeros(0, dtype=MOVE),
        seats["id"][gone],
        loads,
    )


def _with_history(fresh: Rows, seats: Rows) -> Rows:
    """Fresh subjects with the seat each held: whose, which, since when."""
    subjects = fresh.copy()
    place = positions(seats["id"], subjects["id"])
    stored = np.flatnonzero(place >= 0)
    before = seats[place[stored]]
    same = before["owner_id"] == subjects["owner_id"][stored]
    subjects["stored"][stored] = True
    subjects["reassigned"][stored] = ~same
    own = stored[same]
    for name, source in (
        ("previous_band", "band"),
        ("previous_rank", "rank"),
        ("previous_class", "class_code"),
        ("since", "since"),
        ("previous_due_at", "next_due_at"),
    ):
        subjects[name][own] = before[source][same]
    changed = np.ones(len(subjects), dtype=np.bool_)
    changed[own] = (
        (subjects["priority"][own] != before["priority"][same])
        | (subjects["slack_days"][own] != before["slack_days"][same])
        | (subjects["class_code"][own] != before["class_code"][same])
        | (subjects["customer_id"][own] != before["customer_id"][same])
    )
    subjects["changed"] = changed
    return subjects


def _kept(seats: Rows) -> Rows:
    """Seats nobody judged just now, as subjects of the triage."""
    subjects: Rows = np.zeros(len(seats), dtype=SUBJECT)
    subjects["stored"] = True
    for name in ("kind", "id", "owner_id", "customer_id", "class_code", "priority", "slack_days", "since"):
        subjects[name] = seats[name]
    subjects["previous_band"] = seats["band"]
    subjects["previous_rank"] = seats["rank"]
    subjects["previous_class"] = seats["class_code"]
    subjects["previous_due_at"] = seats["next_due_at"]
    return subjects


def _triage_owner(
    subjects: Rows,
    rows: NDArray[np.intp],
    leaving: Rows,
    pins: dict[bytes, list[Pin]],
    policy: Policy,
    now: float,
) -> Triage:
    """Triages the subjects `rows` of one owner; writes their band, rank and next due time in place."""
    mine = subjects[rows]
    pin_band = np.full(len(mine), Band.NONE, dtype=np.int8)
    pin_until, mute_until = np.full(len(mine), np.nan), np.full(len(mine), np.nan)
    if pins:
        for at, (subject, owner) in enumerate(zip(mine["id"].tolist(), mine["owner_id"].tolist(), strict=True)):
            for pin in pins.get(subject, ()):
                if pin.owner_id != owner:
                    continue
                if pin.band is None:
                    mute_until[at] = pin.until
                else:
                    pin_band[at], pin_until[at] = Band[pin.band.upper()], pin.until
    outcome = triage(
        Subjects(
            id=np.ascontiguousarray(mine["id"]),
            kind=mine["kind"],
            class_code=mine["class_code"],
            priority=mine["priority"],
            nearness=mine["slack_days"],
            previous_band=mine["previous_band"],
            previous_class=mine["previous_class"],
            pin_band=pin_band,
            pin_until=pin_until,
            mute_until=mute_until,
            reassigned=mine["reassigned"],
        ),
        Departed(np.ascontiguousarray(leaving["id"]), leaving["band"].astype(np.int8)),
        policy,
        now,
    )
    subjects["band"][rows] = outcome.seating.band
    subjects["rank"][rows] = outcome.seating.rank
    ends = np.fmin(np.where(pin_until > now, pin_until, np.nan), np.where(mute_until > now, mute_until, np.nan))
    subjects["next_due_at"][rows] = ends
    return outcome


def _moves(mine: Rows, outcome: Triage, owner: bytes) -> Rows:
    found = outcome.moves
    moves: Rows = np.zeros(len(found), dtype=MOVE)
    moves["owner_id"] = np.void(owner)
    moves["kind"] = mine["kind"][found.subject]
    moves["id"] = mine["id"][found.subject]
    moves["from_band"], moves["to_band"] = found.from_band, found.to_band
    moves["cause"], moves["cause_id"] = found.cause, found.cause_id
    return moves


def _departures(leaving: Rows, departures: dict[bytes, str], owner: bytes) -> Rows:
    moves: Rows = np.zeros(len(leaving), dtype=MOVE)
    moves["owner_id"] = np.void(owner)
    moves["kind"], moves["id"], moves["from_band"] = leaving["kind"], leaving["id"], leaving["band"]
    moves["to_band"] = Band.NONE
    codes = [CAUSE[departures.get(subject, "reassigned")] for subject in leaving["id"].tolist()]
    moves["cause"] = np.array(codes, dtype=np.int8)
    return moves


def _find_changes(subjects: Rows, now: float) -> None:
    """Marks the seats that must be written, and starts the time of those in a new band."""
    moved = subjects["band"] != subjects["previous_band"]
    subjects["since"][moved | subjects["reassigned"]] = now
    # The database keeps microseconds: a moment within one of them has not changed.
    due, before = subjects["next_due_at"], subjects["previous_due_at"]
    same_due = (np.isnan(due) & np.isnan(before)) | (np.abs(due - before) < 1e-9)
    subjects["changed"] |= moved | (subjects["rank"] != subjects["previous_rank"]) | ~same_due


def _load(mine: Rows, seating: Seating, owner: bytes, policy: Policy, experience: Experience) -> dict[str, Any]:
    """What the triage found of one owner: how many sit where, which seats lack a subject, and how many new customers
    it takes to make up for them at the owner's own rates."""
    counts = {band.name.lower(): int(np.count_nonzero(seating.band == band)) for band in Band if band is not Band.NONE}
    classes = mine["class_code"][mine["kind"] == SubjectKind.OPPORTUNITY]
    counts["customers"] = int(np.count_nonzero(mine["kind"] == SubjectKind.CUSTOMER))
    counts["subjects"] = len(mine)
    counts |= {f"class_{code}": int(np.count_nonzero(classes == place)) for place, code in enumerate("abc")}
    # A customer without an open opportunity stands at the beginning of the way.
    base = (counts["class_a"] + counts["customers"], counts["class_b"], counts["class_c"])
    deficit = experience.deficit(owner, base, policy.capacities[-1])
    engage, track, monitor = seating.vacant
    return {
        "counts": counts,
        "shortages": {
            "vacant": {"engage": engage, "track": track, "monitor": monitor},
            "lacking_class": {"engage": seating.lacking_class[0], "track": seating.lacking_class[1]},
            "needed_new_customers": deficit.needed_new_customers,
            "rates": dict(zip(("a_to_b", "b_to_c", "c_to_d"), deficit.rates, strict=True)),
        },
    }
