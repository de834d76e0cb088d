"""Definitions of custom attributes over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.attributes import schemas, service
from services.api.attributes.resource import ATTRIBUTES
from services.api.edge import EdgeTransaction, requires
from services.api.pagination import Page
from services.api.routing import IfMatch, Router
from services.api.wire import answer, created, one
from shared.tenancy import Principal

router = Router(prefix="/v1/attributes", tags=["attributes"])
AttributesRead = Annotated[Principal, requires("attributes:read")]
AttributesWrite = Annotated[Principal, requires("attributes:write")]


@router.get("", response_model=Page[schemas.Attribute], operation_id="listAttributes")
async def list_attributes(
    request: Request,
    principal: AttributesRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.AttributeFilters, Query()],
) -> Response:
    """Definitions of custom attributes, a page at a time."""
    return answer(await resources.fetch_page(tx, principal, ATTRIBUTES, params, request.app.state.cursors))


@router.post(
    "",
    status_code=201,
    response_model=schemas.Attribute,
    operation_id="createAttribute",
    dependencies=[requires("attributes:write")],
)
async def create_attribute(tx: EdgeTransaction, body: schemas.AttributeCreate) -> Response:
    """Defines an attribute of customers or opportunities.

    With `model_input` its values count in the win probability; everything open is then judged again.
    """
    row = await service.create(tx, body)
    return created(ATTRIBUTES.wire(row), f"{ATTRIBUTES.path}/{row['id']}", row["version"])


@router.get("/{id}", response_model=schemas.Attribute, operation_id="getAttribute")
async def get_attribute(request: Request, principal: AttributesRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One definition of a custom attribute."""
    row = await resources.fetch(tx, principal, ATTRIBUTES, id)
    return one(request, ATTRIBUTES.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Attribute, operation_id="updateAttribute")
async def update_attribute(
    principal: AttributesWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.AttributePatch,
    if_match: IfMatch = None,
) -> Response:
    """Changes a definition (JSON merge-patch): its label, more categories, whether it is asked for, how it counts."""
    row = await service.patch(tx, principal, id, body, if_match)
    return answer(ATTRIBUTES.wire(row), version=row["version"])
