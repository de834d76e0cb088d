"""API keys over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.api_keys import schemas, service
from services.api.api_keys.resource import API_KEYS
from services.api.edge import EdgeTransaction, requires
from services.api.members.forgetting import forgetting
from services.api.pagination import Page
from services.api.routing import IfMatch, Router
from services.api.wire import answer, etag, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/api-keys", tags=["api-keys"])
ApiKeysRead = Annotated[Principal, requires("api_keys:read")]
ApiKeysWrite = Annotated[Principal, requires("api_keys:write")]


@router.get("", response_model=Page[schemas.ApiKey], operation_id="listApiKeys")
async def list_api_keys(
    request: Request, principal: ApiKeysRead, tx: EdgeTransaction, params: Annotated[schemas.ApiKeyFilters, Query()]
) -> Response:
    """The caller's keys; administrators see everybody's."""
    fixed: dict[str, Any] = {} if principal.role == "admin" else {"member_id": principal.member_id}
    cursors = request.app.state.cursors
    return answer(await resources.fetch_page(tx, principal, API_KEYS, params, cursors, fixed=fixed))


@router.post("", status_code=201, response_model=schemas.ApiKeyCreated, operation_id="createApiKey")
async def create_api_key(principal: ApiKeysWrite, tx: EdgeTransaction, body: schemas.ApiKeyCreate) -> Response:
    """Makes a key; its secret is shown in this answer and never again."""
    row, key = await service.create(tx, principal, body)
    headers = {"Location": f"{API_KEYS.path}/{row['id']}", "ETag": etag(row["version"]), "Cache-Control": "no-store"}
    return service.ShownOnce({**API_KEYS.wire(row), "key": key}, "key", headers)


@router.get("/{id}", response_model=schemas.ApiKey, operation_id="getApiKey")
async def get_api_key(request: Request, principal: ApiKeysRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One key, without its secret."""
    row = await service.get(tx, principal, id)
    return one(request, API_KEYS.wire(row), row["version"])


@router.delete("/{id}", status_code=204, operation_id="revokeApiKey")
async def revoke_api_key(
    request: Request, principal: ApiKeysWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None
) -> Response:
    """Revokes a key: it opens nothing from now on."""
    await service.revoke(tx, principal, id, if_match)
    return forgetting(request, principal, no_content())
