"""The workspace's policy over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response

from services.api.edge import EdgeTransaction, requires
from services.api.policy import schemas, service
from services.api.routing import IfMatch, Router
from services.api.wire import answer, one
from shared.tenancy import Principal

router = Router(prefix="/v1/policy", tags=["policy"])
PolicyRead = Annotated[Principal, requires("policy:read")]
PolicyWrite = Annotated[Principal, requires("policy:write")]


@router.get("", response_model=schemas.Policy, operation_id="getPolicy")
async def get_policy(request: Request, principal: PolicyRead, tx: EdgeTransaction) -> Response:
    """The policy, complete with defaults."""
    row = await service.get(tx, principal)
    return one(request, service.wire(row), row["version"])


@router.put("", response_model=schemas.Policy, operation_id="replacePolicy")
async def replace_policy(
    principal: PolicyWrite, tx: EdgeTransaction, body: schemas.PolicyDocument, if_match: IfMatch = None
) -> Response:
    """Replaces the whole policy: every member that is left out is the default again, and rates of exchange that are
    left out are gone, so that amounts in those currencies can't be compared any more. `{}` is therefore the way back
    to the defaults. Send what `GET` gave, changed, with its ETag in If-Match; to change single members use PATCH.
    Everything is judged anew."""
    row = await service.replace(tx, principal, body, if_match)
    return answer(service.wire(row), version=row["version"])


@router.patch("", response_model=schemas.Policy, operation_id="updatePolicy")
async def update_policy(
    principal: PolicyWrite, tx: EdgeTransaction, body: schemas.PolicyPatch, if_match: IfMatch = None
) -> Response:
    """Changes the policy (JSON merge-patch). Everything is judged anew."""
    row = await service.patch(tx, principal, body, if_match)
    return answer(service.wire(row), version=row["version"])
