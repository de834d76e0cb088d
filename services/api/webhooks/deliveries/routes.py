"""Deliveries, attempts and the jobs that make deliveries again, over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.pagination import ListParams, Page
from services.api.routing import IfMatch, Router
from services.api.webhooks import queries, redelivery
from services.api.webhooks.deliveries import schemas
from services.api.webhooks.resource import ENDPOINTS, JOBS
from services.api.webhooks.schemas import WebhookTest
from services.api.wire import answer, created, one
from shared.db import Row, Tx
from shared.queue import API_QUEUE, WORK
from shared.tenancy import Principal

router = Router(tags=["webhooks"])
WebhooksRead = Annotated[Principal, requires("webhooks:read")]
WebhooksWrite = Annotated[Principal, requires("webhooks:write")]
DELIVERY_PATH = "/v1/webhook-deliveries"
_STATS = timedelta(days=1)


def _version(row: Row) -> int:
    """A delivery counts no versions: when it last changed is one."""
    return int(row["updated_at"].timestamp() * 1_000_000)


def _asked_in(request: Request) -> str | None:
    """The request that a job goes back to."""
    id_: str | None = request.scope["sixteen.request_id"]
    return id_


def _queued(request: Request, row: Row) -> Response:
    """A job that an api-worker has been told of; should the word be lost, its sweep finds the job."""
    request.app.state.sixteen.nudger.nudge(API_QUEUE, WORK)
    return created(JOBS.wire(row), f"{JOBS.path}/{row['id']}", row["version"])


async def _page(
    request: Request, principal: Principal, tx: Tx, endpoint_id: UUID, listing: queries.Listing, params: ListParams
) -> Response:
    """What belongs to an endpoint, a page at a time."""
    await resources.fetch(tx, principal, ENDPOINTS, endpoint_id)
    cursors = request.app.state.cursors
    return answer(await queries.fetch_page(tx, principal, listing, params, cursors, endpoint_id))


@router.post(
    "/v1/webhook-endpoints/{id}:test",
    status_code=201,
    response_model=schemas.WebhookDelivery,
    operation_id="testWebhookEndpoint",
)
async def test_webhook_endpoint(
    request: Request, principal: WebhooksWrite, tx: EdgeTransaction, id: UUID, body: WebhookTest
) -> Response:
    """Sends an example event to this endpoint alone: signed, tried again and recorded like any other.

    The answer is the delivery; read it again to see what became of it.
    """
    row = await redelivery.send_sample(tx, principal, id, body, request.scope["sixteen.traceparent"])
    request.app.state.sixteen.nudger.nudge(API_QUEUE, WORK)
    return created(queries.delivery_wire(row), f"{DELIVERY_PATH}/{row['id']}", _version(row))


@router.post(
    "/v1/webhook-endpoints/{id}:recover",
    status_code=201,
    response_model=schemas.WebhookJob,
    operation_id="recoverWebhookEndpoint",
)
async def recover_webhook_endpoint(
    request: Request, principal: WebhooksWrite, tx: EdgeTransaction, id: UUID, body: schemas.WebhookRecover
) -> Response:
    """Makes deliveries again that were given up or skipped, each with its whole schedule.

    The answer is a job: read it for its progress, `:cancel` it to stop.
    """
    return _queued(request, await redelivery.recover(tx, principal, id, body, _asked_in(request)))


@router.post(
    "/v1/webhook-endpoints/{id}:replay-missing",
    status_code=201,
    response_model=schemas.WebhookJob,
    operation_id="replayMissingWebhooks",
)
async def replay_missing_webhooks(
    request: Request, principal: WebhooksWrite, tx: EdgeTransaction, id: UUID, body: schemas.WebhookReplay
) -> Response:
    """Delivers every event this endpoint would want and was never sent, also from before it existed.

    It reaches as far back as events are kept (30 days at least), however many they are. The answer is a job.
    """
    row = await redelivery.replay_missing(tx, principal, id, body, _asked_in(request))
    return _queued(request, row)


@router.get(
    "/v1/webhook-endpoints/{id}/attempts",
    response_model=Page[schemas.WebhookAttempt],
    operation_id="listWebhookAttempts",
)
async def list_webhook_attempts(
    request: Request,
    principal: WebhooksRead,
    tx: EdgeTransaction,
    id: UUID,
    params: Annotated[schemas.WebhookAttemptFilters, Query()],
) -> Response:
    """Attempts at this endpoint, newest first: by outcome, status, event and time."""
    return await _page(request, principal, tx, id, queries.ATTEMPTS, params)


@router.get(
    "/v1/webhook-endpoints/{id}/deliveries",
    response_model=Page[schemas.WebhookDelivery],
    operation_id="listWebhookDeliveries",
)
async def list_webhook_deliveries(
    request: Request,
    principal: WebhooksRead,
    tx: EdgeTransaction,
    id: UUID,
    params: Annotated[schemas.WebhookDeliveryFilters, Query()],
) -> Response:
    """Events on their way to this endpoint, delivered or given up; newest event first."""
    return await _page(request, principal, tx, id, queries.DELIVERIES, params)


@router.get(
    "/v1/webhook-endpoints/{id}/stats",
    response_model=schemas.WebhookStats,
    operation_id="getWebhookStats",
)
async def get_webhook_stats(
    principal: WebhooksRead,
    tx: EdgeTransaction,
    id: UUID,
    params: Annotated[schemas.WebhookStatsParams, Query()],
) -> Response:
    """Attempts by outcome and how long they took, within a time (a day by default); and how the endpoint is now."""
    await resources.fetch(tx, principal, ENDPOINTS, id)
    until = params.until or tx.now
    return answer(await queries.stats(tx, id, params.since or until - _STATS, until))


@router.get("/v1/webhook-deliveries/{id}", response_model=schemas.WebhookDelivery, operation_id="getWebhookDelivery")
async def get_webhook_delivery(request: Request, principal: WebhooksRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One event on its way to one endpoint."""
    row = await queries.delivery(tx, principal, id)
    return one(request, queries.delivery_wire(row), _version(row))


@router.post(
    "/v1/webhook-deliveries/{id}:resend",
    status_code=201,
    response_model=schemas.WebhookJob,
    operation_id="resendWebhookDelivery",
)
async def resend_webhook_delivery(
    request: Request, principal: WebhooksWrite, tx: EdgeTransaction, id: UUID
) -> Response:
    """Makes a delivery once more, whatever became of it: at once, and if need be with its whole schedule.

    `webhook-id` and body are those of the first time, so that a receiver that had it can drop it.
    """
    return _queued(request, await redelivery.resend(tx, principal, id, _asked_in(request)))


@router.get(
    "/v1/webhook-attempts/{id}",
    response_model=schemas.WebhookAttemptDetail,
    operation_id="getWebhookAttempt",
)
async def get_webhook_attempt(request: Request, principal: WebhooksRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One attempt: what was sent, and what came back (at most 20,000 bytes of it)."""
    return one(request, await queries.attempt(tx, principal, id), 1)


@router.get("/v1/webhook-jobs", response_model=Page[schemas.WebhookJob], operation_id="listWebhookJobs")
async def list_webhook_jobs(
    request: Request,
    principal: WebhooksRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.WebhookJobFilters, Query()],
) -> Response:
    """Resends, recoveries and replays, newest first."""
    return answer(await resources.fetch_page(tx, principal, JOBS, params, request.app.state.cursors))


@router.get("/v1/webhook-jobs/{id}", response_model=schemas.WebhookJob, operation_id="getWebhookJob")
async def get_webhook_job(request: Request, principal: WebhooksRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One job with its progress: `done` of `total`."""
    row = await resources.fetch(tx, principal, JOBS, id)
    return one(request, JOBS.wire(row), row["version"])


@router.post("/v1/webhook-jobs/{id}:cancel", response_model=schemas.WebhookJob, operation_id="cancelWebhookJob")
async def cancel_webhook_job(
    principal: WebhooksWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None
) -> Response:
    """Ends a job after the page under way; what it has asked for so far is delivered all the same."""
    row = await redelivery.cancel(tx, principal, id, if_match)
    return answer(JOBS.wire(row), version=row["version"])
