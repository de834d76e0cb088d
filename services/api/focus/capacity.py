"""How many seats a rep has in each band: the workspace's numbers, or the rep's own (D9.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services.api.errors import FieldError, Invalid, NotFound, wrong
from services.api.focus.capacity_schemas import CapacityPut
from services.api.focus.queries import POLICY
from services.api.owners import require_manager
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.effects import AuditEntry, Event, Mark
from shared.tenancy import Principal

BANDS = ("engage", "track", "monitor")
# D9.3, where the workspace's policy says nothing else.
DEFAULTS = (16, 100, 400)
MOST = 10_000
_COLUMNS = "m.id, m.version, m.engage_capacity, m.track_capacity, m.monitor_capacity"
_READ = f"""
SELECT {_COLUMNS}, p.document -> 'capacities' AS capacities FROM sales.members m {POLICY}
WHERE m.workspace_id = CAST(:workspace_id AS uuid) AND m.id = CAST(:owner_id AS uuid)
"""
READ = sql(_READ)
READ_TO_CHANGE = sql(_READ + " FOR NO KEY UPDATE OF m")
CHANGE = sql(
    f"""
    UPDATE sales.members m SET engage_capacity = CAST(:engage AS int), track_capacity = CAST(:track AS int),
      monitor_capacity = CAST(:monitor AS int), version = m.version + 1, updated_at = CAST(:now AS timestamptz)
    WHERE m.workspace_id = CAST(:workspace_id AS uuid) AND m.id = CAST(:owner_id AS uuid)
    RETURNING {_COLUMNS}
    """
)


def of_policy(capacities: Any) -> tuple[int, int, int]:
    """The workspace's capacities: a list from engage outwards, or an object by band."""
    if isinstance(capacities, Mapping):
        given = [capacities.get(band, default) for band, default in zip(BANDS, DEFAULTS, strict=True)]
    elif isinstance(capacities, list) and len(capacities) == len(BANDS):
        given = capacities
    else:
        given = list(DEFAULTS)
    return int(given[0]), int(given[1]), int(given[2])


def own(row: Row) -> dict[str, int | None]:
    return {band: row[f"{band}_capacity"] for band in BANDS}


def in_force(row: Row) -> dict[str, int]:
    """The capacities that the triage uses: an outer one is never smaller than an inner one."""
    result: dict[str, int] = {}
    least = 0
    for band, default in zip(BANDS, of_policy(row["capacities"]), strict=True):
        mine = row[f"{band}_capacity"]
        least = max(least, default if mine is None else mine)
        result[band] = least
    return result


def wire(row: Row) -> dict[str, Any]:
    default = dict(zip(BANDS, of_policy(row["capacities"]), strict=True))
    return {"owner_id": row["id"], **in_force(row), "own": own(row), "policy": default, "version": row["version"]}


async def read(tx: Tx, principal: Principal, owner_id: UUID | None) -> Row:
    return await _find(tx, principal, owner_id or principal.member_id, for_change=False)


async def _find(tx: Tx, principal: Principal, owner_id: UUID, *, for_change: bool) -> Row:
    row = None
    if principal.may_see_owner(owner_id):
        row = await tx.row(READ_TO_CHANGE if for_change else READ, owner_id=owner_id)
    if row is None:
        raise NotFound("There is no such member, or their seats are not yours to see.")
    return row


async def change(
    tx: Tx, principal: Principal, owner_id: UUID | None, body: CapacityPut, if_match: str | None
) -> dict[str, Any]:
    """Sets a rep's own capacities (null takes the workspace's) and has the rep ranked again."""
    require_manager(principal, "set how many seats a rep has")
    before = await _find(tx, principal, owner_id or principal.member_id, for_change=True)
    check_if_match(if_match, before["version"])
    wanted = body.model_dump()
    _check_nested(wanted, of_policy(before["capacities"]))
    if wanted == own(before):
        return wire(before)
    row = await tx.row(CHANGE, owner_id=before["id"], now=tx.now, **wanted)
    if row is None:
        raise NotFound
    _note(tx, before, row)
    return wire({**dict(row), "capacities": before["capacities"]})


def _check_nested(wanted: Mapping[str, int | None], default: tuple[int, int, int]) -> None:
    """Bands are nested: whoever is engaged is within the tracked, and those within the monitored."""
    errors: list[FieldError] = []
    inner, inner_band = 0, ""
    for band, usual in zip(BANDS, default, strict=True):
        number = wanted[band]
        seats = usual if number is None else number
        if seats < inner:
            words = f"{band} includes {inner_band}, which has {inner} seats: {seats} are too few."
            errors.append(wrong(f"/{band}", "smaller_than_inner", words))
        else:
            inner, inner_band = seats, band
    if errors:
        raise Invalid(errors[0].message, errors=errors)


def _note(tx: Tx, before: Row, after: Row) -> None:
    tx.effects.emit(
        Event(
            type="focus.capacity_changed",
            subject_type="member",
            subject_id=after["id"],
            occurred_at=tx.now,
            data={"owner_id": after["id"], "before": own(before), **own(after)},
            resource_version=after["version"],
            owner_id=after["id"],
        )
    )
    changed: dict[str, Any] = {
        f"{band}_capacity": [own(before)[band], own(after)[band]]
        for band in BANDS
        if own(before)[band] != own(after)[band]
    }
    entry = AuditEntry("focus.capacity_changed", "member", after["id"], after["version"], changed)
    tx.effects.audit.append(entry)
    tx.effects.mark(Mark("owner", after["id"]))
