"""Arrays to SQL: scores, seats, moves and their events, each kind in one statement however many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.scoring import staging
from services.scoring.causes import Causes
from services.scoring.core.codes import CRITERIA, FACTORS, FLAGS, IMPUTED, MODEL_VERSION, PARTS, UNKNOWNS
from services.scoring.core.facts import NO_UUID
from services.scoring.core.judge import Judgement
from services.scoring.digest import digests
from services.scoring.ranking import Ranking
from services.scoring.wire import Layout, copy_in, moments, positions, uuids
from services.scoring.workspace import Workspace
from shared.db import Tx
from shared.ids import new_id

Rows = NDArray[np.void]

# A probability that moved by less is not worth an event.
PROBABILITY_STEP: Final = 0.02
MODEL_CODES: Final[dict[str, list[str]]] = {
    "factors": list(FACTORS),
    "parts": list(PARTS),
    "criteria": list(CRITERIA),
    "flags": list(FLAGS),
    "unknowns": list(UNKNOWNS),
    "imputed": list(IMPUTED),
}
_PLAIN: Final = (
    "probability", "probability_low", "probability_high", "priority", "margin", "urgency", "slack_days", "hours",
    "class_code", "flags", "unknowns", "imputed",
)  # fmt: skip
_ARRAYS: Final = ("criteria", "parts", "contributions")


@dataclass(frozen=True, slots=True)
class Scores:
    """The judged opportunities of a drain: `facts` (n,) of `facts_query.FACTS` with their judgement, and of each what
    was said before: class (-1 none), probability (NaN none) and digest (0 none)."""

    facts: Rows
    judgement: Judgement
    class_before: NDArray[np.int64]
    probability_before: NDArray[np.float64]
    digest_before: NDArray[np.int64]


async def write_model(tx: Tx, workspace: Workspace) -> None:
    """Says what the places and bits of this model's scores mean."""
    await tx.run(staging.WRITE_MODEL, version=MODEL_VERSION, codes=MODEL_CODES, now=workspace.now)


async def write_scores(tx: Tx, workspace: Workspace, scores: Scores) -> int:
    """Inserts or replaces the score of every opportunity of `scores` that comes out otherwise than it stands there;
    how many did. `scored_at` says since when a judgement has been as it is."""
    found = digests_of(scores)
    rows = np.flatnonzero(found != scores.digest_before)
    if not len(rows):
        return 0
    await _stage(tx, "sixteen_scores", score_records(scores, rows, found[rows]))
    if len(rows) >= staging.MANY and not bool((scores.digest_before[rows] == 0).any()):
        # All are there: no look for conflicts, and a plan made for as many as there are.
        await staging.run_once(tx, staging.REPLACE_SCORES, model_version=MODEL_VERSION, now=workspace.now)
    else:
        await tx.run(staging.WRITE_SCORES, model_version=MODEL_VERSION, now=workspace.now)
    return len(rows)


def digests_of(scores: Scores) -> NDArray[np.int64]:
    """The digest (n,) of each score: of everything that is stored but the digest and `scored_at`."""
    facts, judgement = scores.facts, scores.judgement
    columns = [facts[name] for name in ("owner_id", "customer_id", "facts_version")]
    columns += [getattr(judgement, name) for name in (*_PLAIN, "next_due_at")]
    columns += [getattr(judgement, name).astype(np.float32, copy=False) for name in _ARRAYS]
    return digests(columns, MODEL_VERSION)


def score_records(scores: Scores, rows: NDArray[np.intp], digest: NDArray[np.int64]) -> Rows:
    """The scores of `rows` as records of `staging.SCORES`."""
    facts, judgement = scores.facts[rows], scores.judgement
    records = staging.SCORES.empty(len(rows))
    records["opportunity_id"] = facts["id"]
    records["owner_id"], records["customer_id"] = facts["owner_id"], facts["customer_id"]
    records["facts_version"] = facts["facts_version"]
    for name in _PLAIN:
        records[name] = getattr(judgement, name)[rows]
    records["next_due_at"] = moments(judgement.next_due_at[rows])
    records["digest"] = digest
    for name in _ARRAYS:
        records[name]["items"]["value"] = getattr(judgement, name)[rows]
    return records


async def write_seats(tx: Tx, ranking: Ranking) -> int:
    """Writes the seats that changed and removes those that are gone; how many changed."""
    changed = ranking.subjects[ranking.subjects["changed"]]
    if len(changed):
        records = staging.SEATS.empty(len(changed))
        records["subject_id"] = changed["id"]
        for name in ("kind", "owner_id", "customer_id", "band", "rank", "class_code", "priority", "slack_days"):
            records[name] = changed[name]
        for name in ("since", "next_due_at"):
            records[name] = moments(changed[name])
        await _stage(tx, "sixteen_seats", records)
        if len(changed) >= staging.MANY and bool(changed["stored"].all()):
            await staging.run_once(tx, staging.REPLACE_SEATS)
        else:
            await tx.run(staging.WRITE_SEATS)
    if len(ranking.vacated):
        owners = [UUID(bytes=owner) for owner in ranking.loads]
        await tx.run(staging.DELETE_SEATS, ids=_ids(ranking.vacated), owners=owners)
    return len(changed)


async def delete_scores(tx: Tx, ids: Rows) -> None:
    """Removes the scores of opportunities that are no longer open: they have an outcome and no estimate."""
    if len(ids):
        await tx.run(staging.DELETE_SCORES, ids=_ids(ids))


async def write_events(tx: Tx, workspace: Workspace, scores: Scores | None, ranking: Ranking, causes: Causes) -> None:
    """Writes the moves, and the events of moves and of scores that say something new, in one statement."""
    moves = _move_records(ranking, causes)
    scored = _scored_records(scores, causes) if scores else staging.SCORED.empty(0)
    if not len(moves) and not len(scored):
        return
    if len(moves):
        await _stage(tx, "sixteen_moves", moves)
    if len(scored):
        await _stage(tx, "sixteen_scored", scored)
    await tx.run(
        staging.WRITE_EVENTS,
        causes=causes.values,
        requests=causes.requests,
        traces=causes.traces,
        now=workspace.now,
        model_version=MODEL_VERSION,
    )


async def write_loads(tx: Tx, workspace: Workspace, loads: dict[bytes, dict[str, Any]]) -> None:
    """Keeps what the triage of each owner found: counts by band and class, and shortages."""
    if loads:
        await tx.run(
            staging.WRITE_LOADS,
            owners=[UUID(bytes=owner) for owner in loads],
            counts=[load["counts"] for load in loads.values()],
            shortages=[load["shortages"] for load in loads.values()],
            now=workspace.now,
        )


def _move_records(ranking: Ranking, causes: Causes) -> Rows:
    moves = ranking.moves
    records = staging.MOVES.empty(len(moves))
    if not len(moves):
        return records
    records["id"], records["event_id"] = _new_ids(len(moves)), _new_ids(len(moves))
    records["subject_id"] = moves["id"]
    for name in ("owner_id", "kind", "from_band", "to_band"):
        records[name] = moves[name]
    place = positions(ranking.subjects["id"], moves["id"])
    here = (place >= 0) & (moves["to_band"] >= 0)
    records["rank"] = np.where(here, ranking.subjects["rank"][place] if len(ranking.subjects) else 0, 0)
    records["cause"] = [causes.moved(move) for move in moves]
    return records


def _scored_records(scores: Scores, causes: Causes) -> Rows:
    judgement = scores.judgement
    first = scores.class_before < 0
    step = np.abs(judgement.probability - np.where(first, 0.0, scores.probability_before)) >= PROBABILITY_STEP
    told = np.flatnonzero(first | (judgement.class_code != scores.class_before) | step)
    records = staging.SCORED.empty(len(told))
    if not len(told):
        return records
    facts = scores.facts[told]
    records["event_id"] = _new_ids(len(told))
    records["subject_id"], records["owner_id"] = facts["id"], facts["owner_id"]
    records["version"] = facts["facts_version"]
    records["class_code"], records["class_before"] = judgement.class_code[told], scores.class_before[told]
    records["probability"], records["priority"] = judgement.probability[told], judgement.priority[told]
    records["probability_before"] = scores.probability_before[told]
    pairs = zip(facts["id"].tolist(), facts["owner_id"].tolist(), strict=True)
    records["cause"] = [causes.scored(opportunity, owner) for opportunity, owner in pairs]
    return records


async def _stage(tx: Tx, table: str, records: Rows) -> None:
    tx.statements += 1
    layout: Layout = staging.TABLES[table]
    await copy_in(tx.connection, table, layout, records)


def _ids(ids: Rows) -> list[UUID]:
    return [UUID(bytes=key) for key in ids.tolist() if key != NO_UUID]


def _new_ids(count: int) -> Rows:
    return uuids([new_id().bytes for _ in range(count)])
