"""New customers and contacts that may be there already under another id: kept, passed over, or reported."""

from __future__ import annotations

from collections.abc import Sequence

from services.api.duplicates.candidates import Probe
from services.api.duplicates.compare import LIKELY
from services.api.duplicates.service import Match, find_for_many
from services.api.errors import FieldError, wrong
from services.api.imports.plan import Parsed
from shared.db import Tx
from shared.tenancy import Principal

SUBJECTS = {"customers": "customer", "contacts": "contact"}


async def look(tx: Tx, actor: Principal, kind: str, rows: Sequence[Parsed], *, skip: bool) -> None:
    """Looks for what is stored and likely the same as each of these new rows; two statements, however many rows.

    With `skip` such a row is refused, else it is imported with a note. Rows of one batch are not compared with one
    another.
    """
    if not rows:
        return
    probes = [
        Probe(
            row.values["name"],
            row.values.get("phone"),
            row.values.get("email"),
            row.values.get("website"),
            row.values.get("customer_id"),
        )
        for row in rows
    ]
    found = await find_for_many(tx, actor, SUBJECTS[kind], probes, min_score=LIKELY)
    for row, matches in zip(rows, found, strict=True):
        if matches:
            (row.errors if skip else row.notes).append(_told(SUBJECTS[kind], matches, skip=skip))


def _told(subject: str, matches: list[Match], *, skip: bool) -> FieldError:
    best = matches[0]
    which = f"the {subject} {best.id}" if best.within_reach else f"a {subject} of somebody outside your team"
    why = ", ".join(reason.code.replace("_", " ") for reason in best.reasons)
    did = "It was not imported" if skip else "It was imported all the same"
    more = f" (and {len(matches) - 1} more)" if len(matches) > 1 else ""
    return wrong("", "duplicate" if skip else "possible_duplicate", f"It is likely {which}{more}: {why}. {did}.")
