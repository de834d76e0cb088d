"""Pins and mutes: a rep's own say in the order, within limits (D9.5, §14)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Executable, and_, bindparam, func, literal

from services.api import resources
from services.api.errors import Forbidden, Problem, invalid
from services.api.filters import by_time, equals
from services.api.focus.pin_schemas import PinCreate
from services.api.pagination import Filter
from services.api.resources import Resource
from services.api.wire import check_if_match, columns
from shared.db import Row, Tx, sql, statement
from shared.effects import Event, Mark
from shared.models import customers, opportunities, pins
from shared.tenancy import Principal, Reach, scoped

# DOMAIN §14, where the workspace's policy says nothing else.
PIN_LIMIT = 3
LONGEST = timedelta(days=90)
_SHOWN = (
    "id", "kind", "owner_id", "subject_type", "subject_id", "band", "reason", "expires_at", "ended_at", "created_by",
    "version", "recorded_at", "updated_at",
)  # fmt: skip
# What has closed takes no seat, and so no pin of the limit.
COUNT = sql(
    """
    SELECT p.document -> 'pin_limit' AS pin_limit,
      (SELECT count(*) FROM sales.pins g WHERE g.workspace_id = m.workspace_id AND g.owner_id = m.id
        AND g.kind = 'pin' AND g.band = CAST(:band AS text) AND g.ended_at IS NULL
        AND g.expires_at > CAST(:now AS timestamptz)
        AND NOT EXISTS (SELECT FROM sales.opportunities o WHERE o.workspace_id = g.workspace_id
          AND o.id = g.subject_id AND (o.status <> 'open' OR o.deleted_at IS NOT NULL))) AS held
    FROM sales.members m
    LEFT JOIN LATERAL (
      SELECT document FROM sales.policies WHERE workspace_id = m.workspace_id
      ORDER BY recorded_at DESC, id DESC LIMIT 1
    ) p ON true
    WHERE m.workspace_id = CAST(:workspace_id AS uuid) AND m.id = CAST(:owner_id AS uuid)
    """
)
# Locking the rep makes the limit hold however many requests come at once; facts that name the rep don't wait for it.
LOCK_OWNER = sql(
    "SELECT id FROM sales.members WHERE workspace_id = CAST(:workspace_id AS uuid) AND id = CAST(:owner_id AS uuid)"
    " FOR NO KEY UPDATE"
)
# One that has run out stands in nobody's way.
END_EXPIRED = sql(
    "UPDATE sales.pins SET ended_at = expires_at, updated_at = CAST(:now AS timestamptz), version = version + 1"
    " WHERE workspace_id = CAST(:workspace_id AS uuid) AND subject_type = CAST(:subject_type AS text)"
    " AND subject_id = CAST(:subject_id AS uuid) AND ended_at IS NULL AND expires_at <= CAST(:now AS timestamptz)"
)


class PinLimitReached(Problem):
    status, code, title = 409, "pin_limit_reached", "As many subjects are pinned to this band as may be"


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


def shown(row: Row, tx: Tx) -> dict[str, Any]:
    """A pin as JSON, with whether it holds now."""
    return {**wire(row), "active": row["ended_at"] is None and row["expires_at"] > tx.now}


_active = and_(pins.c.ended_at.is_(None), pins.c.expires_at > func.now())
PINS = Resource(
    name="pin",
    path="/v1/focus/pins",
    table=pins,
    wire=wire,
    # Why a rep holds on to somebody is free text about people.
    personal=lambda _: frozenset(("reason",)),
    default_sort="-recorded_at",
    sorts={
        "recorded_at": by_time(pins.c.recorded_at, "recorded_at"),
        "expires_at": by_time(pins.c.expires_at, "expires_at"),
    },
    filters={
        "owner_id": equals(pins.c.owner_id),
        "subject_id": equals(pins.c.subject_id),
        "kind": equals(pins.c.kind),
        "active": Filter(lambda value: _active == value, Boolean()),
    },
)


@statement
def _select_subject(subject_type: str, reach: Reach) -> Executable:
    table = opportunities if subject_type == "opportunity" else customers
    status = table.c.status if subject_type == "opportunity" else literal("open").label("status")
    query = scoped(table, reach, table.c.owner_id, status).where(
        table.c.id == bindparam("subject_id", type_=table.c.id.type), table.c.deleted_at.is_(None)
    )
    # A handover at the same time ends this pin, or is seen by it: none is left with the owner before.
    return query.with_for_update(read=True, of=table)


async def create(tx: Tx, principal: Principal, body: PinCreate) -> Row:
    """Pins or mutes a subject for its owner, who is ranked again.

    Raises Invalid, Forbidden, PinLimitReached, and AlreadyExists (from the database) where one stands already.
    """
    _check(tx, body)
    owner_id = await _owner(tx, principal, body)
    await tx.row(LOCK_OWNER, owner_id=owner_id)
    await tx.run(END_EXPIRED, subject_type=body.subject_type, subject_id=body.subject_id, now=tx.now)
    if body.kind == "pin":
        await _check_limit(tx, owner_id, str(body.band))
    row = await resources.create(
        tx, PINS, {**body.model_dump(), "owner_id": owner_id, "created_by": principal.member_id}
    )
    _tell(tx, row, "pinned" if body.kind == "pin" else "muted")
    return row


def _check(tx: Tx, body: PinCreate) -> None:
    if body.kind == "pin" and body.band is None:
        raise invalid("/band", "required", "Say which band to hold it in.")
    if body.kind == "mute" and body.band is not None:
        raise invalid("/band", "not_allowed", "A mute takes a subject out of all bands.")
    if body.kind == "pin" and body.subject_type == "customer" and body.band != "monitor":
        raise invalid("/band", "beyond_its_reach", "A customer without an open opportunity is monitored at most.")
    if body.expires_at <= tx.now:
        raise invalid("/expires_at", "in_the_past", "It must end in the future.")
    if body.expires_at > tx.now + LONGEST:
        raise invalid("/expires_at", "too_far", f"It may last {LONGEST.days} days at most.")


async def _owner(tx: Tx, principal: Principal, body: PinCreate) -> UUID:
    """The owner of the subject, who holds its seat."""
    query = _select_subject(body.subject_type, principal.reach)
    row = await tx.row(query, subject_id=body.subject_id, **principal.binds)
    if row is None:
        raise invalid("/subject_id", "unknown_reference", f"There is no such {body.subject_type} within your reach.")
    if row["owner_id"] is None:
        raise invalid("/subject_id", "no_owner", "Nobody owns it, so it has no seat.")
    if row["status"] != "open":
        raise invalid("/subject_id", "not_open", f"It is {row['status']}, so it has no seat.")
    owner_id: UUID = row["owner_id"]
    if not principal.may_see_owner(owner_id):
        raise Forbidden("Only its owner and their manager may pin or mute it.")
    return owner_id


async def _check_limit(tx: Tx, owner_id: UUID, band: str) -> None:
    # After the lock and in a statement of its own: it sees what whoever held the lock before has committed.
    row = await tx.row(COUNT, owner_id=owner_id, band=band, now=tx.now)
    limit = PIN_LIMIT if row is None or row["pin_limit"] is None else int(row["pin_limit"])
    held = 0 if row is None else row["held"]
    if held >= limit:
        raise PinLimitReached(
            f"{held} subjects are pinned to {band}, and {limit} may be: end one of them first.", limit=limit, held=held
        )


async def end(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> None:
    """Ends a pin or mute; ending one that has ended changes nothing."""
    before = await resources.fetch(tx, principal, PINS, id_, lock=True)
    check_if_match(if_match, before["version"])
    if before["ended_at"] is not None:
        return
    row = await resources.change(tx, PINS, before, {"ended_at": tx.now}, action="ended")
    _tell(tx, row, "pin_ended" if row["kind"] == "pin" else "mute_ended")


def _tell(tx: Tx, row: Row, what: str) -> None:
    """Turns the event into one of the triage, about the subject, and has the owner ranked again."""
    written = tx.effects.events.pop()
    tx.effects.emit(
        Event(
            type=f"focus.{what}",
            subject_type=row["subject_type"],
            subject_id=row["subject_id"],
            occurred_at=tx.now,
            data={"pin_id": row["id"], **{name: written.data[name] for name in ("kind", "band", "expires_at")}},
            owner_id=row["owner_id"],
        )
    )
    tx.effects.mark(Mark("owner", row["owner_id"]))
