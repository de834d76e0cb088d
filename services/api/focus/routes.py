"""The ranked seats over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.conditional import tag_of
from services.api.edge import EdgeTransaction, requires
from services.api.focus import capacity, capacity_schemas, pin_schemas, pins, schemas, service
from services.api.focus.views import FocusParams, FocusViewPage
from services.api.pagination import ListParams, Page
from services.api.reads import spoken
from services.api.routing import IfMatch, Router
from services.api.standard import Language
from services.api.wire import answer, created, dump, no_content, one
from shared.catalog.labels import negotiate
from shared.tenancy import Principal

router = Router(prefix="/v1/focus", tags=["focus"])
FocusRead = Annotated[Principal, requires("focus:read")]
FocusWrite = Annotated[Principal, requires("focus:write")]


@router.get("", response_model=FocusViewPage, operation_id="listFocus")
async def list_focus(
    request: Request,
    principal: FocusRead,
    tx: EdgeTransaction,
    params: Annotated[FocusParams, Query()],
    accept_language: Language = None,
) -> Response:
    """The ranked seats of one rep, each with its parts and the reasons for its place."""
    language = negotiate(accept_language)
    body = await service.seats(tx, principal, params, request.app.state.cursors, language)
    # When it was asked for is no part of what it says: the tag is weak, and stays while the seats do.
    tag = tag_of(dump({**body, "as_of": None}))
    return answer(body, headers=spoken(language) | {"ETag": f"W/{tag}"})


@router.get("/moves", response_model=Page[schemas.Move], operation_id="listFocusMoves")
async def list_focus_moves(
    request: Request,
    principal: FocusRead,
    tx: EdgeTransaction,
    params: Annotated[schemas.MoveFilters, Query()],
    accept_language: Language = None,
) -> Response:
    """Moves between bands with their causes, the newest first."""
    language = negotiate(accept_language)
    body = await service.moves(tx, principal, params, request.app.state.cursors, language)
    return answer(body, headers=spoken(language))


@router.get("/overview", response_model=Page[schemas.RepOverview], operation_id="listFocusOverview")
async def list_focus_overview(
    request: Request, principal: FocusRead, tx: EdgeTransaction, params: Annotated[ListParams, Query()]
) -> Response:
    """How each rep stands: bands, shortages, engage seats that are being forgotten (not for reps)."""
    return answer(await service.overview(tx, principal, params, request.app.state.cursors))


@router.get("/capacity", response_model=capacity_schemas.Capacity, operation_id="getFocusCapacity")
async def get_focus_capacity(
    principal: FocusRead,
    tx: EdgeTransaction,
    params: Annotated[capacity_schemas.OwnerParam, Query()],
) -> Response:
    """How many seats a rep has in each band."""
    body = capacity.wire(await capacity.read(tx, principal, params.owner_id))
    # The workspace's numbers show here too, and change without the rep's version: no 304 for this one.
    return answer(body, version=body["version"])


@router.put("/capacity", response_model=capacity_schemas.Capacity, operation_id="setFocusCapacity")
async def set_focus_capacity(
    principal: FocusWrite,
    tx: EdgeTransaction,
    params: Annotated[capacity_schemas.OwnerParam, Query()],
    body: capacity_schemas.CapacityPut,
    if_match: IfMatch = None,
) -> Response:
    """Sets a rep's own capacities (managers only); null takes the workspace's."""
    after = await capacity.change(tx, principal, params.owner_id, body, if_match)
    return answer(after, version=after["version"])


@router.get("/pins", response_model=Page[pin_schemas.Pin], operation_id="listPins")
async def list_pins(
    request: Request,
    principal: FocusRead,
    tx: EdgeTransaction,
    params: Annotated[pin_schemas.PinFilters, Query()],
) -> Response:
    """Pins and mutes within the caller's reach."""
    body = await resources.fetch_page(tx, principal, pins.PINS, params, request.app.state.cursors)
    return answer({**body, "data": [pins.shown(row, tx) for row in body["data"]]})


@router.post(
    "/pins",
    status_code=201,
    response_model=pin_schemas.Pin,
    operation_id="createPin",
    openapi_extra={"x-error-codes": ["pin_limit_reached"]},
)
async def create_pin(principal: FocusWrite, tx: EdgeTransaction, body: pin_schemas.PinCreate) -> Response:
    """Pins a subject to a band, or mutes it until a date."""
    row = await pins.create(tx, principal, body)
    return created(pins.shown(row, tx), f"{pins.PINS.path}/{row['id']}", row["version"])


@router.get("/pins/{id}", response_model=pin_schemas.Pin, operation_id="getPin")
async def get_pin(request: Request, principal: FocusRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One pin or mute."""
    row = await resources.fetch(tx, principal, pins.PINS, id)
    return one(request, pins.shown(row, tx), row["version"])


@router.delete("/pins/{id}", status_code=204, operation_id="endPin")
async def end_pin(principal: FocusWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Ends a pin or mute before its time; it stays in the history."""
    await pins.end(tx, principal, id, if_match)
    return no_content()
