"""What a write leaves behind: events, audit entries, dirty marks, and the transaction that each was written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from shared.db import connect_arguments, sql
from tests.support.caller import Caller

# The transaction that wrote a row, as the outbox has it: xmin is its lower half.
_XID = "{row}.xmin::text::bigint"
EVENTS = sql(
    f"SELECT id, type, subject_id, data, {_XID.format(row='e')} AS xid, xid AS own_xid FROM events.outbox e"
    " WHERE workspace_id = :workspace_id ORDER BY id"
)
AUDIT = sql(
    f"SELECT id, action, subject_id, changes, {_XID.format(row='a')} AS xid FROM sales.audit_entries a"
    " WHERE workspace_id = :workspace_id ORDER BY id"
)
MARKS = sql(
    f"SELECT subject_type, subject_id, version, cause, {_XID.format(row='d')} AS xid FROM scoring.dirty_marks d"
    " WHERE workspace_id = :workspace_id"
)
KEYS = sql("SELECT count(*) FROM sales.idempotency_keys WHERE workspace_id = :workspace_id")
FACTS = (
    "members", "teams", "customers", "contacts", "products", "opportunities", "opportunity_members", "transitions",
    "interactions", "interaction_contacts", "tasks", "pins", "policies", "attribute_definitions", "processes",
)  # fmt: skip
FINGERPRINT = " UNION ALL ".join(
    f"SELECT '{table}' AS name, coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') AS print"
    f" FROM sales.{table} t WHERE workspace_id = :workspace_id"
    for table in FACTS
)


@dataclass(frozen=True)
class Traces:
    """Everything that one workspace's writes have left so far."""

    events: dict[Any, Any]
    audit: dict[Any, Any]
    marks: dict[tuple[str, str], Any]

    def since(self, before: Traces) -> Left:
        """What has come since."""
        return Left(
            [row for id_, row in self.events.items() if id_ not in before.events],
            [row for id_, row in self.audit.items() if id_ not in before.audit],
            {
                key: row
                for key, row in self.marks.items()
                if key not in before.marks or before.marks[key]["version"] != row["version"]
            },
        )


@dataclass(frozen=True)
class Left:
    """What one write has left."""

    events: list[Any]
    audit: list[Any]
    marks: dict[tuple[str, str], Any]

    @property
    def transactions(self) -> set[int]:
        """The transactions that wrote all of it."""
        rows = [*self.events, *self.audit, *self.marks.values()]
        return {row["xid"] for row in rows} | {row["own_xid"] % 2**32 for row in self.events}


async def traces(caller: Caller) -> Traces:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        events, audit, marks = await tx.rows(EVENTS), await tx.rows(AUDIT), await tx.rows(MARKS)
    return Traces(
        {row["id"]: row for row in events},
        {row["id"]: row for row in audit},
        {(row["subject_type"], str(row["subject_id"])): row for row in marks},
    )


async def everything(caller: Caller) -> dict[str, Any]:
    """A fingerprint of all that a workspace has stored: equal before and after what had no effect."""
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        facts = {row["name"]: row["print"] for row in await tx.rows(sql(FINGERPRINT))}
        keys = await tx.value(KEYS)
    found = await traces(caller)
    marks = {key: row["version"] for key, row in found.marks.items()}
    return {**facts, "events": set(found.events), "audit": set(found.audit), "marks": marks, "keys": keys}


async def end_backend(url: str, pid: int) -> None:
    """Ends a server process, as a fail-over would, and waits until it is gone."""
    connection = await asyncpg.connect(**connect_arguments(url, ""))
    try:
        await connection.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    finally:
        await connection.close()
