"""Imports over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from starlette.background import BackgroundTask

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.imports import schemas, service
from services.api.imports.mapping import Mapping
from services.api.imports.resource import IMPORTS
from services.api.imports.upload import ReceivedUpload, UploadTransaction
from services.api.pagination import Page
from services.api.routing import IfMatch, Router
from services.api.wire import answer, one
from shared.queue import API_QUEUE, WORK
from shared.tenancy import Principal

router = Router(prefix="/v1/imports", tags=["imports"])
ImportsRead = Annotated[Principal, requires("imports:read")]
ImportsWrite = Annotated[Principal, requires("imports:write")]
_FORM: dict[str, Any] = {
    "x-upload": True,
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "mapping"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "CSV, XLSX or NDJSON."},
                        "mapping": {
                            "type": "string",
                            "description": "JSON or YAML, by the schema at /v1/imports/mapping-schema.",
                        },
                        "dry_run": {"type": "boolean", "description": "Check everything, write nothing."},
                        "format": {"type": "string", "enum": ["csv", "xlsx", "ndjson"]},
                        "shift_dates_to": {
                            "type": "string",
                            "description": "`today` or a date; in place of the mapping's own.",
                        },
                    },
                }
            }
        },
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "schema": {"type": "string", "maxLength": 255},
            "description": "The same upload under the same key is imported once.",
        }
    ],
}


@router.get("", response_model=Page[schemas.Import], operation_id="listImports")
async def list_imports(
    request: Request, principal: ImportsRead, tx: EdgeTransaction, params: Annotated[schemas.ImportFilters, Query()]
) -> Response:
    """Imports, newest first; who sees only a team sees their own."""
    cursors, fixed = request.app.state.cursors, service.own(principal)
    return answer(await resources.fetch_page(tx, principal, IMPORTS, params, cursors, fixed=fixed))


@router.post("", status_code=202, response_model=schemas.Import, operation_id="createImport", openapi_extra=_FORM)
async def create_import(
    request: Request, principal: ImportsWrite, upload: ReceivedUpload, tx: UploadTransaction
) -> Response:
    """Takes a file with its mapping, and begins to import it."""
    row = await service.create(tx, principal, upload, request.scope["sixteen.request_id"])
    response = answer(IMPORTS.wire(row), status=202, version=row["version"])
    response.headers["Location"] = f"{IMPORTS.path}/{row['id']}"
    # Sent after the response, and so after the commit.
    response.background = BackgroundTask(request.app.state.sixteen.nudger.nudge, API_QUEUE, WORK)
    return response


@router.get("/mapping-schema", response_model=dict[str, Any], operation_id="getImportMappingSchema")
async def get_mapping_schema(_: ImportsRead) -> Response:
    """The JSON schema of a mapping."""
    return answer(Mapping.model_json_schema())


@router.get("/{id}", response_model=schemas.Import, operation_id="getImport")
async def get_import(request: Request, principal: ImportsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One import with its progress."""
    row = await service.fetch(tx, principal, id)
    return one(request, IMPORTS.wire(row), row["version"])


@router.get(
    "/{id}/errors",
    response_model=Page[schemas.ImportError],
    operation_id="listImportErrors",
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def list_import_errors(
    request: Request,
    principal: ImportsRead,
    tx: EdgeTransaction,
    id: UUID,
    params: Annotated[schemas.ImportErrorParams, Query()],
) -> Response:
    """Rows that could not be imported and why, in the order of the file; `Accept: text/csv` gives a table."""
    cursors = request.app.state.cursors
    if "text/csv" not in request.headers.get("accept", ""):
        return answer(await service.errors_page(tx, principal, id, params, cursors))
    page = await service.errors_page(tx, principal, id, params, cursors, most=service.MOST_CSV_ROWS)
    headers = {"Content-Disposition": f'attachment; filename="import-{id}-errors.csv"'}
    if page["next_cursor"]:
        headers["Link"] = f'<{IMPORTS.path}/{id}/errors?cursor={page["next_cursor"]}>; rel="next"'
    return Response(service.as_csv(page["data"]), media_type="text/csv", headers=headers)


@router.post("/{id}:cancel", response_model=schemas.Import, operation_id="cancelImport")
async def cancel_import(principal: ImportsWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Ends an import after the batch under way; what has been imported stays."""
    row = await service.cancel(tx, principal, id, if_match)
    return answer(IMPORTS.wire(row), version=row["version"])
