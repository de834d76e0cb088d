"""Webhook endpoints over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request, Response

from services.api import resources
from services.api.api_keys.service import ShownOnce
from services.api.edge import EdgeTransaction, requires
from services.api.pagination import Page
from services.api.routing import IfMatch, Router
from services.api.webhooks import schemas, service
from services.api.webhooks.resource import ENDPOINTS
from services.api.webhooks.service import Means, means_of
from services.api.wire import answer, etag, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/webhook-endpoints", tags=["webhooks"])
WebhooksRead = Annotated[Principal, requires("webhooks:read")]
WebhooksWrite = Annotated[Principal, requires("webhooks:write")]
# Whoever may not read events is not told them by another way either.
WebhooksMake = Annotated[Principal, requires("webhooks:write", "events:read")]
NO_STORE = {"Cache-Control": "no-store"}


def _means(request: Request) -> Means:
    return means_of(request.app.state.sixteen.settings)


InstallationMeans = Annotated[Means, Depends(_means)]


@router.get("", response_model=Page[schemas.WebhookEndpoint], operation_id="listWebhookEndpoints")
async def list_webhook_endpoints(
    request: Request,
    principal: WebhooksRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.WebhookEndpointFilters, Query()],
) -> Response:
    """The workspace's receivers of events, newest first, a page at a time. Their keys are not shown."""
    return answer(await resources.fetch_page(tx, principal, ENDPOINTS, params, request.app.state.cursors))


@router.post("", status_code=201, response_model=schemas.WebhookEndpointCreated, operation_id="createWebhookEndpoint")
async def create_webhook_endpoint(
    principal: WebhooksMake, tx: EdgeTransaction, means: InstallationMeans, body: schemas.WebhookEndpointCreate
) -> Response:
    """Begins to send events to a URL.

    The answer holds the key that verifies deliveries; it can be read again under `/secret`. What happens from now on
    is delivered, at least once and mostly in order; `:replay-missing` delivers what happened before. A receiver is told
    the types of event that the feed would tell whoever made it, as long as they may have one. To make one needs
    `events:read`, and the read scopes of all it would be told, besides.
    """
    row, key = await service.create(tx, principal, body, means)
    headers = {"Location": f"{ENDPOINTS.path}/{row['id']}", "ETag": etag(row["version"]), **NO_STORE}
    return ShownOnce({**ENDPOINTS.wire(row), "key": key}, "key", headers)


@router.get("/{id}", response_model=schemas.WebhookEndpoint, operation_id="getWebhookEndpoint")
async def get_webhook_endpoint(request: Request, principal: WebhooksRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One receiver, without its keys."""
    row = await resources.fetch(tx, principal, ENDPOINTS, id)
    return one(request, ENDPOINTS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.WebhookEndpoint, operation_id="updateWebhookEndpoint")
async def update_webhook_endpoint(
    principal: WebhooksWrite,
    tx: EdgeTransaction,
    means: InstallationMeans,
    id: UUID,
    body: schemas.WebhookEndpointPatch,
    if_match: IfMatch = None,
) -> Response:
    """Changes a receiver (JSON merge-patch). What still waits for it goes by the new settings.

    `disabled: true` holds its deliveries back until `:enable`; events that happen meanwhile are not kept for it. To
    change where events go, or which, one must be allowed to read all it is told.
    """
    row = await service.patch(tx, principal, id, body, if_match, means)
    return answer(ENDPOINTS.wire(row), version=row["version"])


@router.delete("/{id}", status_code=204, operation_id="deleteWebhookEndpoint")
async def delete_webhook_endpoint(
    principal: WebhooksWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None
) -> Response:
    """Ends a receiver for good, its keys with it. What still waits for it is skipped."""
    await service.delete(tx, principal, id, if_match)
    return no_content()


@router.post("/{id}:enable", response_model=schemas.WebhookEndpoint, operation_id="enableWebhookEndpoint")
async def enable_webhook_endpoint(
    principal: WebhooksWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None
) -> Response:
    """Lets a disabled receiver have its deliveries again, those that waited first.

    What failed or happened while it was disabled is delivered by `:recover` and `:replay-missing`. Whoever lets one go
    that is `orphaned` takes it over, and must be allowed to read all it is told.
    """
    row = await service.enable(tx, principal, id, if_match)
    return answer(ENDPOINTS.wire(row), version=row["version"])


@router.get("/{id}/secret", response_model=schemas.WebhookSecret, operation_id="getWebhookSecret")
async def get_webhook_secret(
    principal: WebhooksWrite, tx: EdgeTransaction, means: InstallationMeans, id: UUID
) -> Response:
    """What verifies deliveries: the secret of v1, the public key of v1a, and old ones in their grace.

    Needs the right to write, for who has the secret can pretend to be us; the audit trail keeps who asked.
    """
    return answer(await service.show_secret(tx, principal, id, means), headers=NO_STORE)


@router.post("/{id}:rotate-secret", response_model=schemas.WebhookEndpoint, operation_id="rotateWebhookSecret")
async def rotate_webhook_secret(
    principal: WebhooksWrite,
    tx: EdgeTransaction,
    means: InstallationMeans,
    id: UUID,
    body: schemas.WebhookSecretRotation,
    if_match: IfMatch = None,
) -> Response:
    """Replaces the signing key; read the new one under `/secret`.

    For the grace period (a day by default) every delivery carries a signature by the old key beside that by the new
    one, so that a receiver can be changed over at any moment of it. Five old keys may be in their grace at once.
    """
    row = await service.rotate_secret(tx, principal, id, body, if_match, means)
    return answer(ENDPOINTS.wire(row), version=row["version"])
