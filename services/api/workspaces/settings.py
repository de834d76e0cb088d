"""Reading and changing the caller's own workspace."""

from __future__ import annotations

from typing import Any

from services.api.resources import changes_of
from services.api.wire import check_if_match, columns
from services.api.workspaces.schemas import WorkspacePatch
from shared.db import Row, Tx, sql
from shared.effects import BULK, AuditEntry, Event, Mark

PATH = "/v1/workspace"
_SHOWN = ("id", "name", "currency", "time_zone", "locale", "version", "recorded_at", "updated_at")
READ = sql("SELECT * FROM sales.workspaces WHERE id = :workspace_id")
LOCK = sql("SELECT * FROM sales.workspaces WHERE id = :workspace_id FOR NO KEY UPDATE")
CHANGE = sql(
    "UPDATE sales.workspaces SET name = :name, time_zone = :time_zone, locale = :locale, version = version + 1,"
    " updated_at = :now WHERE id = :workspace_id RETURNING *"
)


def wire(row: Row) -> dict[str, Any]:
    return columns(row, _SHOWN)


async def get(tx: Tx) -> Row:
    row = await tx.row(READ)
    assert row is not None  # noqa: S101 - the caller's key was found inside it
    return row


async def patch(tx: Tx, body: WorkspacePatch, if_match: str | None) -> Row:
    """Changes the workspace. Where its days begin moves dates, so that everything is judged again."""
    changes = changes_of(body, not_null=("name", "time_zone", "locale"))
    before = await tx.row(LOCK)
    assert before is not None  # noqa: S101 - the caller's key was found inside it
    check_if_match(if_match, before["version"])
    changed = {name: value for name, value in changes.items() if before[name] != value}
    if not changed:
        return before
    values = {name: changed.get(name, before[name]) for name in ("name", "time_zone", "locale")}
    row = await tx.row(CHANGE, **values, now=tx.now)
    assert row is not None  # noqa: S101 - it is locked
    data = {**wire(row), "changed": sorted(changed)}
    tx.effects.emit(Event("workspace.updated", "workspace", row["id"], tx.now, data, row["version"]))
    audited = {name: [before[name], value] for name, value in changed.items()}
    tx.effects.audit.append(AuditEntry("workspace.updated", "workspace", row["id"], row["version"], audited))
    if "time_zone" in changed:
        tx.effects.mark(Mark("workspace", row["id"], BULK))
    return row
