"""What must hold of the triage whatever happens: over drawn subjects, and over long streams of events."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scoring_core_cases import NOW, make_subjects, subject_ids

from services.scoring.core.codes import CAUSES, Band
from services.scoring.core.focus import Departed, Subjects, gates
from services.scoring.core.moves import Triage, triage
from services.scoring.core.policy import Policy

SMALL = dataclasses.replace(Policy(), capacities=(3, 7, 12), pin_limit=2)
SEATED = (Band.ENGAGE, Band.TRACK, Band.MONITOR)


@st.composite
def drawn_subjects(draw: st.DrawFn) -> Subjects:
    count = draw(st.integers(0, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    few = draw(st.booleans())
    return make_subjects(
        count,
        kind=rng.uniform(size=count) < 0.2,
        class_code=rng.choice(3, count, p=[0.2, 0.3, 0.5]),
        priority=rng.integers(0, 5 if few else 1_000, count),
        nearness=rng.integers(0, 4, count),
        previous_band=rng.integers(-1, 5, count),
        previous_class=rng.integers(-1, 3, count),
        pin_band=np.where(rng.uniform(size=count) < 0.3, rng.integers(0, 3, count), -1),
        pin_until=NOW + rng.integers(-1, 3, count),
        mute_until=np.where(rng.uniform(size=count) < 0.15, NOW + rng.integers(-1, 2, count), np.nan),
        reassigned=rng.uniform(size=count) < 0.1,
    )


def run(subjects: Subjects, policy: Policy = SMALL, now: float = NOW) -> Triage:
    return triage(subjects, Departed.none(), policy, now)


def seated_again(subjects: Subjects, result: Triage) -> Subjects:
    """The same subjects after the result was written: seats taken, pins and mutes of the reassigned dropped."""
    return dataclasses.replace(
        subjects,
        previous_band=result.seating.band,
        previous_class=subjects.class_code,
        pin_band=np.where(subjects.reassigned, np.int8(Band.NONE), subjects.pin_band),
        mute_until=np.where(subjects.reassigned, np.nan, subjects.mute_until),
        reassigned=np.zeros(len(subjects), np.bool_),
    )


def check(subjects: Subjects, result: Triage, policy: Policy) -> None:
    """Capacity, nesting, gates, order and causes."""
    seating = result.seating
    for level, capacity in zip(SEATED, policy.capacities, strict=True):
        assert np.count_nonzero(seating.band <= level) <= capacity
    free = seating.band != Band.MUTED
    assert bool((seating.band[free] >= gates(subjects)[free]).all())
    # No seat is empty while one of the class waits outside, save by a pin that keeps it out.
    pins = (subjects.pin_until > NOW - 1_000) & (subjects.pin_band != Band.NONE)
    for level, vacant in zip(SEATED, seating.vacant, strict=True):
        waiting = free & (seating.band > level) & (gates(subjects) <= level) & ~pins
        assert vacant == 0 or not waiting.any()
    ranked = seating.order[seating.rank[seating.order] > 0]
    keys = [(seating.band[i], -subjects.priority[i], subjects.nearness[i], bytes(subjects.id[i])) for i in ranked]
    assert keys == sorted(keys)
    assert seating.rank[ranked].tolist() == list(range(1, len(ranked) + 1))
    for level in SEATED:
        assert np.count_nonzero(seating.pinned & (seating.band == level)) <= policy.pin_limit
    assert 0 not in result.moves.cause
    for cause, other in zip(result.moves.cause, result.moves.cause_id, strict=True):
        assert CAUSES[cause] not in ("seat_freed", "overtook", "displaced") or any(bytes(other))
    assert bool((result.moves.cause < len(CAUSES)).all())


@settings(max_examples=200, deadline=None)
@given(drawn_subjects())
def test_capacity_gates_order_and_causes_hold(subjects: Subjects) -> None:
    check(subjects, run(subjects), SMALL)


@settings(max_examples=200, deadline=None)
@given(drawn_subjects())
def test_a_second_triage_moves_nobody(subjects: Subjects) -> None:
    result = run(subjects)
    again = run(seated_again(subjects, result))
    assert len(again.moves) == 0
    np.testing.assert_array_equal(again.seating.order, result.seating.order)


@settings(max_examples=100, deadline=None)
@given(drawn_subjects(), st.integers(0, 2**32))
def test_the_order_in_which_subjects_are_given_does_not_matter(subjects: Subjects, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(subjects))
    shuffled = Subjects(**{name: getattr(subjects, name)[order] for name in Subjects.__slots__})
    result, other = run(subjects), run(shuffled)
    np.testing.assert_array_equal(result.seating.band[order], other.seating.band)
    np.testing.assert_array_equal(order[other.moves.subject], result.moves.subject)
    np.testing.assert_array_equal(other.moves.cause, result.moves.cause)
    np.testing.assert_array_equal(other.moves.cause_id, result.moves.cause_id)


@settings(max_examples=100, deadline=None)
@given(drawn_subjects(), st.integers(0, 2**32))
def test_small_changes_of_priority_across_full_borders_move_nobody(subjects: Subjects, seed: int) -> None:
    first = run(subjects)
    level = np.full(len(subjects), 100.0)
    calm = dataclasses.replace(seated_again(subjects, first), priority=level)
    settled = run(calm)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        wobble = dataclasses.replace(
            seated_again(calm, settled), priority=level * rng.uniform(0.96, 1.04, len(subjects))
        )
        assert len(run(wobble).moves) == 0


@settings(max_examples=100, deadline=None)
@given(drawn_subjects())
def test_an_overtaker_beats_the_one_it_displaced_by_the_margin(subjects: Subjects) -> None:
    result = run(subjects)
    by_id = {bytes(subject_id): row for row, subject_id in enumerate(subjects.id)}
    for subject, cause, other in zip(result.moves.subject, result.moves.cause, result.moves.cause_id, strict=True):
        if CAUSES[cause] == "overtook" and not result.seating.pinned[subject]:
            beaten = subjects.priority[by_id[bytes(other)]]
            assert subjects.priority[subject] >= SMALL.hysteresis_margin * beaten


class Focus(RuleBasedStateMachine):
    """One owner's year: subjects come, change, close, are muted, pinned, reassigned; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.next_id = 1
        self.rows: dict[int, dict[str, float]] = {}
        self.departed: list[tuple[int, int]] = []
        self.result: Triage | None = None
        self.subjects = make_subjects(0)
        self.policy = SMALL

    @rule(engage=st.integers(0, 4), track=st.integers(0, 5), monitor=st.integers(0, 6))
    def capacities_change(self, engage: int, track: int, monitor: int) -> None:
        nested = (engage, engage + track, engage + track + monitor)
        self.policy = dataclasses.replace(SMALL, capacities=nested)
        self.triage()

    @rule(priority=st.integers(0, 300), class_code=st.integers(0, 2), customer=st.booleans(), given=st.booleans())
    def arrives(self, priority: int, class_code: int, customer: bool, given: bool) -> None:
        for _ in range(3):
            self.rows[self.next_id] = {
                "priority": float(priority + self.next_id % 7),
                "class_code": class_code,
                "kind": int(customer and class_code == 0),
                "previous_band": Band.NONE,
                "previous_class": -1,
                "pin_band": Band.NONE,
                "pin_until": np.nan,
                "mute_until": np.nan,
                "reassigned": given,
            }
            self.next_id += 1
        self.triage()

    @rule(pick=st.integers(0, 1_000), priority=st.integers(0, 600), class_code=st.integers(0, 2))
    def new_facts(self, pick: int, priority: int, class_code: int) -> None:
        self._change(pick, priority=float(priority), class_code=class_code)

    @rule(pick=st.integers(0, 1_000))
    def closes(self, pick: int) -> None:
        if not self.rows:
            return
        number = sorted(self.rows)[pick % len(self.rows)]
        band = self.rows.pop(number)["previous_band"]
        before = {n: row["previous_band"] for n, row in self.rows.items()}
        self.departed.append((number, int(band)))
        self.triage()
        # Closing takes nobody's seat: all others stay or move in. (A pin that was beyond the limit may now hold.)
        if all(row["pin_band"] == Band.NONE for row in self.rows.values()):
            held = {n: band for n, band in before.items() if band not in (Band.NONE, Band.MUTED)}
            assert all(self.rows[n]["previous_band"] <= band for n, band in held.items())

    @rule(pick=st.integers(0, 1_000), days=st.integers(1, 5))
    def is_muted(self, pick: int, days: int) -> None:
        self._change(pick, mute_until=self.now + days)

    @rule(pick=st.integers(0, 1_000), band=st.sampled_from(SEATED), days=st.integers(1, 5))
    def is_pinned(self, pick: int, band: Band, days: int) -> None:
        self._change(pick, pin_band=band, pin_until=self.now + days)

    @rule(pick=st.integers(0, 1_000))
    def is_reassigned_here(self, pick: int) -> None:
        self._change(pick, reassigned=True)

    @rule(days=st.integers(1, 4))
    def time_passes(self, days: int) -> None:
        self.now += days
        self.triage()

    def _change(self, pick: int, **values: float) -> None:
        if self.rows:
            self.rows[sorted(self.rows)[pick % len(self.rows)]].update(values)
            self.triage()

    def _subjects(self) -> Subjects:
        columns = {
            name: [row[name] for row in self.rows.values()] for name in next(iter(self.rows.values()), {"priority": 0})
        }
        return make_subjects(len(self.rows), id=subject_ids(*self.rows), **columns) if self.rows else make_subjects(0)

    def triage(self) -> None:
        self.subjects = self._subjects()
        gone = Departed(subject_ids(*(n for n, _ in self.departed)), np.array([b for _, b in self.departed], np.int8))
        self.result = triage(self.subjects, gone, self.policy, self.now)
        self.departed = []
        moved = {int(row) for row in self.result.moves.subject}
        for position, row in enumerate(self.rows.values()):
            band = int(self.result.seating.band[position])
            assert (band != row["previous_band"] or bool(row["reassigned"])) == (position in moved)
            if row["reassigned"]:
                row.update(pin_band=Band.NONE, mute_until=np.nan)
            row.update(previous_band=band, previous_class=row["class_code"], reassigned=False)

    @invariant()
    def the_rules_hold(self) -> None:
        if self.result is not None:
            check(self.subjects, self.result, self.policy)

    @invariant()
    def nothing_is_left_to_move(self) -> None:
        assert len(triage(self._subjects(), Departed.none(), self.policy, self.now).moves) == 0


TestFocus = Focus.TestCase
TestFocus.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
