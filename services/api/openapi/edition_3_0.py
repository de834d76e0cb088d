"""From OpenAPI 3.1 to 3.0.3, for generators that read no more than that.

Only what our own document uses is turned; a keyword that 3.0 does not know and that only narrows is left out.
"""

from __future__ import annotations

from typing import Any

from services.api.openapi.walk import METHODS, Schema, map_schemas

NULL = {"nullable": True}
# Keywords of JSON Schema 2020-12 that 3.0 has no word for.
UNKNOWN = (
    "$schema", "$id", "$comment", "$defs", "if", "then", "else", "contains", "minContains", "maxContains",
    "propertyNames", "dependentSchemas", "dependentRequired", "unevaluatedProperties", "unevaluatedItems",
    "contentEncoding", "contentSchema",
)  # fmt: skip


def downgrade(document: dict[str, Any]) -> dict[str, Any]:
    """The 3.0.3 edition of a 3.1 document, without webhooks."""
    made = map_schemas(document, _older)
    made.pop("webhooks", None)
    made.pop("jsonSchemaDialect", None)
    info = dict(made["info"])
    info.pop("summary", None)
    if "license" in info:
        info["license"] = {name: value for name, value in info["license"].items() if name != "identifier"}
    paths = {
        path: {name: _operation(name, each) for name, each in item.items()} for path, item in made["paths"].items()
    }
    return _without_unused({**made, "openapi": "3.0.3", "info": info, "paths": paths})


def _without_unused(document: dict[str, Any]) -> dict[str, Any]:
    """Without the schemas that only webhooks led to."""
    components = document["components"]
    schemas = components["schemas"]
    shared = {name: each for name, each in components.items() if name != "schemas"}
    used: set[str] = set()
    found = _references([document["paths"], shared])
    while found:
        used |= found
        found = _references([schemas[name] for name in found]) - used
    kept = {name: schema for name, schema in schemas.items() if name in used}
    return {**document, "components": {**components, "schemas": kept}}


def _references(node: Any) -> set[str]:
    """The names of the schemas that a part of a document refers to."""
    if isinstance(node, list):
        return {name for each in node for name in _references(each)}
    if not isinstance(node, dict):
        return set()
    found = _references(list(node.values()))
    target = node.get("$ref")
    if isinstance(target, str) and target.startswith("#/components/schemas/"):
        found.add(target.rsplit("/", 1)[-1])
    return found


def _operation(method: str, operation: Any) -> Any:
    """3.0 lets only OAuth2 and OpenID Connect name scopes; `x-required-scopes` still does."""
    if method not in METHODS or "security" not in operation:
        return operation
    return {**operation, "security": [{name: [] for name in each} for each in operation["security"]]}


def _older(schema: Schema) -> Schema:
    made = {name: value for name, value in schema.items() if name not in UNKNOWN}
    made = _enum(_bounds(_types(_unions(made))))
    if made.get("examples"):
        made["example"] = made["examples"][0]
    made.pop("examples", None)
    if "contentMediaType" in made:
        del made["contentMediaType"]
        made["format"] = "binary"
    if "patternProperties" in made:
        values = list(made.pop("patternProperties").values())
        made["additionalProperties"] = values[0] if len(values) == 1 else True
    if "prefixItems" in made:
        made["items"] = {}
        del made["prefixItems"]
    if "$ref" in made and len(made) > 1:
        # 3.0 overlooks whatever stands beside a reference.
        made = {"allOf": [{"$ref": made.pop("$ref")}], **made}
    return made


def _unions(schema: Schema) -> Schema:
    """A schema or null is the schema, nullable. `_older` has been at the options before: null is `nullable` there."""
    for union in ("oneOf", "anyOf"):
        options = schema.get(union)
        if not options or NULL not in options:
            continue
        rest = [each for each in options if each != NULL]
        own = {name: value for name, value in schema.items() if name != union}
        if len(rest) == 1:
            return (
                {"allOf": rest, **own, "nullable": True} if "$ref" in rest[0] else {**rest[0], **own, "nullable": True}
            )
        return {**own, union: rest, "nullable": True}
    return schema


def _types(schema: Schema) -> Schema:
    kinds = schema.get("type")
    if kinds == "null":
        return NULL | {name: value for name, value in schema.items() if name != "type"}
    if not isinstance(kinds, list):
        return schema
    rest = [kind for kind in kinds if kind != "null"]
    own = {name: value for name, value in schema.items() if name != "type"}
    nullable = NULL if "null" in kinds else {}
    if len(rest) == 1:
        return {"type": rest[0], **own, **nullable}
    # A null within the union is said beside it, and keywords narrow only the kinds they speak of.
    return {**own, "anyOf": [{"type": kind} for kind in rest], **nullable}


def _bounds(schema: Schema) -> Schema:
    made = dict(schema)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in made and not isinstance(made[exclusive], bool):
            made[bound], made[exclusive] = made[exclusive], True
    return made


def _enum(schema: Schema) -> Schema:
    if "const" in schema:
        return {**{name: value for name, value in schema.items() if name != "const"}, "enum": [schema["const"]]}
    return schema
