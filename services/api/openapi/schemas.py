"""Schemas as generators like them: plain names, nulls as types, nothing said twice.

pydantic says an optional value as `anyOf: [X, null]` and repeats every name as a title; generators make a union class
of the first and a class name of the second.
"""

from __future__ import annotations

import re
from typing import Any

from services.api.openapi.walk import Schema, map_schemas, operations, rename_schemas

NULL = {"type": "null"}
# Beside these a type list would say what they say already.
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_GENERIC = re.compile(r"(\w+?)_(\w+)_")
# Names that a language keeps for itself, or that its test files end with: a generator would rename them its own way.
_RESERVED = {
    "Import": "ImportJob",
    "ImportError": "ImportRowError",
    "Export": "ExportJob",
    "WebhookTest": "WebhookTestRequest",
}
_WRITTEN = ("Create", "Upsert", "Patch", "Put")


def tidy(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every schema in its plainest form."""
    document = _name_bodies(_name_unions(map_schemas(document, _plain)))
    names = {name: _plain_name(name) for name in document["components"]["schemas"]}
    document = rename_schemas(document, {old: new for old, new in names.items() if old != new})
    return _known_values_where_read(_without_null_parameters(document))


def _plain_name(name: str) -> str:
    """`Page_Customer_` as `CustomerPage`."""
    match = _GENERIC.fullmatch(name)
    return f"{_plain_name(match[2])}{match[1]}" if match else _RESERVED.get(name, name)


def _plain(schema: Schema) -> Schema:
    schema = {name: value for name, value in schema.items() if name != "title" or not isinstance(value, str)}
    for name in _NUMBERS:
        if isinstance(schema.get(name), float) and schema[name].is_integer():
            schema[name] = int(schema[name])
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("default", ...) is None:
        # What is left out is null, which the type says.
        del schema["default"]
    return _plain_null(schema)


def _plain_null(schema: Schema) -> Schema:
    """`anyOf: [X, null]` becomes X with a null type: generators then make one nullable field, not a union."""
    options = schema.get("anyOf")
    if not isinstance(options, list) or NULL not in options:
        return schema
    rest = [each for each in options if each != NULL]
    own = {name: value for name, value in schema.items() if name != "anyOf"}
    if len(rest) > 1 or "$ref" in rest[0] or not isinstance(rest[0].get("type"), str):
        return {**own, "oneOf": [*rest, NULL]}
    only = dict(rest[0])
    if "enum" in only:
        only["enum"] = [*only["enum"], None]
    return {**only, **own, "type": [only["type"], "null"]}


def _name_unions(document: dict[str, Any]) -> dict[str, Any]:
    """A discriminated union inside a list gets a name of its own, or each generator invents one."""
    named: dict[str, Schema] = {}

    def name(schema: Schema) -> Schema:
        items = schema.get("items")
        if not isinstance(items, dict) or "discriminator" not in items:
            return schema
        kinds = [each["$ref"].rsplit("/", 1)[-1] for each in items["oneOf"]]
        ending = _common_ending(kinds)
        named[ending] = {"description": f"One of {', '.join(kinds)}, by `{_property(items)}`.", **items}
        return {**schema, "items": {"$ref": f"#/components/schemas/{ending}"}}

    document = map_schemas(document, name)
    document["components"]["schemas"] = dict(sorted({**document["components"]["schemas"], **named}.items()))
    return document


def _name_bodies(document: dict[str, Any]) -> dict[str, Any]:
    """A body described in place gets a name after its operation: `CreateImportForm`, `OpportunityWonEvent`."""
    schemas = document["components"]["schemas"]
    for place, ending in (("paths", "Form"), ("webhooks", "Event")):
        for _, _, operation in operations(document, place):
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "properties" not in content["schema"]:
                    continue
                words = operation["operationId"].removeprefix("on")
                name = f"{words[0].upper()}{words[1:]}{ending}"
                schemas[name] = {"description": operation.get("description", ""), **content["schema"]}
                content["schema"] = {"$ref": f"#/components/schemas/{name}"}
    return document


def _property(union: Schema) -> str:
    return str(union["discriminator"]["propertyName"])


def _common_ending(names: list[str]) -> str:
    """`CreateOperation`, `UpdateOperation` → `Operation`; without one, all of them in a row."""
    words = [re.findall(r"[A-Z][a-z0-9]*", name) for name in names]
    ending: list[str] = []
    for place in zip(*(reversed(each) for each in words), strict=False):
        if len(set(place)) > 1:
            break
        ending.insert(0, place[0])
    return "".join(ending) or "Or".join(names)


def _without_null_parameters(document: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not one that may be null: no query or header can say null."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _not_null(parameter["schema"])
                if parameter.get("description") == parameter["schema"].get("description"):
                    parameter["schema"].pop("description", None)
    return document


def _not_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        schema = {**schema, "type": kinds[0] if len(kinds) == 1 else kinds}
    if "enum" in schema:
        schema = {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    options = [option for option in schema.get("oneOf", ()) if option != NULL]
    if len(options) == 1:
        schema = {**options[0], **{name: value for name, value in schema.items() if name != "oneOf"}}
    elif options:
        schema = {**schema, "oneOf": options}
    return dict(schema)


def _known_values_where_read(document: dict[str, Any]) -> dict[str, Any]:
    """What may be written of a field is also what may be read of it: known values are shown in both places."""
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        for field, each in schema.get("properties", {}).items():
            for ending in _WRITTEN:
                written = schemas.get(f"{name}{ending}", {}).get("properties", {}).get(field, {})
                if "x-extensible-enum" in written and "string" in each.get("type", ()):
                    each.setdefault("x-extensible-enum", written["x-extensible-enum"])
    return document
