"""Rules of merges: two records that are one become one, with both histories, and can be parted again for 30 days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Table, bindparam
from sqlalchemy.dialects import postgresql

from services.api import resources
from services.api.errors import AlreadyMerged, Forbidden, MergeNotUndoable, NotFound, PreconditionFailed, invalid
from services.api.merges import choices, moves
from services.api.merges.resource import MERGES, SUBJECTS, UNDOABLE, Subject
from services.api.merges.schemas import MergeCreate
from services.api.merges.tombstones import PATHS, survivor_of
from services.api.owners import require_manager
from services.api.pagination import Cursors, ListParams
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql, statement
from shared.effects import AuditEntry, Event, Mark
from shared.ids import new_id
from shared.tenancy import Principal, Reach, scoped

# The guards of the database ask for the merge before anything is moved.
INSERT = sql(
    "INSERT INTO sales.merges (workspace_id, id, kind, into_id, from_id, merged_by, fields, moved, occurred_at,"
    " recorded_at, updated_at) VALUES (:workspace_id, :id, :kind, :into_id, :from_id, :merged_by,"
    " CAST(:fields AS jsonb), '{}', :now, :now, :now)"
)
COUNT_MOVED = sql(
    "UPDATE sales.merges SET moved = CAST(:moved AS jsonb) WHERE workspace_id = :workspace_id AND id = :id RETURNING *"
)
# Which fields a merge took over is told for ever; what stood in them, only as long as it may have to go back. (What
# nobody takes back is forgotten by the api-worker, sales.forget_merges.)
_NAMES = "(SELECT coalesce(jsonb_object_agg(f.name, NULL), '{}') FROM jsonb_object_keys(fields) AS f(name))"
UNDO = sql(
    "UPDATE sales.merges SET undone_at = :now, undone_by = :member_id, kept_fields = :kept_fields, updated_at = :now,"
    f" version = version + 1, fields = {_NAMES}, forgotten_at = :now"
    " WHERE workspace_id = :workspace_id AND id = :id RETURNING *"
)
# A later merge of either record; or, of customers, one of a contact that goes back and one that stays.
LATER = sql(
    """
SELECT m.id FROM sales.merges m
LEFT JOIN sales.merge_moves i ON i.workspace_id = m.workspace_id AND i.merge_id = :id AND i.kind = 'contacts'
  AND i.row_id = m.into_id AND m.kind = 'contact'
LEFT JOIN sales.merge_moves f ON f.workspace_id = m.workspace_id AND f.merge_id = :id AND f.kind = 'contacts'
  AND f.row_id = m.from_id AND m.kind = 'contact'
WHERE m.workspace_id = :workspace_id AND m.undone_at IS NULL AND (m.recorded_at, m.id) > (:recorded_at, :id)
  AND ((m.kind = :kind AND (m.into_id IN (:into_id, :from_id) OR m.from_id IN (:into_id, :from_id)))
    OR (i.row_id IS NULL) <> (f.row_id IS NULL))
ORDER BY m.recorded_at DESC, m.id DESC LIMIT 1
"""
)


@statement
def _select_both(table: Table, reach: Reach) -> Executable:
    """Two rows, locked in the order of their ids: two merges of the same records wait for one another."""
    ids = bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID(as_uuid=True)))
    return scoped(table, reach).where(table.c.id == ids.any_()).order_by(table.c.id).with_for_update(of=table)


async def merge(tx: Tx, principal: Principal, subject: Subject, body: MergeCreate, if_match: str | None) -> Row:
    """Makes `from` part of `into`: all that hangs on it is moved, and it answers 410 from then on."""
    if body.into == body.from_:
        raise invalid("/from", "same_record", "A record can't be merged into itself.")
    into, from_ = await _both(tx, principal, subject, body)
    check_if_match(if_match, into["version"])
    if body.from_version not in {None, from_["version"]}:
        words = f"The record to be merged is at version {from_['version']} now; read it again."
        raise PreconditionFailed(words, current_version=from_["version"])
    _check_one_customer(subject, into, from_)
    _check_may(principal, subject, into, from_)
    changes = choices.choose(subject, into, from_, body.fields)
    merge_id = new_id()
    await tx.run(
        INSERT,
        id=merge_id,
        kind=subject.kind,
        into_id=into["id"],
        from_id=from_["id"],
        merged_by=principal.member_id,
        fields=choices.journal(into, changes),
        now=tx.now,
    )
    await resources.change(tx, subject.resource, from_, {"deleted_at": tx.now}, action="deleted")
    after = await resources.change(tx, subject.resource, into, choices.columns_of(changes))
    moved = await moves.move(tx, subject.kind, merge_id, into, from_["id"])
    row = await tx.row(COUNT_MOVED, id=merge_id, moved=moved)
    assert row is not None  # noqa: S101 - inserted above
    _tell(tx, subject, row, after, "merged", {"moved": moved, "changed": sorted(changes)})
    return row


async def _both(tx: Tx, principal: Principal, subject: Subject, body: MergeCreate) -> tuple[Row, Row]:
    table = subject.resource.table
    rows = await tx.rows(_select_both(table, principal.reach), ids=[body.into, body.from_], **principal.binds)
    found = {row["id"]: row for row in rows}
    for field, id_ in (("into", body.into), ("from", body.from_)):
        row = found.get(id_)
        if row is not None and row["deleted_at"] is None:
            continue
        survivor_id = None if row is None else await survivor_of(tx, table, id_)
        if survivor_id is not None:
            path = f"{PATHS[subject.kind]}/{survivor_id}"
            raise AlreadyMerged(
                f"The {subject.kind} in `{field}` was merged into {path}.",
                merged_into={"type": subject.kind, "id": str(survivor_id)},
            )
        raise invalid(f"/{field}", "unknown_reference", f"There is no such {subject.kind} within your reach.")
    return found[body.into], found[body.from_]


def _check_one_customer(subject: Subject, into: Row, from_: Row) -> None:
    if subject.kind == "contact" and into["customer_id"] != from_["customer_id"]:
        words = "The contacts belong to two customers; merge those first, if they are one."
        raise invalid("/from", "other_customer", words)


def _check_may(principal: Principal, subject: Subject, into: Row, from_: Row) -> None:
    """A rep merges and parts customers of their own; whose customer somebody else's is, a manager decides."""
    if subject.kind == "customer" and {into["owner_id"], from_["owner_id"]} != {principal.member_id}:
        require_manager(principal, "merge customers that are not all their own, or part them again")


def makers(principal: Principal) -> list[UUID] | None:
    """Whose merges the caller sees; None for everybody's."""
    return None if principal.reach is Reach.ALL else [principal.member_id, *principal.owner_ids]


async def fetch(tx: Tx, principal: Principal, id_: UUID, *, lock: bool = False) -> Row:
    """The merge; raises NotFound where there is none, or it is not the caller's to see."""
    row = await resources.fetch(tx, principal, MERGES, id_, lock=lock)
    seen = makers(principal)
    if seen is not None and row["merged_by"] not in seen:
        raise NotFound("There is no such merge, or it is not yours to see.")
    return row


async def page(tx: Tx, principal: Principal, params: ListParams, cursors: Cursors) -> dict[str, Any]:
    """A page of merges, the latest first."""
    seen = makers(principal)
    fixed = {} if seen is None else {"made_by": seen}
    return await resources.fetch_page(tx, principal, MERGES, params, cursors, fixed=fixed)


async def undo(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> Row:
    """Parts two records again: what was moved goes back, what was added or changed since stays.

    Merges of a record are undone from the latest back.
    """
    found = await fetch(tx, principal, id_, lock=True)
    check_if_match(if_match, found["version"])
    await _check_undoable(tx, found)
    subject = SUBJECTS[found["kind"]]
    table = subject.resource.table
    ids = [found["into_id"], found["from_id"]]
    both = {row["id"]: row for row in await tx.rows(_select_both(table, principal.reach), ids=ids, **principal.binds)}
    if len(both) < len(ids):
        raise Forbidden("Only who may see both records can part them.")
    into, from_ = both[found["into_id"]], both[found["from_id"]]
    _check_may(principal, subject, into, from_)
    back, kept = choices.take_back(subject, into, found["fields"])
    # First of all, for the guards of the database: from here on the merge no longer stands.
    row = await tx.row(UNDO, id=id_, member_id=principal.member_id, kept_fields=kept, now=tx.now)
    assert row is not None  # noqa: S101 - locked above
    await resources.change(tx, subject.resource, from_, {"deleted_at": None}, action="restored")
    after = await resources.change(tx, subject.resource, into, choices.columns_of(back))
    moved = await moves.give_back(tx, row, into)
    _tell(tx, subject, row, after, "unmerged", {"moved": moved, "changed": sorted(back)})
    return row


async def _check_undoable(tx: Tx, found: Row) -> None:
    if found["undone_at"] is not None:
        raise MergeNotUndoable("The merge was undone before.")
    if found["recorded_at"] < tx.now - UNDOABLE:
        raise MergeNotUndoable(f"A merge can be undone for {UNDOABLE.days} days.")
    later = await tx.value(
        LATER,
        id=found["id"],
        kind=found["kind"],
        into_id=found["into_id"],
        from_id=found["from_id"],
        recorded_at=found["recorded_at"],
    )
    if later is not None:
        words = f"A later merge builds on this one: undo {MERGES.path}/{later} first."
        raise MergeNotUndoable(words, later_merge_id=str(later))


def _tell(tx: Tx, subject: Subject, row: Row, into: Row, action: str, more: Mapping[str, Any]) -> None:
    """One event on the record that stays, whatever was moved; and both records are judged again."""
    name = f"{subject.kind}.{action}"
    data = {"merge_id": row["id"], "into_id": row["into_id"], "from_id": row["from_id"], **more}
    owner_id = into.get("owner_id")
    tx.effects.emit(Event(name, subject.kind, into["id"], tx.now, data, into["version"], owner_id))
    changes = {"merge_id": [None, str(row["id"])], "from_id": [None, str(row["from_id"])]}
    tx.effects.audit.append(AuditEntry(name, subject.kind, into["id"], into["version"], changes))
    customers = {row["into_id"], row["from_id"]} if subject.kind == "customer" else {into["customer_id"]}
    for customer_id in sorted(customers):
        tx.effects.mark(Mark("customer", customer_id))
