"""Ending early what a worker does piece by piece: an import, an export."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from services.api import resources
from services.api.errors import Conflict
from services.api.resources import Resource
from services.api.wire import check_if_match
from shared.db import Query, Row, Tx


async def cancel(
    tx: Tx, resource: Resource, before: Row, if_match: str | None, *, ended: Collection[str], drop: Query
) -> Row:
    """Ends it at once where it waits, else after the piece under way; asked again, it answers the same.

    `before` is locked; `ended` are the states from which nothing goes on, `drop` removes its file. Raises
    PreconditionFailed, and Conflict where it has ended already.
    """
    check_if_match(if_match, before["version"])
    if before["status"] == "cancelled" or (before["cancel_requested"] and before["status"] not in ended):
        return before
    if before["status"] in ended:
        raise Conflict(f"The {resource.name} has ended already: it {before['status'].replace('_', ' ')}.")
    changes: dict[str, Any] = {"cancel_requested": True}
    if before["status"] == "queued":
        changes |= {"status": "cancelled", "finished_at": tx.now}
        await tx.run(drop, id=before["id"])
    return await resources.change(tx, resource, before, changes, action="cancelled")
