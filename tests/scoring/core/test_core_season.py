"""A season of one rep, from facts to seats: what is judged again when due or changed equals judging everything."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from scoring_core_cases import NOW, make_subjects, many_facts, subject_ids

from services.scoring.core.codes import CAUSES, Band
from services.scoring.core.facts import OpportunityFacts
from services.scoring.core.focus import Departed
from services.scoring.core.judge import Judgement, judge
from services.scoring.core.medians import Medians, medians_of
from services.scoring.core.moves import Triage, triage
from services.scoring.core.policy import Policy

DAYS = 45
FIELDS = tuple(field.name for field in dataclasses.fields(Judgement))


class Season:
    """Judges and seats day by day; keeps what was judged until it is due or its facts change."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.policy = dataclasses.replace(Policy(), capacities=(8, 30, 80))
        facts = many_facts(160, seed, known_share=0.6)
        self.rows = facts.rows
        self.numbers = list(range(1, 161))
        self.medians: Medians = medians_of(facts, self.policy, NOW)
        self.bands = np.full(160, Band.NONE, np.int8)
        self.judged = judge(facts, self.policy, self.medians, NOW, self.bands)
        self.causes: Counter[str] = Counter()

    def seat(self, now: float, departed: Departed) -> Triage:
        result = triage(
            make_subjects(
                len(self.numbers),
                id=subject_ids(*self.numbers),
                class_code=self.judged.class_code,
                priority=self.judged.priority,
                nearness=self.judged.slack_days,
                previous_band=self.bands,
            ),
            departed,
            self.policy,
            now,
        )
        self.causes.update(CAUSES[cause] for cause in result.moves.cause)
        return result

    def rejudge(self, rows: np.ndarray, now: float) -> None:
        again = judge(OpportunityFacts(self.rows[rows]), self.policy, self.medians, now, self.bands[rows])
        for name in FIELDS:
            getattr(self.judged, name)[rows] = getattr(again, name)

    def close(self, row: int) -> Departed:
        gone = Departed(subject_ids(self.numbers.pop(row)), self.bands[row : row + 1])
        keep = np.arange(len(self.rows)) != row
        self.rows, self.bands = self.rows[keep], self.bands[keep]
        self.judged = Judgement(**{name: getattr(self.judged, name)[keep] for name in FIELDS})
        return gone

    def day(self, now: float) -> Triage:
        due = self.judged.next_due_at <= now
        changed = self.rng.uniform(size=len(self.rows)) < 0.05
        fresh = many_facts(len(self.rows), int(self.rng.integers(2**31)), known_share=0.6).rows
        for name in ("interest", "last_two_way_at", "amount", "next_step_on", "meeting_count", "purchase_date"):
            take = changed & (self.rng.uniform(size=len(changed)) < 0.5)
            self.rows[name][take] = fresh[name][take]
        self.rejudge(np.flatnonzero(due | changed), now)
        departed = self.close(int(self.rng.integers(len(self.rows)))) if self.rng.uniform() < 0.3 else Departed.none()
        result = self.seat(now, departed)
        moved = np.flatnonzero(result.seating.band != self.bands)
        self.bands = result.seating.band.copy()
        self.rejudge(moved, now)
        return result


@pytest.mark.parametrize("seed", [1, 2])
def test_judging_what_is_due_or_changed_equals_judging_everything(seed: int) -> None:
    season = Season(seed)
    for step in range(1, DAYS * 2):
        now = NOW + step / 2
        result = season.day(now)
        whole = judge(OpportunityFacts(season.rows), season.policy, season.medians, now, season.bands)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(season.judged, name), getattr(whole, name), err_msg=name)
        again = season.seat(now, Departed.none())
        assert len(again.moves) == 0
        assert np.count_nonzero(result.seating.band == Band.ENGAGE) <= 8
    assert season.causes["seat_freed"] > 0
    assert season.causes["class_gained"] == 0  # classes before were not given, so no cause may claim them
    assert {"arrived", "overtook", "displaced"} <= set(season.causes)


def test_without_new_facts_the_seats_stay_calm() -> None:
    season = Season(3)
    season.day(NOW)
    season.rng = np.random.default_rng(0)
    moves = 0
    for step in range(1, 11):
        now = NOW + step / 10 * 0.5  # within one day of the workspace
        season.rejudge(np.flatnonzero(season.judged.next_due_at <= now), now)
        moves += len(season.seat(now, Departed.none()).moves)
    assert moves == 0
