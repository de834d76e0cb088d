"""Visiting every schema of an OpenAPI document, and nothing that only looks like one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")
_MAPS = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONES = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")


def operations(document: dict[str, Any], place: str = "paths") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation, in the order of the document."""
    for path, item in document.get(place, {}).items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def map_schemas(document: dict[str, Any], change: Callable[[Schema], Schema]) -> dict[str, Any]:
    """The document with `change` applied to each schema, the innermost first."""
    components = document.get("components", {})
    others = {kind: components[kind] for kind in ("parameters", "responses", "headers") if kind in components}
    return {
        **document,
        "components": {
            **components,
            "schemas": {name: in_schema(each, change) for name, each in components.get("schemas", {}).items()},
            **{kind: _around(each, change) for kind, each in others.items()},
        },
        **{kind: _around(document[kind], change) for kind in ("paths", "webhooks") if kind in document},
    }


def _around(node: Any, change: Callable[[Schema], Schema]) -> Any:
    """Outside schemas, the member `schema` always holds one; examples are data and stay as they are."""
    if isinstance(node, list):
        return [_around(each, change) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        name: in_schema(value, change)
        if name == "schema" and isinstance(value, dict)
        else value
        if name in {"example", "examples"}
        else _around(value, change)
        for name, value in node.items()
    }


def in_schema(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """One schema with all schemas within it changed, and then itself."""
    made = dict(schema)
    for name in _MAPS:
        if isinstance(made.get(name), dict):
            made[name] = {key: in_schema(each, change) for key, each in made[name].items()}
    for name in _LISTS:
        if isinstance(made.get(name), list):
            made[name] = [in_schema(each, change) for each in made[name]]
    for name in _ONES:
        if isinstance(made.get(name), dict):
            made[name] = in_schema(made[name], change)
    return change(made)


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What a node with `$ref` leads to; any other is itself."""
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def rename_schemas(document: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The document with component schemas called otherwise, everywhere."""
    places = {f"#/components/schemas/{old}": f"#/components/schemas/{new}" for old, new in names.items()}

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(each) for each in node]
        if isinstance(node, dict):
            return {key: renamed(value) for key, value in node.items()}
        return places.get(node, node) if isinstance(node, str) else node

    made: dict[str, Any] = renamed(document)
    schemas = made["components"]["schemas"]
    made["components"]["schemas"] = {names.get(name, name): schemas[name] for name in schemas}
    return made
