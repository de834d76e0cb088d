"""New customers and contacts that may be there already under another id: kept, passed over, or reported."""

from __future__ import annotations

from collections.abc import Sequence

from services.api.duplicates.candidates import Probe
from services.api.duplicates.compare import LIKELY
from services.api.duplicates.service import Match, find_for_many
from services.api.errors import FieldError, wrong
from services.api.imports.plan import Parsed
from shared.db import Tx, sql
from shared.tenancy import Principal

SUBJECTS = {"customers": "customer", "contacts": "contact"}
_KEYS = sql(
    "SELECT g.place, ARRAY(SELECT k FROM unnest(sales.duplicate_keys_of(:kind, g.name, g.sort_key, NULL, g.phone,"
    "   g.email, g.website)) k WHERE left(k, 1) = ANY ('{n,p,e,d}')) AS keys"
    " FROM jsonb_to_recordset(CAST(:probes AS jsonb)) AS g(place int, name text, sort_key text, phone text, email text,"
    "   website text)"
)


async def look(tx: Tx, actor: Principal, kind: str, rows: Sequence[Parsed], *, skip: bool) -> None:
    """Looks for what is stored and likely the same as each of these new rows; two statements, however many rows.

    With `skip` such a row is refused, else it is imported with a note. Rows of one batch are not compared with one
    another.
    """
    if not rows:
        return
    probes = [_probe(row) for row in rows]
    found = await find_for_many(tx, actor, SUBJECTS[kind], probes, min_score=LIKELY)
    for row, matches in zip(rows, found, strict=True):
        if matches:
            (row.errors if skip else row.notes).append(_told(SUBJECTS[kind], matches, skip=skip))


async def traits_of(tx: Tx, kind: str, rows: Sequence[Parsed]) -> dict[int, Sequence[str]]:
    """By row number, the keys by which the search would find what may be the same, as the database makes them."""
    probes = [(row.number, _probe(row).given(place)) for place, row in enumerate(rows) if not row.errors]
    given = [each for _, each in probes]
    keys = {row["place"]: row["keys"] for row in await tx.rows(_KEYS, kind=SUBJECTS[kind], probes=given)}
    return {number: keys[each["place"]] for number, each in probes}


def _probe(row: Parsed) -> Probe:
    values = row.values
    return Probe(
        values["name"], values.get("phone"), values.get("email"), values.get("website"), values.get("customer_id")
    )


def _told(subject: str, matches: list[Match], *, skip: bool) -> FieldError:
    best = matches[0]
    which = f"the {subject} {best.id}" if best.within_reach else f"a {subject} of somebody outside your team"
    why = ", ".join(reason.code.replace("_", " ") for reason in best.reasons)
    did = "It was not imported" if skip else "It was imported all the same"
    more = f" (and {len(matches) - 1} more)" if len(matches) > 1 else ""
    return wrong("", "duplicate" if skip else "possible_duplicate", f"It is likely {which}{more}: {why}. {did}.")
