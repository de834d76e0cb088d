"""Interactions over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.fields import ExternalText
from services.api.interactions import schemas, service
from services.api.interactions.resource import INTERACTIONS
from services.api.pagination import Page
from services.api.routing import IfMatch, Router, answers
from services.api.wire import answer, created, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/interactions", tags=["interactions"])
InteractionsRead = Annotated[Principal, requires("interactions:read")]
InteractionsWrite = Annotated[Principal, requires("interactions:write")]


def _shown(row: Any) -> Response:
    return answer(INTERACTIONS.wire(row), version=row["version"])


@router.get("", response_model=Page[schemas.Interaction], operation_id="listInteractions")
async def list_interactions(
    request: Request,
    principal: InteractionsRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.InteractionFilters, Query()],
) -> Response:
    """Interactions with the customers and opportunities within reach, latest first, a page at a time."""
    return answer(await resources.fetch_page(tx, principal, INTERACTIONS, params, request.app.state.cursors))


@router.post("", status_code=201, response_model=schemas.Interaction, operation_id="createInteraction")
async def create_interaction(
    principal: InteractionsWrite, tx: EdgeTransaction, body: schemas.InteractionCreate
) -> Response:
    """Records an interaction; promises and the next step become tasks."""
    row = await service.create(tx, principal, body)
    return created(INTERACTIONS.wire(row), f"{INTERACTIONS.path}/{row['id']}", row["version"])


@router.get("/{id}", response_model=schemas.Interaction, operation_id="getInteraction")
async def get_interaction(request: Request, principal: InteractionsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One interaction."""
    row = await service.get(tx, principal, id)
    return one(request, INTERACTIONS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Interaction, operation_id="updateInteraction")
async def update_interaction(
    principal: InteractionsWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.InteractionPatch,
    if_match: IfMatch = None,
) -> Response:
    """Changes an interaction (JSON merge-patch)."""
    return _shown(await service.patch(tx, principal, id, body, if_match))


@router.delete("/{id}", status_code=204, operation_id="deleteInteraction")
async def delete_interaction(
    principal: InteractionsWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None
) -> Response:
    """Deletes an interaction softly; it can be restored for 30 days. Its tasks stay."""
    await resources.delete(tx, principal, INTERACTIONS, id, if_match)
    return no_content()


@router.post("/{id}:restore", response_model=schemas.Interaction, operation_id="restoreInteraction")
async def restore_interaction(principal: InteractionsWrite, tx: EdgeTransaction, id: UUID) -> Response:
    """Undoes a deletion of the last 30 days."""
    return _shown(await service.restore(tx, principal, id))


@router.put(
    "/by-external-id/{source}/{external_id}",
    response_model=schemas.Interaction,
    responses=answers(201, schemas.Interaction),
    operation_id="upsertInteraction",
)
async def upsert_interaction(
    principal: InteractionsWrite,
    tx: EdgeTransaction,
    source: ExternalText,
    external_id: ExternalText,
    body: schemas.InteractionUpsert,
) -> Response:
    """Creates or replaces the interaction that another system knows under this id."""
    row, is_new = await service.upsert(tx, principal, source, external_id, body)
    if is_new:
        return created(INTERACTIONS.wire(row), f"{INTERACTIONS.path}/{row['id']}", row["version"])
    return _shown(row)
