"""Exports over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.exports import schemas, service
from services.api.exports.resource import EXPORTS
from services.api.pagination import Page
from services.api.routing import IfMatch, Router
from services.api.state import State
from services.api.wire import answer, etag, is_known, not_modified, one
from shared.queue import API_QUEUE, WORK
from shared.tenancy import Principal

router = Router(prefix="/v1/exports", tags=["exports"])
ExportsRead = Annotated[Principal, requires("exports:read")]
ExportsWrite = Annotated[Principal, requires("exports:write")]
MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_LOOKS = {"csv": "id,name\r\n", "ndjson": '{"id": "…", "name": "…"}\n', "xlsx": "PK…"}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            MEDIA[name].partition(";")[0]: {"schema": {"type": "string", "format": "binary"}, "example": looks}
            for name, looks in _LOOKS.items()
        },
    }
}


@router.get("", response_model=Page[schemas.Export], operation_id="listExports")
async def list_exports(
    request: Request, principal: ExportsRead, tx: EdgeTransaction, params: Annotated[schemas.ExportFilters, Query()]
) -> Response:
    """Exports, newest first; who sees only a team or their own records sees their own exports."""
    cursors, fixed = request.app.state.cursors, service.own(principal)
    return answer(await resources.fetch_page(tx, principal, EXPORTS, params, cursors, fixed=fixed))


@router.post("", status_code=202, response_model=schemas.Export, operation_id="createExport")
async def create_export(
    request: Request, principal: ExportsWrite, tx: EdgeTransaction, body: schemas.ExportCreate
) -> Response:
    """Begins to put what the caller may see into a file.

    Read the export at its `Location` until `status` is `succeeded`, or wait for the event `export.completed`; then
    fetch `/content`. The file holds what was recorded before the export began and can be fetched for a week.
    """
    row = await service.create(tx, principal, body, request.scope["sixteen.request_id"])
    response = answer(EXPORTS.wire(row), status=202, version=row["version"])
    response.headers["Location"] = f"{EXPORTS.path}/{row['id']}"
    # Sent after the response, and so after the commit.
    response.background = BackgroundTask(request.app.state.sixteen.nudger.nudge, API_QUEUE, WORK)
    return response


@router.get("/{id}", response_model=schemas.Export, operation_id="getExport")
async def get_export(request: Request, principal: ExportsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One export with its progress."""
    row = await service.fetch(tx, principal, id)
    return one(request, EXPORTS.wire(row), row["version"])


@router.get(
    "/{id}/content",
    response_class=Response,
    responses=_FILE,
    operation_id="getExportContent",
    openapi_extra={"x-streams": True, "x-error-codes": ["conflict", "export_expired"]},
)
async def get_export_content(request: Request, principal: ExportsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """The file itself, streamed; 409 `conflict` while it is not ready, 410 `export_expired` after its week.

    In CSV and XLSX a text that a spreadsheet would take for a formula has an apostrophe in front. An import takes it
    away where its mapping says `formula_quotes`; the mapping of `/mapping` does.
    """
    state: State = request.app.state.sixteen
    row = await service.fetch_file(tx, principal, id)
    if is_known(request, etag(row["version"])):
        return not_modified(etag(row["version"]))
    name = f"{row['kind']}-{row['recorded_at']:%Y%m%d-%H%M%S}.{row['format']}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(row["total_bytes"]),
        "ETag": etag(row["version"]),
    }
    body = service.pieces(state.database, principal.workspace_id, row["id"])
    return StreamingResponse(body, media_type=MEDIA[row["format"]], headers=headers)


@router.get("/{id}/mapping", response_model=dict[str, Any], operation_id="getExportMapping", openapi_extra={
    "x-error-codes": ["conflict"],
})  # fmt: skip
async def get_export_mapping(principal: ExportsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """The mapping with which `POST /v1/imports` takes the file back, here or in another workspace.

    Records are known by the id they have here, under the source `sixteen`. Opportunities come back with their passages
    and how they closed; where they follow several processes, export and import them one process at a time.
    """
    return answer(await service.mapping(tx, principal, id))


@router.post("/{id}:cancel", response_model=schemas.Export, operation_id="cancelExport")
async def cancel_export(principal: ExportsWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Ends an export after the batch under way; nothing of its file stays."""
    row = await service.cancel(tx, principal, id, if_match)
    return answer(EXPORTS.wire(row), version=row["version"])
