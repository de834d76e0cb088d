"""Facts and subjects for the tests of the scoring core, drawn or made by hand."""

import uuid
from typing import Any

import numpy as np
from hypothesis import strategies as st

from services.scoring.core.codes import CRITERIA, FACTORS, FLAGS, IMPUTED, PARTS, UNKNOWNS, Band
from services.scoring.core.facts import FIELDS, Kind, OpportunityFacts, unknown_facts
from services.scoring.core.focus import Subjects
from services.scoring.core.judge import Judgement

TODAY = 20_000.0
NOW = TODAY + 0.4

_CODE_LIMITS = {"budget_status": 4, "purchase_date_firmness": 2, "line": 1, "stage_class": 2, "interest": 3}


def known_value(name: str, kind: Kind) -> st.SearchStrategy[float]:
    """Values a known field may hold, around `NOW`."""
    if kind is Kind.TIME:
        return st.floats(NOW - 300, NOW).map(lambda moment: round(moment * 24) / 24)
    if kind is Kind.DATE:
        return st.integers(int(TODAY) - 100, int(TODAY) + 200).map(float)
    if kind is Kind.MONEY:
        return st.integers(0, 1_000_000).map(float)
    if kind is Kind.SHARE:
        return st.integers(0, 100).map(lambda percent: percent / 100)
    if kind is Kind.FLAG:
        return st.sampled_from((0.0, 1.0))
    if kind is Kind.CODE:
        return st.integers(0, _CODE_LIMITS[name]).map(float)
    return st.integers(0, 60).map(float)


def rows() -> st.SearchStrategy[dict[str, float]]:
    """The number fields that are known of one opportunity."""
    return st.fixed_dictionaries(
        {}, optional={name: known_value(name, kind) for name, kind in FIELDS if kind is not Kind.UUID}
    )


def facts_of(*known: dict[str, Any]) -> OpportunityFacts:
    """Facts with one row per mapping of what is known."""
    array = unknown_facts(len(known))
    for position, row in enumerate(known):
        for name, value in row.items():
            array[name][position] = np.void(value) if isinstance(value, bytes) else value
    return OpportunityFacts(array)


def many_facts(count: int, seed: int, known_share: float = 0.7, processes: int = 4) -> OpportunityFacts:
    """Facts of `count` opportunities, drawn from `seed`."""
    rng = np.random.default_rng(seed)
    array = unknown_facts(count)
    ids = np.frombuffer(rng.bytes(16 * processes), dtype="V16")
    array["process_id"] = ids[rng.integers(0, processes, count)]
    for name, kind in FIELDS:
        if kind is Kind.UUID:
            continue
        if kind is Kind.TIME:
            values = NOW - rng.uniform(0, 250, count)
        elif kind is Kind.DATE:
            values = np.floor(TODAY + rng.uniform(-60, 150, count))
        elif kind is Kind.MONEY:
            values = rng.uniform(0, 100_000, count)
        elif kind is Kind.SHARE:
            values = rng.uniform(0, 1, count)
        elif kind is Kind.CODE:
            values = rng.integers(0, _CODE_LIMITS[name] + 1, count).astype(float)
        else:
            values = rng.integers(0, 2 if kind is Kind.FLAG else 30, count).astype(float)
        array[name] = np.where(rng.uniform(size=count) < known_share, values, np.nan)
    return OpportunityFacts(array)


def flags_of(judgement: Judgement, row: int = 0) -> set[str]:
    return {code for bit, code in enumerate(FLAGS) if int(judgement.flags[row]) >> bit & 1}


def unknowns_of(judgement: Judgement, row: int = 0) -> set[str]:
    return {code for bit, code in enumerate(UNKNOWNS) if int(judgement.unknowns[row]) >> bit & 1}


def imputed_of(judgement: Judgement, row: int = 0) -> set[str]:
    return {code for bit, code in enumerate(IMPUTED) if int(judgement.imputed[row]) >> bit & 1}


def pushes_of(judgement: Judgement, row: int = 0) -> dict[str, float]:
    return dict(zip(FACTORS, judgement.contributions[row].tolist(), strict=True))


def criteria_of(judgement: Judgement, row: int = 0) -> dict[str, float]:
    return dict(zip(CRITERIA, judgement.criteria[row].tolist(), strict=True))


def parts_of(judgement: Judgement, row: int = 0) -> dict[str, float]:
    return dict(zip(PARTS, judgement.parts[row].tolist(), strict=True))


def subject_ids(*numbers: int) -> np.ndarray:
    return np.array([np.void(uuid.UUID(int=number).bytes) for number in numbers], dtype="V16")


def make_subjects(count: int, **columns: Any) -> Subjects:
    """Subjects 1..count: opportunities of class C, equal priority, no seat, pin or mute, save for `columns`."""
    values: dict[str, Any] = {
        "id": subject_ids(*range(1, count + 1)),
        "kind": np.zeros(count, np.int8),
        "class_code": np.full(count, 2, np.int8),
        "priority": np.full(count, 100.0),
        "nearness": np.zeros(count),
        "previous_band": np.full(count, Band.NONE, np.int8),
        "previous_class": np.full(count, -1, np.int8),
        "pin_band": np.full(count, Band.NONE, np.int8),
        "pin_until": np.full(count, np.nan),
        "mute_until": np.full(count, np.nan),
        "reassigned": np.zeros(count, np.bool_),
    }
    for name, column in columns.items():
        values[name] = np.broadcast_to(np.asarray(column, dtype=values[name].dtype), (count,)).copy()
    return Subjects(**values)
