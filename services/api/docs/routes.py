"""`/docs`, outside /v1 and without a key."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from services.api.docs import page

router = APIRouter(include_in_schema=False)
# Nothing is loaded from anywhere, and nothing runs.
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The reference page."""
    return HTMLResponse(page.reference(request.app.openapi()), headers=POLICY)


@router.get("/docs/errors")
async def docs_errors() -> HTMLResponse:
    """The error codes."""
    return HTMLResponse(page.errors(), headers=POLICY)
