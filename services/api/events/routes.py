"""Events over HTTP: the feed, the live stream, the types."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request, Response
from fastapi.security import SecurityScopes

from services.api.api_keys.service import ShownOnce
from services.api.auth.callers import authorize
from services.api.edge import EdgeTransaction, requires
from services.api.errors import BadRequest
from services.api.events import schemas, service, tickets
from services.api.events.queries import Sight
from services.api.events.stream import EventStream, Follower
from services.api.routing import Router
from services.api.standard import Language
from services.api.state import State
from services.api.wire import answer, etag
from shared.catalog.labels import negotiate
from shared.tenancy import Principal

router = Router(prefix="/v1/events", tags=["events"])
types_router = Router(prefix="/v1/event-types", tags=["events"])
tickets_router = Router(prefix="/v1/stream-tickets", tags=["events"])
EventsRead = Annotated[Principal, requires("events:read")]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="The id of the last message; the stream goes on after it.")
]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Messages for as long as the client stays: `id` (where to resume), `event` (the type), `data` "
        "(an `Event` as JSON). Comments come in quiet times, and move `id` on.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: AAECAw…\nevent: focus.moved\ndata: {"id": "019c0de0-…", "type": "focus.moved", …}\n\n',
            }
        },
    }
}


async def look_at_ticket(request: Request) -> None:
    """Lets a ticket stand in the place of a key; it is taken when the stream is about to begin."""
    ticket = request.query_params.get("ticket")
    if ticket is None:
        return
    if "authorization" in request.headers:
        raise BadRequest("Send a key or a ticket, not both.")
    state: State = request.app.state.sixteen
    async with state.limits.looking_up(request.scope):
        request.scope["sixteen.redeemed"] = await tickets.find(state.database, ticket, state.clock.now())


@router.get("", response_model=schemas.EventPage, operation_id="listEvents")
async def list_events(
    request: Request,
    principal: EventsRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.EventFilters, Query()],
) -> Response:
    """What has happened, oldest first, in an order that has no gaps.

    Read on from `next_cursor`, on the last page too: whoever does so sees every event exactly once, however many write
    at the same time. Events are kept for 30 days at least; an older place is 410 `cursor_expired`. A page may hold
    fewer events than asked for, even none, while `has_more` is true. Who does not see the whole workspace gets the
    events of records they may see, and those they caused.
    """
    state: State = request.app.state.sixteen
    return answer(await service.page(tx, principal, params, state.hub.places(principal.workspace_id)))


@router.get(
    "/stream",
    status_code=200,
    response_class=EventStream,
    responses=_STREAM,
    operation_id="streamEvents",
    dependencies=[Depends(look_at_ticket)],
    openapi_extra={"x-streams": True, "x-error-codes": ["bad_request"]},
)
async def stream_events(
    request: Request,
    principal: EventsRead,
    params: Annotated[schemas.StreamFilters, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Events as they happen, as server-sent events.

    A client that loses its connection sends the last `id` as `Last-Event-ID` (an EventSource does so by itself) and
    misses nothing. Something is sent every 10 seconds at least. A client that can't keep up is let go, and resumes.
    The stream ends when the key, session or token it was opened with is revoked or expires. An EventSource, which can't
    send a key, opens it with a ticket of `/v1/stream-tickets`; to open it again it needs a new one, and gives the last
    `id` as `after`. The stream then ends with what the ticket was made with; one that is refused for want of a place
    (429, 503) leaves the ticket good.
    """
    state: State = request.app.state.sixteen
    wanted = service.wanted(principal, params)
    places = state.hub.places(principal.workspace_id)
    place, parameter = (last_event_id, "header:Last-Event-ID") if last_event_id else (params.after, "?after")
    position = None
    if place:
        async with state.database.transaction(principal.workspace_id, state.clock.now()) as tx:
            position = await places.find(tx, place, parameter, Sight.of(principal))
    ticket: tickets.Ticket | None = request.scope.get("sixteen.redeemed")

    async def check() -> Principal:
        return await authorize(request, SecurityScopes(["events:read"]))

    def follow() -> Follower:
        return Follower(
            state.hub,
            state.hub.admit(principal),
            principal,
            state.clock,
            wanted=lambda who: wanted if who == principal else service.wanted(who, params),
            position=position,
            check=check,
        )

    return EventStream(follow, ticket.take if ticket is not None else None)


@router.get("/{id}", response_model=schemas.Event, operation_id="getEvent")
async def get_event(principal: EventsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One event, for as long as events are kept. It never changes."""
    return answer(await service.get(tx, principal, id))


@types_router.get("", response_model=schemas.EventTypeList, operation_id="listEventTypes", dependencies=[requires()])
async def list_event_types(accept_language: Language = None) -> Response:
    """Every type of event there is, with its schema and an example; any key may ask."""
    language = negotiate(accept_language)
    return answer(service.types_wire(language), headers={"Content-Language": language, "Vary": "Accept-Language"})


@types_router.get(
    "/{type}", response_model=schemas.EventTypeDocument, operation_id="getEventType", dependencies=[requires()]
)
async def get_event_type(type: str, accept_language: Language = None) -> Response:
    """One type of event, such as `opportunity.won`."""
    language = negotiate(accept_language)
    body = service.type_wire(service.type_of(type), language)
    return answer(body, headers={"Content-Language": language, "Vary": "Accept-Language"})


@tickets_router.post("", status_code=201, response_model=schemas.StreamTicket, operation_id="createStreamTicket")
async def create_stream_ticket(principal: EventsRead, tx: EdgeTransaction) -> Response:
    """A ticket that opens one live stream, once, within 30 seconds, as the caller.

    Ask for it from the page that opens the stream; it is made for addresses, where a key must never stand.
    """
    body = await tickets.make(tx, principal)
    headers = {"Location": "/v1/events/stream", "ETag": etag(1), "Cache-Control": "no-store"}
    return ShownOnce(body, "ticket", headers)
