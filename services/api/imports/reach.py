"""How far an import reaches: as far as the member who began it does at the time it runs."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Executable, Table, bindparam
from sqlalchemy.dialects import postgresql

from services.api.auth.identity import make_principal
from services.api.imports.kinds import needed_scopes
from services.api.imports.mapping import Mapping
from services.api.imports.readers import Unreadable
from shared.db import Row, Tx, sql, statement
from shared.tenancy import Principal, Reach, scoped, visible

ACTOR = sql(
    "SELECT m.id, m.role, m.name, ARRAY(SELECT tm.member_id FROM sales.teams t JOIN sales.team_members tm"
    "   ON tm.workspace_id = t.workspace_id AND tm.team_id = t.id"
    "   WHERE t.workspace_id = m.workspace_id AND t.manager_id = m.id) AS team"
    " FROM sales.members m WHERE m.workspace_id = :workspace_id AND m.id = :actor_id AND m.active"
)


async def find_actor(tx: Tx, held: Row, mapping: Mapping) -> Principal:
    """Who began the import, as they stand now; raises Unreadable where they may not import this any more."""
    row = await tx.row(ACTOR, actor_id=held["created_by"])
    if row is None:
        raise Unreadable("", "forbidden", "The member who began the import is no longer active.")
    actor = make_principal(tx.workspace_id, row["id"], row["role"], team=row["team"], name=row["name"])
    missing = sorted(needed_scopes(mapping) - actor.scopes)
    if missing:
        words = f"The member who began the import may no longer do what it does: it needs {', '.join(missing)}."
        raise Unreadable("", "forbidden", words)
    return actor


@statement
def _within(table: Table, reach: Reach) -> Executable:
    ids = bindparam("ids", type_=postgresql.ARRAY(postgresql.UUID(as_uuid=True)))
    return scoped(table, reach, table.c.id).where(table.c.id == ids.any_())


async def within(tx: Tx, actor: Principal, table: Table, ids: Iterable[UUID]) -> frozenset[UUID]:
    """Those of `ids` that the actor sees."""
    asked = frozenset(ids)
    if not asked or visible(table, actor.reach) is None:
        return asked
    return frozenset(row["id"] for row in await tx.rows(_within(table, actor.reach), ids=list(asked), **actor.binds))
