"""Rules of the search for duplicates: who is told what of records that may be the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.api import resources
from services.api.contacts.resource import CONTACTS
from services.api.customers.resource import CUSTOMERS
from services.api.duplicates import candidates
from services.api.duplicates.candidates import ALL_KEYS, STRONG, Probe
from services.api.duplicates.compare import LIKELY, POSSIBLE, Reason, compare, likelihood
from services.api.duplicates.schemas import ContactProbe, CustomerProbe, DuplicateFilters
from services.api.pagination import Cursors, binding_of
from services.api.wire import columns
from shared.db import Row, Tx
from shared.tenancy import Principal

_FIRST = UUID(int=0)
_SHOWN = ("id", "name", "phone", "email", "website", "version")
_OWNER = ("owner_id", "owner_name")


@dataclass(frozen=True, slots=True)
class Match:
    """A record that may be the same as a probe; `row` is as `candidates.read` gives it."""

    row: Row
    score: float
    reasons: list[Reason]

    @property
    def id(self) -> UUID:
        found: UUID = self.row["id"]
        return found

    @property
    def within_reach(self) -> bool:
        return bool(self.row["within_reach"])


async def find_for_many(
    tx: Tx,
    principal: Principal,
    kind: str,
    probes: Sequence[Probe],
    *,
    min_score: float = POSSIBLE,
    keys: Sequence[str] | None = None,
) -> list[list[Match]]:
    """For each probe, the records that may be the same, the likeliest first; two statements, however many probes.

    By default records are found by what says much by itself (name without legal form, phone, e-mail, domain), which
    suits thousands of rows of an import at once; `ALL_KEYS` also finds names that are merely alike. Probes are
    compared with what is stored, not with one another. A record beyond the caller's reach is among them only where
    it is likely the same.
    """
    found = await candidates.find(tx, kind, probes, keys or ["n", *STRONG[kind]])
    ids = {each for probe in found for each in probe.ids}
    rows = await candidates.read(tx, principal, kind, ids)
    region = found[0].region if found else None
    traits = {id_: candidates.traits_of(kind, region, row) for id_, row in rows.items()}
    matches: list[list[Match]] = []
    for probe in found:
        alike = []
        for id_ in probe.ids & rows.keys():
            score, reasons = compare(kind, probe.traits, traits[id_])
            match = Match(rows[id_], score, reasons)
            if score >= max(min_score, POSSIBLE if match.within_reach else LIKELY):
                alike.append(match)
        matches.append(sorted(alike, key=lambda each: (-each.score, each.id)))
    return matches


async def search(tx: Tx, principal: Principal, kind: str, probe: Probe, limit: int, min_score: float) -> dict[str, Any]:
    """Duplicates of one record as JSON."""
    matches = await find_for_many(tx, principal, kind, [probe], min_score=min_score, keys=ALL_KEYS)
    return {"duplicates": [_wire(match) for match in matches[0][:limit]]}


def probe_of(body: CustomerProbe | ContactProbe) -> Probe:
    return Probe(**body.model_dump(exclude={"limit", "min_score"}))


async def probe_of_record(tx: Tx, principal: Principal, kind: str, id_: UUID) -> Probe:
    """A record that is there, as the thing to find duplicates of; raises NotFound."""
    row = await resources.fetch(tx, principal, CUSTOMERS if kind == "customer" else CONTACTS, id_)
    return Probe(
        row["name"], row["phone"], row["email"], row.get("website"), row.get("customer_id"), frozenset((row["id"],))
    )


async def page(tx: Tx, principal: Principal, params: DuplicateFilters, cursors: Cursors) -> dict[str, Any]:
    """A page of pairs, which may be short or empty: it looks at so many records, and a closer look parts some."""
    kind = params.kind
    binding = binding_of(principal, "duplicate", params.model_dump())
    after = cursors.read(binding, params.cursor, UUID) if params.cursor else (_FIRST, _FIRST)
    found = await candidates.pairs(tx, principal, kind, after, params.limit)
    rows = await candidates.read(tx, principal, kind, {id_ for pair in found.ids for id_ in pair})
    region = await candidates.region(tx)
    traits = {id_: candidates.traits_of(kind, region, row) for id_, row in rows.items()}
    data = []
    for first, second in found.ids:
        if first not in rows or second not in rows:
            continue
        score, reasons = compare(kind, traits[first], traits[second])
        if score >= max(params.min_score, POSSIBLE):
            data.append(_pair(kind, rows[first], rows[second], score, reasons))
    return {
        "data": data,
        "next_cursor": cursors.make(binding, str(found.after[0]), found.after[1]) if found.after else None,
        "has_more": found.after is not None,
    }


def _wire(match: Match) -> dict[str, Any]:
    row = match.row
    seen = _record(row) if match.within_reach else dict.fromkeys((*_SHOWN, "customer_id"))
    return {
        **seen,
        **columns(row, _OWNER),
        "within_reach": match.within_reach,
        **_judgement(match.score, match.reasons),
    }


def _record(row: Row) -> dict[str, Any]:
    return {**columns(row, _SHOWN), "customer_id": row.get("customer_id")}


def _judgement(score: float, reasons: list[Reason]) -> dict[str, Any]:
    told = [{"code": each.code, "weight": each.weight} for each in reasons]
    return {"score": score, "likelihood": likelihood(score), "reasons": told}


def _pair(kind: str, first: Row, second: Row, score: float, reasons: list[Reason]) -> dict[str, Any]:
    both = [{**_record(row), **columns(row, _OWNER)} for row in (first, second)]
    return {"kind": kind, "first": both[0], "second": both[1], **_judgement(score, reasons)}
