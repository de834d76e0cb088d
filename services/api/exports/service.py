"""Rules of exports: who may ask for which, what is kept of it, how it is ended early, how its file is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from services.api import ending, resources
from services.api.attributes import values as attributes
from services.api.errors import Conflict, ExportExpired, FieldError, Forbidden, Invalid, NotFound, words_of
from services.api.exports.columns import KINDS, NOT_A_FILTER, Kind, scope_of
from services.api.exports.lease import DROP_CHUNKS
from services.api.exports.mappings import mapping_for
from services.api.exports.resource import EXPORTS
from services.api.exports.schemas import ExportCreate
from services.api.fields import sort_key
from shared.db import Database, Row, Tx, sql
from shared.tenancy import Principal, Reach

CHUNKS = sql(
    "SELECT position, data FROM sales.export_chunks WHERE workspace_id = :workspace_id AND export_id = :id"
    " AND position >= :first ORDER BY position LIMIT 4"
)
# The edition of the process that most deals follow.
PROCESS = sql(
    "SELECT p.key, ARRAY(SELECT s.key FROM sales.stages s WHERE s.workspace_id = p.workspace_id"
    "   AND s.process_id = p.id ORDER BY s.position) AS stages"
    " FROM sales.processes p WHERE p.workspace_id = :workspace_id"
    " AND (CAST(:process_id AS uuid) IS NULL OR p.id = :process_id)"
    " ORDER BY (SELECT count(*) FROM sales.opportunities o WHERE o.workspace_id = p.workspace_id"
    "   AND o.process_id = p.id) DESC, p.id LIMIT 1"
)
ENDED = ("succeeded", "failed", "cancelled", "expired")


async def create(tx: Tx, principal: Principal, body: ExportCreate, request_id: str | None) -> Row:
    """Queues an export within the caller's reach."""
    kind = KINDS[body.kind]
    if kind.scope not in principal.scopes:
        raise Forbidden(f"An export of {body.kind} needs the scope {kind.scope}, which the caller does not hold.")
    values = {
        "kind": body.kind,
        "format": body.format,
        "filters": _checked(kind, body.filters),
        "checkpoint": {"left_out": [name for name in kind.columns if _lacks(principal, name)]},
        "created_by": principal.member_id,
        "request_id": request_id,
    }
    return await resources.create(tx, EXPORTS, values)


def _lacks(principal: Principal, column: str) -> bool:
    scope = scope_of(column)
    return scope is not None and scope not in principal.scopes


def _checked(kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
    """The filters as they are kept; raises Invalid naming each that is wrong."""
    known = {*kind.filters, *({"include_deleted"} & kind.params.model_fields.keys())}
    errors = [
        FieldError(pointer=f"/filters/{name}", code="unknown_field", message=f"{kind.name} have no filter {name}.")
        for name in given
        if name not in known
    ]
    try:
        params = kind.params.model_validate({name: value for name, value in given.items() if name in known})
    except ValidationError as error:
        errors += [
            FieldError(
                pointer="/filters/" + "/".join(str(part) for part in item["loc"]),
                code=item["type"],
                message=words_of(item["msg"]),
            )
            for item in error.errors()
        ]
    if errors:
        raise Invalid(f"Wrong: {', '.join(error.pointer for error in errors[:5])}.", errors=errors)
    found = params.model_dump(mode="json", exclude_none=True)
    return {name: value for name, value in found.items() if name not in NOT_A_FILTER or name == "include_deleted"}


async def bound_filters(tx: Tx, kind: Kind, kept: dict[str, Any]) -> dict[str, Any]:
    """The filters as the statement takes them."""
    params = kind.params.model_validate(kept)
    found = {name: getattr(params, name) for name in kept}
    if found.get("attribute"):
        found["attribute"] = await attributes.conditions(tx, kind.subject, found["attribute"])
    if found.get("name_prefix"):
        found["name_prefix"] = sort_key(found["name_prefix"])
    return found


def own(principal: Principal) -> dict[str, Any]:
    """Who does not see the whole workspace sees their own exports."""
    return {} if principal.reach is Reach.ALL else {"created_by": principal.member_id}


async def fetch(tx: Tx, principal: Principal, id_: UUID, *, lock: bool = False) -> Row:
    """The export; raises NotFound where there is none, or it is somebody else's."""
    row = await resources.fetch(tx, principal, EXPORTS, id_, lock=lock)
    if principal.reach is not Reach.ALL and row["created_by"] != principal.member_id:
        raise NotFound("There is no such export, or it is not yours to see.")
    return row


async def fetch_file(tx: Tx, principal: Principal, id_: UUID) -> Row:
    """An export whose file can be read; raises NotFound, Conflict, ExportExpired, Forbidden."""
    row = await fetch(tx, principal, id_)
    needed = {KINDS[row["kind"]].scope, *(scope_of(name) for name in row["checkpoint"].get("columns", ()))} - {None}
    missing = ", ".join(sorted(scope for scope in needed if scope and scope not in principal.scopes))
    if missing:
        raise Forbidden(f"This file needs {missing}, which the caller does not hold.")
    if row["status"] == "expired":
        raise ExportExpired("The file was kept for a week and is gone; ask for another export.")
    if row["status"] != "succeeded":
        raise Conflict(f"There is no file: the export is {row['status']}.")
    return row


async def pieces(database: Database, workspace_id: UUID, export_id: UUID) -> AsyncIterator[bytes]:
    """The file, a few pieces in memory at a time; no transaction stays open while they are sent."""
    first = 0
    while True:
        async with database.transaction(workspace_id) as tx:
            found = await tx.rows(CHUNKS, id=export_id, first=first)
        if not found:
            return
        for piece in found:
            yield piece["data"]
        first = found[-1]["position"] + 1


async def mapping(tx: Tx, principal: Principal, id_: UUID) -> dict[str, Any]:
    """The mapping with which an import takes the file back; raises Conflict where that can't be."""
    row = await fetch(tx, principal, id_)
    names = row["checkpoint"].get("columns")
    if names is None:
        raise Conflict("The export has not begun: its columns are not known yet.")
    process = None
    if row["kind"] == "opportunities":
        process = await tx.row(PROCESS, process_id=row["filters"].get("process_id"))
    found = mapping_for(row["kind"], row["format"], names, process)
    if found is None:
        raise Conflict(f"A file of {row['kind']} can't be imported.")
    return found


async def cancel(tx: Tx, principal: Principal, id_: UUID, if_match: str | None) -> Row:
    """Ends an export after the batch under way; nothing of its file stays."""
    before = await fetch(tx, principal, id_, lock=True)
    return await ending.cancel(tx, EXPORTS, before, if_match, ended=ENDED, drop=DROP_CHUNKS)
