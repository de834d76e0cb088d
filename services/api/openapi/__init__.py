"""The OpenAPI document as a product: stable names, one problem shape, plain nulls, examples; and its 3.0 edition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from services.api.errors import ProblemDocument
from services.api.openapi.edition_3_0 import downgrade
from services.api.openapi.operations import enrich
from services.api.openapi.schemas import tidy
from services.api.openapi.texts import DESCRIPTION, SERVERS, VERSION, tags_of
from services.api.webhooks.document import webhook_paths

__all__ = ["DESCRIPTION", "VERSION", "document", "document_3_0"]


def document(app: FastAPI, routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _make(app, [each for each in routes if isinstance(each, APIRoute)])
    return app.openapi_schema


def document_3_0(app: FastAPI) -> dict[str, Any]:
    """The same for generators that know OpenAPI 3.0 only: without webhooks, nulls said its way."""
    if not hasattr(app.state, "openapi_3_0"):
        app.state.openapi_3_0 = downgrade(app.openapi())
    made: dict[str, Any] = app.state.openapi_3_0
    return made


def _make(app: FastAPI, routes: list[APIRoute]) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    made["webhooks"] = webhook_paths()
    made = tidy(made)
    public = [route for route in routes if route.include_in_schema]
    enrich(made, {(method.lower(), route.path_format): route for route in public for method in route.methods or ()})
    return {
        "openapi": made["openapi"],
        "info": {**made["info"], "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": SERVERS,
        "tags": tags_of(made),
        "paths": made["paths"],
        "webhooks": made["webhooks"],
        "components": {name: dict(sorted(each.items())) for name, each in sorted(made["components"].items())},
    }
