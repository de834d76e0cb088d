"""Processes over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.pagination import Page
from services.api.processes import schemas, service
from services.api.processes.resource import PROCESSES, template_wire
from services.api.routing import IfMatch, Router
from services.api.wire import answer, created, one
from shared.catalog.templates import TEMPLATES
from shared.tenancy import Principal

router = Router(prefix="/v1/processes", tags=["processes"])
ProcessesRead = Annotated[Principal, requires("processes:read")]
ProcessesWrite = Annotated[Principal, requires("processes:write")]


@router.get("", response_model=Page[schemas.Process], operation_id="listProcesses")
async def list_processes(
    request: Request,
    principal: ProcessesRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.ProcessFilters, Query()],
) -> Response:
    """Processes with their stages, a page at a time."""
    return answer(await resources.fetch_page(tx, principal, PROCESSES, params, request.app.state.cursors))


@router.post("", status_code=201, response_model=schemas.Process, operation_id="createProcess")
async def create_process(principal: ProcessesWrite, tx: EdgeTransaction, body: schemas.ProcessCreate) -> Response:
    """Makes a process, or the next edition of one; opportunities under way stay on theirs."""
    row = await service.create(tx, principal, body)
    return created(PROCESSES.wire(row), f"{PROCESSES.path}/{row['id']}", row["version"])


@router.get(
    "/templates",
    response_model=Page[schemas.ProcessTemplateDocument],
    operation_id="listProcessTemplates",
    dependencies=[requires("processes:read")],
)
async def list_templates() -> Response:
    """The processes that ship with the product."""
    data = [template_wire(template) for template in TEMPLATES.values()]
    return answer({"data": data, "next_cursor": None, "has_more": False})


@router.get("/{id}", response_model=schemas.Process, operation_id="getProcess")
async def get_process(request: Request, principal: ProcessesRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One process with its stages."""
    row = await service.get(tx, principal, id)
    return one(request, PROCESSES.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Process, operation_id="updateProcess")
async def update_process(
    principal: ProcessesWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.ProcessPatch,
    if_match: IfMatch = None,
) -> Response:
    """Turns a process on or off, or makes it the default (JSON merge-patch)."""
    row = await service.patch(tx, principal, id, body, if_match)
    return answer(PROCESSES.wire(row), version=row["version"])
