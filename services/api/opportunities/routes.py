"""Opportunities over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from sqlalchemy import Table

from services.api import resources
from services.api.attributes import values as attributes
from services.api.edge import EdgeTransaction, requires
from services.api.filters import by_time, equals
from services.api.opportunities import batch, schemas, service, sharing, transition_schemas, transitions
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.views import READ_OPPORTUNITIES, OpportunityListParams, OpportunityParams
from services.api.pagination import ListParams, Page
from services.api.resources import Resource
from services.api.routing import IfMatch, Router
from services.api.standard import Routes
from services.api.wire import answer, columns, created, no_content
from shared.db import Tx
from shared.models import transitions as transitions_table
from shared.tenancy import Principal

router = Router(prefix="/v1/opportunities", tags=["opportunities"])
OpportunitiesRead = Annotated[Principal, requires("opportunities:read")]
OpportunitiesWrite = Annotated[Principal, requires("opportunities:write")]
REFUSES_TRANSITIONS = {
    "x-error-codes": ["transition_not_allowed", "milestone_irreversible", "milestone_criteria_unmet"]
}
REFUSES_OPERATIONS = {
    "x-error-codes": [*REFUSES_TRANSITIONS["x-error-codes"], "not_found", "already_exists", "precondition_failed"]
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


async def _fixed(tx: Tx, params: schemas.OpportunityFilters) -> dict[str, Any]:
    return {"attribute": await attributes.conditions(tx, "opportunity", params.attribute)} if params.attribute else {}


routes = Routes(router, READ_OPPORTUNITIES, schemas.Opportunity, "Opportunity", "Opportunities")
routes.add_list(OpportunityListParams, "Opportunities within the caller's reach, a page at a time.", _fixed)
routes.add_sync()
routes.add_create(
    schemas.OpportunityCreate,
    service.create,
    "Records an opportunity; it begins in the first stage of its process.",
)


@router.post(
    ":batch",
    response_model=batch.OpportunityBatchResult,
    operation_id="batchOpportunities",
    openapi_extra=REFUSES_OPERATIONS,
)
async def batch_opportunities(
    principal: OpportunitiesWrite, tx: EdgeTransaction, body: batch.OpportunityBatch
) -> Response:
    """Does up to 200 operations in order: all of them, or none."""
    return answer(await batch.run(tx, principal, body))


routes.add_get(
    OpportunityParams,
    "One opportunity. `expand=customer,owner,score,next_task,process,contacts` brings all that its page shows.",
)
routes.add_patch(
    schemas.OpportunityPatch,
    service.patch,
    "Changes facts (JSON merge-patch); stage and status change by transitions only.",
)
routes.add_delete("Deletes an opportunity softly; it can be restored for 30 days.")
routes.add_restore("Undoes a deletion of the last 30 days.", service.restore)


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


routes.add_upsert(
    schemas.OpportunityUpsert,
    service.upsert,
    "Creates or replaces the opportunity that another system knows under this id.",
)


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
