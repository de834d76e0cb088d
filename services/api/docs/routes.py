"""`/docs` and the documents for machines, outside /v1 and without a key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from services.api import conditional
from services.api.docs import page
from services.api.openapi import document_3_0
from services.api.wire import JSON, dump

router = APIRouter(include_in_schema=False)
# Nothing is loaded from anywhere, and nothing runs.
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    state = request.app.state
    if not hasattr(state, "openapi_bytes"):
        state.openapi_bytes = dump(request.app.openapi())
    return _whole(request, state.openapi_bytes)


@router.get("/openapi-3.0.json")
async def openapi_3_0(request: Request) -> Response:
    """The document for generators that know OpenAPI 3.0 only."""
    state = request.app.state
    if not hasattr(state, "openapi_3_0_bytes"):
        state.openapi_3_0_bytes = dump(document_3_0(request.app))
    return _whole(request, state.openapi_3_0_bytes)


def _whole(request: Request, document: bytes) -> Response:
    """A document that is the same for as long as the process runs: 304 for whom it is not new."""
    headers = {"Cache-Control": "no-cache"}
    return conditional.named(request, Response(document, headers=headers, media_type=JSON))


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The reference page."""
    state = request.app.state
    if not hasattr(state, "reference"):
        state.reference = page.reference(request.app.openapi())
    return HTMLResponse(state.reference, headers=POLICY)


@router.get("/docs/errors")
async def docs_errors() -> HTMLResponse:
    """The error codes."""
    return HTMLResponse(page.errors(), headers=POLICY)
