"""What is left of a record that was merged into another: a row that is no more shown, and says where it went."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, Executable, Table, bindparam, func
from sqlalchemy.dialects import postgresql

from services.api.errors import Merged
from shared.db import Tx, sql, statement
from shared.models import contacts, customers, merges
from shared.models.base import SALES
from shared.tenancy import WORKSPACE, Principal, Reach, scoped

KINDS: dict[Table, str] = {customers: "customer", contacts: "contact"}
PATHS = {"customer": "/v1/customers", "contact": "/v1/contacts"}
SURVIVOR = sql("SELECT sales.survivor_of(:workspace_id, :kind, :id)")


def survivor(table: Table) -> ColumnElement[UUID | None]:
    """The id of the record that each row was merged into; null where it was not."""
    found: ColumnElement[UUID | None] = getattr(func, SALES).survivor_of(
        table.c.workspace_id, KINDS[table], table.c.id, type_=postgresql.UUID(as_uuid=True)
    )
    return found


@statement
def _select_survivor(table: Table, reach: Reach) -> Executable:
    kind = KINDS[table]
    return (
        scoped(table, reach, survivor(table).label("survivor_id"))
        .join(merges, merges.c.workspace_id == table.c.workspace_id)
        .where(
            table.c.id == bindparam("id"),
            merges.c.workspace_id == WORKSPACE,
            merges.c.kind == kind,
            merges.c.from_id == table.c.id,
            merges.c.undone_at.is_(None),
        )
    )


def merged(kind: str, survivor_id: UUID) -> Merged:
    path = f"{PATHS[kind]}/{survivor_id}"
    return Merged(
        f"The {kind} was merged into another one: {path}.",
        headers={"Location": path},
        merged_into={"type": kind, "id": str(survivor_id)},
    )


async def refuse_merged(tx: Tx, principal: Principal, table: Table, id_: UUID) -> None:
    """Raises Merged where the record asked for was merged into another and was the caller's to see.

    Asked only when nothing else was found: a record that is there costs nothing.
    """
    if table not in KINDS:
        return
    survivor_id = await tx.value(_select_survivor(table, principal.reach), id=id_, **principal.binds)
    if survivor_id is not None:
        raise merged(KINDS[table], survivor_id)


async def survivor_of(tx: Tx, table: Table, id_: UUID) -> UUID | None:
    """The record that this one was merged into, however often that was merged on; None where it was not."""
    if table not in KINDS:
        return None
    found: UUID | None = await tx.value(SURVIVOR, kind=KINDS[table], id=id_)
    return found
