"""What one drain holds in its hands: facts gathered, judged and ranked, ready to be written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.scoring import snapshots
from services.scoring.causes import Causes
from services.scoring.core.codes import Band, CustomerClass, SubjectKind
from services.scoring.core.deficit import Experience
from services.scoring.core.facts import NO_UUID, OpportunityFacts
from services.scoring.core.judge import Judgement
from services.scoring.core.medians import Medians
from services.scoring.core.policy import Policy
from services.scoring.facts_query import FACTS
from services.scoring.judging import Judge, join, judge_all, rejudge
from services.scoring.marks import CUSTOMER, OPPORTUNITY, Taken
from services.scoring.ranking import Ranking, Rows, fresh_subjects, rank
from services.scoring.snapshots import GONE, SAID, Pin, Selection, owned
from services.scoring.store import Scores
from services.scoring.wire import positions, uuids
from services.scoring.workspace import Workspace
from shared.db import Tx

_OPEN = 0
_DELETED = 5
# A move can cause another, outside what was judged; in practice the second look finds nothing more.
_ROUNDS = 4
_NONE = np.void(NO_UUID)


@dataclass(slots=True)
class Batch:
    """Everything gathered about one selection.

    `facts` are of those that could be judged, row by row with `said` (what was said of them before), `bands` (that
    they were judged for) and `judgement`; `spoiled` are those that could not, each with its customer and the error;
    `gone` (`snapshots.GONE`) are not open any more.
    """

    workspace: Workspace
    medians: Medians
    experience: Experience
    judge: Judge
    gone: Rows
    customers: Rows
    seats: Rows
    pins: dict[bytes, list[Pin]]
    policies: dict[bytes, Policy]
    facts: Rows = field(default_factory=lambda: FACTS.empty(0))
    said: Rows = field(default_factory=lambda: SAID.empty(0))
    bands: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))
    judgement: Judgement | None = None
    spoiled: dict[bytes, tuple[bytes, Exception | None]] = field(default_factory=dict)

    @property
    def replaced(self) -> Rows:
        """The ids whose former seat no longer counts."""
        return np.concatenate((self.facts["id"], self.gone["id"], self.customers["id"]))

    @property
    def outcome_known(self) -> Rows:
        """The opportunities that have a score and shall have none: closed, deleted, or their customer is."""
        ids: Rows = self.gone["id"][(self.gone["scored"] == 1) & (self.gone["status"] != _OPEN)]
        return ids


async def gather(
    tx: Tx, workspace: Workspace, selection: Selection, medians: Medians, experience: Experience, judge: Judge
) -> Batch:
    """Reads and judges what the selection reaches, and reads the seats of all owners concerned."""
    facts = await snapshots.read_facts(tx, workspace, selection)
    said = await snapshots.read_said(tx, facts, selection.owners)
    missing = selection.opportunities - set(facts["id"].tolist())
    gone = await snapshots.read_gone(tx, missing) if missing else GONE.empty(0)
    busy = owned(facts["customer_id"])
    asked = selection.customers | owned(gone["customer_id"])
    if not selection.owners:
        asked |= busy
    customers = _relevant(await snapshots.read_customers(tx, asked, selection.owners, busy), selection)
    owners = selection.owners | selection.reseated | owned(said["seat_owner"]) | owned(facts["owner_id"])
    owners |= owned(gone["seat_owner"]) | owned(customers["seat_owner"])
    owners |= owned(customers["owner_id"][_seatable(customers)])
    owner_ids = [UUID(bytes=key) for key in sorted(owners)]
    policies = await snapshots.read_policies(tx, workspace, owner_ids)
    seats = await snapshots.read_seats(tx, policies)
    stale = _stale_seats(seats, facts, selection)
    if stale:
        gone = np.concatenate((gone, await snapshots.read_gone(tx, stale)))
    batch = Batch(
        workspace=workspace,
        medians=medians,
        experience=experience,
        judge=judge,
        gone=gone,
        customers=customers,
        seats=seats,
        pins=await snapshots.read_pins(tx, owner_ids),
        policies=policies,
    )
    _judge(batch, facts, said)
    return batch


def _stale_seats(seats: Rows, facts: Rows, selection: Selection) -> set[bytes]:
    """Opportunities that hold a seat of an owner of whom everything is judged, though they are not open any more."""
    if not selection.owners:
        return set()
    asked = positions(uuids(list(selection.owners)), seats["owner_id"]) >= 0
    asked &= (seats["kind"] == SubjectKind.OPPORTUNITY) & (positions(facts["id"], seats["id"]) < 0)
    return set(seats["id"][asked].tolist())


async def rank_batch(tx: Tx, batch: Batch) -> Ranking:
    """Ranks the owners concerned. Whoever moves without having been judged is judged as well, since cadence and due
    times depend on the band; at the end every judgement is for the band its subject has come to."""
    departures = _departures(batch)
    ranking = _rank(batch, departures)
    for _ in range(_ROUNDS):
        subjects = ranking.subjects
        outside = subjects["id"][
            (subjects["kind"] == SubjectKind.OPPORTUNITY)
            & ~subjects["fresh"]
            & (subjects["band"] != subjects["previous_band"])
        ]
        outside = outside[positions(uuids(list(batch.spoiled)), outside) < 0] if batch.spoiled else outside
        if not len(outside) or not await _take_in(tx, batch, outside):
            break
        ranking = _rank(batch, departures)
    _settle(batch, ranking)
    return ranking


def scores_of(batch: Batch) -> Scores | None:
    """What is to be written about the judged opportunities; None when there are none."""
    if batch.judgement is None:
        return None
    return Scores(
        batch.facts,
        batch.judgement,
        batch.said["class_code"].astype(np.int64),
        batch.said["probability"].astype(np.float64),
        batch.said["digest"].astype(np.int64),
    )


def causes_of(batch: Batch, ranking: Ranking, marks: list[Taken]) -> Causes:
    """The marks, ready to explain what the batch changed."""
    by_subject = {(mark.type, mark.key): mark for mark in marks}
    customer_of: dict[bytes, bytes] = {}
    touched: dict[bytes, Taken] = {}
    for kind, rows, owners in (
        (OPPORTUNITY, batch.gone, (batch.gone["seat_owner"],)),
        (OPPORTUNITY, batch.facts, (batch.said["seat_owner"], batch.facts["owner_id"])),
        (CUSTOMER, batch.customers, (batch.customers["seat_owner"], batch.customers["owner_id"])),
    ):
        keys = rows["id"].tolist()
        if kind == OPPORTUNITY:
            customer_of.update(zip(keys, rows["customer_id"].tolist(), strict=True))
        for key, *of_key in zip(keys, *(ids.tolist() for ids in owners), strict=True):
            mark = by_subject.get((kind, key)) or by_subject.get((CUSTOMER, customer_of.get(key, key)))
            if mark is not None:
                for owner in of_key:
                    touched.setdefault(owner, mark)
    of_customers = ranking.subjects["kind"] == SubjectKind.CUSTOMER
    customers = set(ranking.subjects["id"][of_customers].tolist()) | set(batch.customers["id"].tolist())
    return Causes(by_subject, customer_of, touched, customers)


def _relevant(customers: Rows, selection: Selection) -> Rows:
    """Those customers that are asked for, or that need another seat than they hold."""
    seatable, seated = _seatable(customers), customers["seat_owner"] != _NONE
    asked = positions(uuids(list(selection.customers)), customers["id"]) >= 0
    owners = uuids(list(selection.owners))
    asked |= positions(owners, customers["owner_id"]) >= 0
    asked |= positions(owners, customers["seat_owner"]) >= 0
    changed = (seatable != seated) | (seatable & (customers["owner_id"] != customers["seat_owner"]))
    relevant: Rows = customers[asked | changed]
    return relevant


def _seatable(customers: Rows) -> NDArray[np.bool_]:
    """Which customers are subjects themselves: owned, with nothing open, and not in after-care."""
    seatable: NDArray[np.bool_] = customers["deleted"] == 0
    seatable &= (customers["owner_id"] != _NONE) & (customers["open"] == 0) & (customers["won"] == 0)
    return seatable


def _judge(batch: Batch, facts: Rows, said: Rows) -> None:
    """Judges `facts` for the bands they hold and adds them to the batch."""
    if not len(facts):
        return
    place = positions(batch.seats["id"], facts["id"])
    bands = np.full(len(facts), Band.NONE, dtype=np.int8)
    if len(batch.seats):
        seats = batch.seats[place]
        own = (place >= 0) & (seats["owner_id"] == facts["owner_id"])
        bands = np.where(own, seats["band"], Band.NONE).astype(np.int8)
    workspace = batch.workspace
    fine, judgement, error = judge_all(
        OpportunityFacts(facts), workspace.policy, batch.medians, workspace.now_days, bands, batch.judge
    )
    for row in facts[~fine]:
        batch.spoiled[bytes(row["id"])] = (bytes(row["customer_id"]), error)
    if judgement is None:
        return
    batch.facts = np.concatenate((batch.facts, facts[fine])) if len(batch.facts) else facts[fine]
    batch.said = np.concatenate((batch.said, said[fine]))
    batch.bands = np.concatenate((batch.bands, bands[fine]))
    batch.judgement = join([batch.judgement, judgement]) if batch.judgement else judgement


async def _take_in(tx: Tx, batch: Batch, ids: Rows) -> bool:
    """Adds opportunities that moved to what was judged; whether there were any to add.

    One that has meanwhile been closed or given to someone else is left alone: its own mark waits for it.
    """
    facts = await snapshots.read_facts(tx, batch.workspace, Selection(opportunities=set(ids.tolist())))
    said = await snapshots.read_said(tx, facts, ())
    same = said["seat_owner"] == facts["owner_id"]
    judged = len(batch.facts)
    _judge(batch, facts[same], said[same])
    return len(batch.facts) > judged


def _rank(batch: Batch, departures: dict[bytes, str]) -> Ranking:
    return rank(
        np.concatenate((_opportunities(batch), _customers(batch))),
        batch.seats,
        batch.replaced,
        departures,
        batch.pins,
        batch.policies,
        batch.experience,
        batch.workspace.now_days,
    )


def _opportunities(batch: Batch) -> Rows:
    if batch.judgement is None:
        return fresh_subjects(0, SubjectKind.OPPORTUNITY)
    seated = batch.facts["owner_id"] != _NONE
    seated &= positions(uuids(list(batch.policies)), batch.facts["owner_id"]) >= 0
    facts = batch.facts[seated]
    subjects = fresh_subjects(len(facts), SubjectKind.OPPORTUNITY)
    for name in ("id", "owner_id", "customer_id"):
        subjects[name] = facts[name]
    for name in ("class_code", "priority", "slack_days"):
        subjects[name] = getattr(batch.judgement, name)[seated]
    return subjects


def _customers(batch: Batch) -> Rows:
    customers = batch.customers[_seatable(batch.customers)]
    subjects = fresh_subjects(len(customers), SubjectKind.CUSTOMER)
    subjects["id"] = subjects["customer_id"] = customers["id"]
    subjects["owner_id"] = customers["owner_id"]
    subjects["class_code"] = CustomerClass.A
    return subjects


def _departures(batch: Batch) -> dict[bytes, str]:
    """Why each subject that is none any more has left its seat; one that only changed hands is not listed."""
    reasons: dict[bytes, str] = {}
    for key, status in zip(batch.gone["id"].tolist(), batch.gone["status"].tolist(), strict=True):
        if status != _OPEN:
            reasons[key] = "closed" if status < _DELETED else "removed"
    for row in batch.customers[~_seatable(batch.customers)]:
        key = bytes(row["id"])
        if row["deleted"]:
            reasons[key] = "removed"
        elif row["open"]:
            reasons[key] = "opportunity_opened"
        elif row["won"]:
            reasons[key] = "signed"
    return reasons


def _settle(batch: Batch, ranking: Ranking) -> None:
    """Judges those once more whose band turned out another than the one they were judged for."""
    if batch.judgement is None:
        return
    place = positions(ranking.subjects["id"], batch.facts["id"])
    bands = np.where(place >= 0, ranking.subjects["band"][place] if len(ranking.subjects) else Band.NONE, Band.NONE)
    bands = bands.astype(np.int8)
    rows = np.flatnonzero(bands != batch.bands)
    if len(rows):
        workspace = batch.workspace
        rejudge(
            batch.judgement,
            rows,
            OpportunityFacts(batch.facts),
            workspace.policy,
            batch.medians,
            workspace.now_days,
            bands,
            batch.judge,
        )
        batch.bands = bands


def spoiled_marks(spoiled: dict[bytes, tuple[bytes, Exception | None]], marks: Iterable[Taken]) -> list[Taken]:
    """The marks on subjects that could not be judged."""
    customers = {customer for customer, _ in spoiled.values()}
    return [
        mark
        for mark in marks
        if (mark.type == OPPORTUNITY and mark.key in spoiled) or (mark.type == CUSTOMER and mark.key in customers)
    ]
