"""Who is calling, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response

from services.api.edge import EdgeTransaction, requires
from services.api.me import schemas, service
from services.api.routing import Router
from services.api.wire import answer
from shared.tenancy import Principal

router = Router(prefix="/v1/me", tags=["me"])


@router.get("", response_model=schemas.Me, operation_id="getMe")
async def get_me(principal: Annotated[Principal, requires()], tx: EdgeTransaction) -> Response:
    """Who is calling and what they may do; any key may ask."""
    return answer(await service.describe(tx, principal))
