"""`/docs`, outside /v1 and without a key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from services.api.docs import page
from services.api.openapi import document_3_0

router = APIRouter(include_in_schema=False)
# Nothing is loaded from anywhere, and nothing runs.
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/openapi-3.0.json")
async def openapi_3_0(request: Request) -> Response:
    """The document for generators that know OpenAPI 3.0 only."""
    return JSONResponse(document_3_0(request.app))


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
