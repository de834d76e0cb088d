"""The caller's workspace over HTTP."""

from __future__ import annotations

from fastapi import Request, Response

from services.api.edge import EdgeTransaction, requires
from services.api.routing import IfMatch, Router
from services.api.wire import answer, one
from services.api.workspaces import schemas, settings

router = Router(prefix=settings.PATH, tags=["workspace"])


@router.get(
    "",
    response_model=schemas.Workspace,
    operation_id="getWorkspace",
    dependencies=[requires("workspace:read")],
)
async def get_workspace(request: Request, tx: EdgeTransaction) -> Response:
    """The caller's workspace."""
    row = await settings.get(tx)
    return one(request, settings.wire(row), row["version"])


@router.patch(
    "",
    response_model=schemas.Workspace,
    operation_id="updateWorkspace",
    dependencies=[requires("workspace:write")],
)
async def update_workspace(tx: EdgeTransaction, body: schemas.WorkspacePatch, if_match: IfMatch = None) -> Response:
    """Changes the workspace (JSON merge-patch)."""
    row = await settings.patch(tx, body, if_match)
    return answer(settings.wire(row), version=row["version"])
