"""The OpenAPI document: one problem shape, no twin schemas, nulls as types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from services.api.errors import ProblemDocument

VERSION = "0.1.0"
DESCRIPTION = (
    "Which 16 of your 400 customers deserve attention now, why, and what to do next.\n\n"
    "Errors are `application/problem+json` with a stable `code`. Lists are `{data, next_cursor, has_more}`. "
    "Send `Idempotency-Key` with a POST to be able to repeat it safely, and `If-Match` with a change to be sure of "
    "what is changed."
)

API_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key: `Authorization: Bearer sixteen_live_…`. What it may do is the role of its member.",
}


def document(app: FastAPI, routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        made["components"]["securitySchemes"] = {"apiKey": API_KEY}
        _secure(made, routes)
        app.openapi_schema = _without_null_parameters(_plain_nulls(made))
    return app.openapi_schema


def _secure(made: dict[str, Any], routes: Sequence[BaseRoute]) -> None:
    """Says of each operation which scopes its caller must hold."""
    for route in routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        scopes = [scope for each in route.dependant.dependencies for scope in each.own_oauth_scopes or ()]
        for method in route.methods or ():
            operation = made["paths"][route.path_format][method.lower()]
            operation["security"] = [{"apiKey": []}]
            if scopes:
                operation["x-required-scopes"] = scopes


def _plain_nulls(node: Any) -> Any:
    """`anyOf: [X, null]` becomes X with a null type: generators then make one nullable field, not a union."""
    if isinstance(node, list):
        return [_plain_nulls(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: _plain_nulls(value) for key, value in node.items()}
    options = node.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [each for each in options if each != {"type": "null"}]
        if len(rest) == 1:
            del node["anyOf"]
            only = rest[0]
            if "$ref" in only:
                return {**node, "oneOf": [only, {"type": "null"}]}
            kind = only.get("type")
            if "enum" in only:
                only = {**only, "enum": [*only["enum"], None]}
            return {**only, **node, "type": [kind, "null"]} if isinstance(kind, str) else {**only, **node}
    return node


def _without_null_parameters(made: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not one that may be null: no query or header can say null."""
    for item in made["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _not_null(parameter["schema"])
    return made


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        schema = {**schema, "type": kinds[0] if len(kinds) == 1 else kinds}
    if "enum" in schema:
        schema = {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    for union in ("anyOf", "oneOf"):
        options = [option for option in schema.get(union, ()) if option != {"type": "null"}]
        if len(options) == 1:
            schema = {**options[0], **{name: value for name, value in schema.items() if name != union}}
        elif options:
            schema = {**schema, union: options}
    return schema
