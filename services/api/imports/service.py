"""Rules of imports: who may begin one, what is kept of it, how it is ended early."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID

from services.api import ending, resources
from services.api.errors import Forbidden, NotFound
from services.api.imports.kinds import needed_scopes
from services.api.imports.lease import DROP_CHUNKS
from services.api.imports.resource import IMPORTS
from services.api.imports.upload import PIECE, Upload
from services.api.pagination import Cursors, ListParams, binding_of
from shared.db import Row, Tx, sql
from shared.ids import new_id
from shared.tenancy import Principal, Reach

CHUNK = sql(
    "INSERT INTO sales.import_chunks (workspace_id, import_id, position, data)"
    " VALUES (:workspace_id, :import_id, :position, :data)"
)
ERRORS = sql(
    "SELECT row, position, pointer, code, message FROM sales.import_errors"
    " WHERE workspace_id = :workspace_id AND import_id = :id AND (row, position) > (:row, :position)"
    " ORDER BY row, position LIMIT :limit"
)
MOST_CSV_ROWS = 100_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ENDED = ("succeeded", "partially_failed", "failed", "cancelled")


async def create(tx: Tx, principal: Principal, upload: Upload, request_id: str | None) -> Row:
    """Keeps the upload and queues its import; nothing of it is seen before the commit."""
    missing = sorted(needed_scopes(upload.mapping) - principal.scopes)
    if missing:
        raise Forbidden(f"This mapping may write what the caller may not: it needs {', '.join(missing)}.")
    import_id = new_id()
    await upload.file.seek(0)
    position = 0
    while piece := await upload.file.read(PIECE):
        await tx.run(CHUNK, import_id=import_id, position=position, data=piece)
        position += 1
    values: dict[str, Any] = {
        "id": import_id,
        "kind": upload.mapping.kind,
        "format": upload.format,
        "file_name": (upload.file.filename or "")[:200] or None,
        "mapping": upload.mapping.model_dump(mode="json", exclude_none=True),
        "dry_run": upload.options.dry_run,
        "total_bytes": upload.size,
        "created_by": principal.member_id,
        "request_id": request_id,
    }
    return await resources.create(tx, IMPORTS, values)


def own(principal: Principal) -> dict[str, Any]:
    """Who does not see the whole workspace sees their own imports: reports quote rows."""
    return {} if principal.reach is Reach.ALL else {"created_by": principal.member_id}


async def fetch(tx: Tx, principal: Principal, id_: UUID, *, lock: bool = False) -> Row:
    """The import; raises NotFound where there is none, or it is somebody else's."""
    row = await resources.fetch(tx, principal, IMPORTS, id_, lock=lock)
    if principal.reach is not Reach.ALL and row["created_by"] != principal.member_id:
        raise NotFound("There is no such import, or it is not yours to see.")
    return row


async def cancel(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> Row:
    """Ends an import after the batch under way; what has been imported stays."""
    before = await fetch(tx, principal, id_, lock=True)
    return await ending.cancel(tx, IMPORTS, before, if_match, ended=ENDED, drop=DROP_CHUNKS)


async def errors_page(
    tx: Tx, principal: Principal, id_: UUID, params: ListParams, cursors: Cursors, *, most: int | None = None
) -> dict[str, Any]:
    """What is wrong with the rows, in the order of the file."""
    await fetch(tx, principal, id_)
    binding = binding_of(principal, "import_errors", {"import_id": str(id_)})
    after = cursors.read(binding, params.cursor, list)[0] if params.cursor else [0, -1]
    limit = most or params.limit
    rows = await tx.rows(ERRORS, id=id_, row=after[0], position=after[1], limit=limit + 1)
    shown, has_more = rows[:limit], len(rows) > limit
    last = [shown[-1]["row"], shown[-1]["position"]] if shown else None
    return {
        "data": [{name: row[name] for name in ("row", "pointer", "code", "message")} for row in shown],
        "next_cursor": cursors.make(binding, last, id_) if has_more else None,
        "has_more": has_more,
    }


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Errors as a table; a cell that a spreadsheet would take for a formula is made plain text."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("row", "pointer", "code", "message"))
    for row in rows:
        writer.writerow([row["row"], *(_plain(row[name]) for name in ("pointer", "code", "message"))])
    return text.getvalue().encode("utf-8-sig")


def _plain(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
