"""Judgements over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Response

from services.api.edge import EdgeTransaction, requires
from services.api.reads import spoken
from services.api.routing import Router
from services.api.scores import schemas, service
from services.api.standard import Language
from services.api.wire import answer
from shared.catalog.labels import negotiate
from shared.tenancy import Principal

router = Router(prefix="/v1/opportunities", tags=["scores"])
OpportunitiesRead = Annotated[Principal, requires("opportunities:read")]


@router.get("/{id}/score", response_model=schemas.Score, operation_id="getOpportunityScore")
async def get_opportunity_score(
    principal: OpportunitiesRead, tx: EdgeTransaction, id: UUID, accept_language: Language = None
) -> Response:
    """How an opportunity is judged: probability with every push, criteria, priority, class and seat."""
    language = negotiate(accept_language)
    return answer(await service.score(tx, principal, id, language), headers=spoken(language))
