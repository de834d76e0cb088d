"""The catalog over HTTP."""

from __future__ import annotations

from fastapi import Request, Response

from services.api.catalog import schemas, service
from services.api.edge import requires
from services.api.routing import Router
from services.api.standard import Language
from services.api.wire import JSON
from shared.catalog.labels import negotiate

router = Router(prefix="/v1/catalog", tags=["catalog"])


@router.get("", response_model=schemas.Catalog, operation_id="getCatalog", dependencies=[requires()])
async def get_catalog(request: Request, accept_language: Language = None) -> Response:
    """Every enum, role, template and error code, with labels in the language asked for; any key may ask."""
    language = negotiate(accept_language)
    body, tag = service.catalog(language)
    headers = {
        "ETag": tag,
        "Content-Language": language,
        "Vary": "Accept-Language",
        "Cache-Control": "private, max-age=3600",
    }
    wanted = request.headers.get("if-none-match", "")
    if tag in (each.strip().removeprefix("W/") for each in wanted.split(",")) or wanted.strip() == "*":
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, JSON)
