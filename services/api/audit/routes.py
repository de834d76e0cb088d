"""The audit trail over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from services.api.audit import schemas, service
from services.api.edge import EdgeTransaction, requires
from services.api.pagination import Page
from services.api.routing import Router
from services.api.wire import answer
from shared.tenancy import Principal

router = Router(prefix="/v1/audit", tags=["audit"])


@router.get("", response_model=Page[schemas.AuditEntry], operation_id="listAuditEntries")
async def list_audit_entries(
    request: Request,
    principal: Annotated[Principal, requires("audit:read")],
    tx: EdgeTransaction,
    params: Annotated[schemas.AuditFilters, Query()],
) -> Response:
    """Who changed what, latest first: administrators see all of it, managers what concerns their team."""
    return answer(await service.page(tx, principal, params, request.app.state.cursors))
