"""Opportunities over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from sqlalchemy import Table

from services.api import resources
from services.api.attributes import values as attributes
from services.api.edge import EdgeTransaction, requires
from services.api.fields import ExternalText
from services.api.filters import by_time, equals
from services.api.opportunities import batch, schemas, service, sharing, transition_schemas, transitions
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.pagination import ListParams, Page
from services.api.resources import Resource
from services.api.routing import IfMatch, Router, answers
from services.api.wire import answer, columns, created, no_content, one
from shared.models import transitions as transitions_table
from shared.tenancy import Principal

router = Router(prefix="/v1/opportunities", tags=["opportunities"])
OpportunitiesRead = Annotated[Principal, requires("opportunities:read")]
OpportunitiesWrite = Annotated[Principal, requires("opportunities:write")]
REFUSES_TRANSITIONS = {
    "x-error-codes": ["transition_not_allowed", "milestone_irreversible", "milestone_criteria_unmet"]
}


def _history(table: Table) -> Resource:
    shown = (
        "id", "opportunity_id", "action", "stage_id", "passage_id", "reason", "note", "evidence", "criteria",
        "imported", "member_id", "occurred_at", "recorded_at",
    )  # fmt: skip
    return Resource(
        name="transition",
        path="/v1/opportunities",
        table=table,
        wire=lambda row: columns(row, shown),
        sorts={"recorded_at": by_time(table.c.recorded_at, "recorded_at")},
        default_sort="-recorded_at",
        filters={"opportunity_id": equals(table.c.opportunity_id)},
    )


TRANSITIONS = _history(transitions_table)


def _shown(row: Any) -> Response:
    return answer(OPPORTUNITIES.wire(row), version=row["version"])


@router.get("", response_model=Page[schemas.Opportunity], operation_id="listOpportunities")
async def list_opportunities(
    request: Request,
    principal: OpportunitiesRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.OpportunityFilters, Query()],
) -> Response:
    """Opportunities within the caller's reach, a page at a time."""
    fixed = {}
    if params.attribute:
        fixed["attribute"] = await attributes.conditions(tx, "opportunity", params.attribute)
    cursors = request.app.state.cursors
    return answer(await resources.fetch_page(tx, principal, OPPORTUNITIES, params, cursors, fixed=fixed))


@router.post("", status_code=201, response_model=schemas.Opportunity, operation_id="createOpportunity")
async def create_opportunity(
    principal: OpportunitiesWrite, tx: EdgeTransaction, body: schemas.OpportunityCreate
) -> Response:
    """Records an opportunity; it begins in the first stage of its process."""
    row = await service.create(tx, principal, body)
    return created(OPPORTUNITIES.wire(row), f"{OPPORTUNITIES.path}/{row['id']}", row["version"])


@router.post(
    ":batch",
    response_model=batch.OpportunityBatchResult,
    operation_id="batchOpportunities",
    openapi_extra=REFUSES_TRANSITIONS,
)
async def batch_opportunities(
    principal: OpportunitiesWrite, tx: EdgeTransaction, body: batch.OpportunityBatch
) -> Response:
    """Does up to 200 operations in order: all of them, or none."""
    return answer(await batch.run(tx, principal, body))


@router.get("/{id}", response_model=schemas.Opportunity, operation_id="getOpportunity")
async def get_opportunity(request: Request, principal: OpportunitiesRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One opportunity."""
    row = await resources.fetch(tx, principal, OPPORTUNITIES, id)
    return one(request, OPPORTUNITIES.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Opportunity, operation_id="updateOpportunity")
async def update_opportunity(
    principal: OpportunitiesWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.OpportunityPatch,
    if_match: IfMatch = None,
) -> Response:
    """Changes facts (JSON merge-patch); stage and status change by transitions only."""
    return _shown(await service.patch(tx, principal, id, body, if_match))


@router.delete("/{id}", status_code=204, operation_id="deleteOpportunity")
async def delete_opportunity(
    principal: OpportunitiesWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None
) -> Response:
    """Deletes an opportunity softly; it can be restored for 30 days."""
    await resources.delete(tx, principal, OPPORTUNITIES, id, if_match)
    return no_content()


@router.post("/{id}:restore", response_model=schemas.Opportunity, operation_id="restoreOpportunity")
async def restore_opportunity(principal: OpportunitiesWrite, tx: EdgeTransaction, id: UUID) -> Response:
    """Undoes a deletion of the last 30 days."""
    return _shown(await service.restore(tx, principal, id))


@router.post("/{id}:reassign", response_model=schemas.Opportunity, operation_id="reassignOpportunity")
async def reassign_opportunity(
    principal: OpportunitiesWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: schemas.OpportunityReassign,
    if_match: IfMatch = None,
) -> Response:
    """Hands an opportunity to another rep (managers only); stage, passages and history stay."""
    return _shown(await service.reassign(tx, principal, id, body, if_match))


@router.put(
    "/by-external-id/{source}/{external_id}",
    response_model=schemas.Opportunity,
    responses=answers(201, schemas.Opportunity),
    operation_id="upsertOpportunity",
)
async def upsert_opportunity(
    principal: OpportunitiesWrite,
    tx: EdgeTransaction,
    source: ExternalText,
    external_id: ExternalText,
    body: schemas.OpportunityUpsert,
) -> Response:
    """Creates or replaces the opportunity that another system knows under this id."""
    row, is_new = await service.upsert(tx, principal, source, external_id, body)
    if is_new:
        return created(OPPORTUNITIES.wire(row), f"{OPPORTUNITIES.path}/{row['id']}", row["version"])
    return _shown(row)


@router.post(
    "/{id}/transitions",
    response_model=transition_schemas.TransitionResult,
    operation_id="transitionOpportunity",
    openapi_extra=REFUSES_TRANSITIONS,
)
async def transition_opportunity(
    principal: OpportunitiesWrite,
    tx: EdgeTransaction,
    id: UUID,
    body: transition_schemas.TransitionRequest,
    if_match: IfMatch = None,
) -> Response:
    """Moves an opportunity: pass a milestone, go back, void, lose, abandon, reopen, cancel.

    `pass` records that the milestone of the present stage was reached; the last one wins. An irreversible milestone,
    once passed, can't be gone back over; a passage recorded by mistake can be voided within 24 hours. The answer holds
    the opportunity as it then stands, and the ids of what was added to its history.
    """
    row, ids = await transitions.transition(tx, principal, id, body, if_match)
    return answer({"opportunity": OPPORTUNITIES.wire(row), "transition_ids": ids}, version=row["version"])


@router.get(
    "/{id}/transitions", response_model=Page[transition_schemas.Transition], operation_id="listOpportunityTransitions"
)
async def list_transitions(
    request: Request,
    principal: OpportunitiesRead,
    tx: EdgeTransaction,
    id: UUID,
    params: Annotated[transition_schemas.TransitionFilters, Query()],
) -> Response:
    """The real path of an opportunity, with everything withdrawn, latest first."""
    await resources.fetch(tx, principal, OPPORTUNITIES, id)
    cursors = request.app.state.cursors
    return answer(await resources.fetch_page(tx, principal, TRANSITIONS, params, cursors, fixed={"opportunity_id": id}))


@router.get("/{id}/members", response_model=Page[schemas.OpportunityMember], operation_id="listOpportunityMembers")
async def list_members(
    request: Request,
    principal: OpportunitiesRead,
    tx: EdgeTransaction,
    id: UUID,
    params: Annotated[ListParams, Query()],
) -> Response:
    """Who takes part besides the owner, in the order they were added."""
    return answer(await sharing.page_of_members(tx, principal, id, params, request.app.state.cursors))


@router.post(
    "/{id}/members", status_code=201, response_model=schemas.OpportunityMember, operation_id="addOpportunityMember"
)
async def add_member(
    principal: OpportunitiesWrite, tx: EdgeTransaction, id: UUID, body: schemas.OpportunityMemberAdd
) -> Response:
    """Shares the opportunity with a member."""
    row = await sharing.add(tx, principal, id, body)
    return created(dict(row), f"{OPPORTUNITIES.path}/{id}/members/{row['member_id']}")


@router.get("/{id}/members/{member_id}", response_model=schemas.OpportunityMember, operation_id="getOpportunityMember")
async def get_member(principal: OpportunitiesRead, tx: EdgeTransaction, id: UUID, member_id: UUID) -> Response:
    """One member's part in an opportunity."""
    return answer(dict(await sharing.fetch_member(tx, principal, id, member_id)))


@router.delete("/{id}/members/{member_id}", status_code=204, operation_id="removeOpportunityMember")
async def remove_member(principal: OpportunitiesWrite, tx: EdgeTransaction, id: UUID, member_id: UUID) -> Response:
    """Ends a member's part in the opportunity."""
    await sharing.remove(tx, principal, id, member_id)
    return no_content()
