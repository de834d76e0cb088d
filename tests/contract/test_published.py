"""The document that clients were generated from: kept beside the code, up to date, and never broken unawares."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from deploy.cli.openapi import EDITIONS, Edition, make_document
from tests.contract import published
from tests.contract.breaking import breaks, version_allows

Document = dict[str, Any]


@pytest.mark.parametrize("edition", EDITIONS)
def test_the_published_documents_are_those_of_the_code(edition: Edition) -> None:
    """Stale? `make openapi` writes them anew, unless that would break clients."""
    assert published.read(edition) == make_document(edition), "run: make openapi"


def test_nothing_published_is_broken(app: FastAPI) -> None:
    old, new = published.read("3.1"), app.openapi()
    assert version_allows(old, new) or breaks(old, new) == []


THING: Document = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "name": {"type": "string"},
        "note": {"type": ["string", "null"]},
        "state": {"type": "string", "enum": ["open", "closed"]},
        "kind": {"type": "string", "x-extensible-enum": ["a"]},
        "price": {"oneOf": [{"$ref": "#/components/schemas/Money"}, {"type": "null"}]},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Money"}},
    },
}
MADE: Document = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 10},
        "note": {"type": ["string", "null"]},
        "state": {"type": "string", "enum": ["open", "closed"], "default": "open"},
        "kind": {"type": "string", "x-extensible-enum": ["a", "b"]},
        "count": {"type": "number", "maximum": 9},
        "price": {"oneOf": [{"$ref": "#/components/schemas/Money"}, {"type": "null"}]},
        "free": {"type": "object", "additionalProperties": True},
    },
}
MONEY: Document = {"type": "object", "properties": {"amount": {"type": "string"}}, "required": ["amount"]}
PROBLEM: Document = {
    "type": "object",
    "required": ["code"],
    "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
}


def base() -> Document:
    def body(name: str, kind: str = "application/json") -> Document:
        return {"content": {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    document = {
        "info": {"version": "1.2.3"},
        "paths": {
            "/things": {
                "post": {
                    "operationId": "createThing",
                    "tags": ["things"],
                    "x-required-scopes": ["things:write"],
                    "parameters": [
                        {"name": "loud", "in": "query", "schema": {"type": "boolean"}},
                        {"$ref": "#/components/parameters/Limit"},
                    ],
                    "requestBody": body("Made"),
                    "security": [{"key": ["things:write"]}, {"session": []}],
                    "responses": {
                        "201": {**body("Thing"), "headers": {"ETag": {"schema": {"type": "string"}}}},
                        "404": {"$ref": "#/components/responses/Missing"},
                    },
                }
            }
        },
        "webhooks": {"thing.made": {"post": {"operationId": "thingMade", "requestBody": body("Thing")}}},
        "components": {
            "schemas": {"Thing": THING, "Made": MADE, "Money": MONEY, "Problem": PROBLEM},
            "responses": {"Missing": body("Problem", "application/problem+json")},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}, "session": {"type": "http"}},
            "parameters": {"Limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 9}}},
        },
    }
    return copy.deepcopy(document)


def operation(document: Document) -> Document:
    found: Document = document["paths"]["/things"]["post"]
    return found


def field(document: Document, schema: str, name: str) -> Document:
    found: Document = document["components"]["schemas"][schema]["properties"][name]
    return found


def refusal(document: Document) -> Document:
    found: Document = document["components"]["responses"]["Missing"]
    return found


Change = Callable[[Document], Any]
BREAKING: dict[str, Change] = {
    "path": lambda d: d["paths"].pop("/things"),
    "operation": lambda d: d["paths"]["/things"].update(put=d["paths"]["/things"].pop("post")),
    "operation id": lambda d: operation(d).update(operationId="makeThing"),
    "tag": lambda d: operation(d).update(tags=["others"]),
    "scope": lambda d: operation(d)["x-required-scopes"].append("admin:write"),
    "parameter": lambda d: operation(d)["parameters"].pop(0),
    "parameter required": lambda d: operation(d)["parameters"][0].update(required=True),
    "parameter retyped": lambda d: operation(d)["parameters"][0].update(schema={"type": "integer"}),
    "parameter new and required": lambda d: operation(d)["parameters"].append(
        {"name": "x", "in": "query", "required": True, "schema": {"type": "string"}}
    ),
    "shared parameter narrower": lambda d: d["components"]["parameters"]["Limit"]["schema"].update(maximum=5),
    "body required": lambda d: operation(d)["requestBody"].update(required=True),
    "body type": lambda d: operation(d)["requestBody"].update(content={"text/csv": {}}),
    "body gone": lambda d: operation(d).pop("requestBody"),
    "response": lambda d: operation(d)["responses"].update({"200": operation(d)["responses"].pop("201")}),
    "response type": lambda d: operation(d)["responses"]["201"].update(content={"text/csv": {}}),
    "response header": lambda d: operation(d)["responses"]["201"].update(headers={}),
    "schema renamed": lambda d: (
        d["components"]["schemas"].update(Stuff=THING),
        operation(d)["responses"]["201"]["content"]["application/json"].update(
            schema={"$ref": "#/components/schemas/Stuff"}
        ),
    ),
    "field answered": lambda d: d["components"]["schemas"]["Thing"]["properties"].pop("note"),
    "field answered retyped": lambda d: field(d, "Thing", "name").update(type="integer"),
    "field answered may be null": lambda d: field(d, "Thing", "name").update(type=["string", "null"]),
    "field answered not always": lambda d: d["components"]["schemas"]["Thing"]["required"].remove("name"),
    "format answered": lambda d: field(d, "Thing", "id").pop("format"),
    "value answered": lambda d: field(d, "Thing", "state")["enum"].append("lost"),
    "values answered free": lambda d: field(d, "Thing", "state").pop("enum"),
    "field answered deep": lambda d: d["components"]["schemas"]["Money"]["properties"].pop("amount"),
    "union answered": lambda d: field(d, "Thing", "price")["oneOf"].append({"type": "string"}),
    "field taken": lambda d: d["components"]["schemas"]["Made"]["properties"].pop("note"),
    "field taken required": lambda d: d["components"]["schemas"]["Made"]["required"].append("note"),
    "field taken new and required": lambda d: (
        d["components"]["schemas"]["Made"]["properties"].update(more={"type": "string"}),
        d["components"]["schemas"]["Made"]["required"].append("more"),
    ),
    "field taken not null": lambda d: field(d, "Made", "note").update(type="string"),
    "number taken whole": lambda d: field(d, "Made", "count").update(type="integer"),
    "value taken": lambda d: field(d, "Made", "state")["enum"].remove("closed"),
    "values taken closed": lambda d: field(d, "Made", "name").update(enum=["x"]),
    "known value taken": lambda d: field(d, "Made", "kind")["x-extensible-enum"].remove("b"),
    "known values new": lambda d: field(d, "Made", "name").update({"x-extensible-enum": ["x"]}),
    "longer": lambda d: field(d, "Made", "name").update(minLength=2),
    "shorter": lambda d: field(d, "Made", "name").update(maxLength=9),
    "pattern": lambda d: field(d, "Made", "name").update(pattern="^x"),
    "default": lambda d: field(d, "Made", "state").update(default="closed"),
    "open object closed": lambda d: field(d, "Made", "free").update(additionalProperties=False),
    "union taken": lambda d: field(d, "Made", "price")["oneOf"].pop(),
    "webhook": lambda d: d["webhooks"].pop("thing.made"),
    "response header retyped": lambda d: operation(d)["responses"]["201"]["headers"].update(
        ETag={"schema": {"type": "integer"}}
    ),
    "refusal": lambda d: operation(d)["responses"].pop("404"),
    "refusal of another kind": lambda d: refusal(d).update(
        content={"application/json": refusal(d)["content"].pop("application/problem+json")}
    ),
    "refusal of another schema": lambda d: refusal(d)["content"]["application/problem+json"].update(
        schema={"$ref": "#/components/schemas/Money"}
    ),
    "refusal without a body": lambda d: refusal(d).pop("content"),
    "problem without a field": lambda d: d["components"]["schemas"]["Problem"]["properties"].pop("detail"),
    "problem not always with a field": lambda d: d["components"]["schemas"]["Problem"]["required"].clear(),
    "problem retyped": lambda d: field(d, "Problem", "code").update(type="integer"),
    "security with more scopes": lambda d: operation(d)["security"][0]["key"].append("admin:write"),
    "security with one way less": lambda d: operation(d)["security"].pop(),
    "security of another scheme": lambda d: operation(d).update(security=[{"other": []}]),
    "security with two keys at once": lambda d: operation(d)["security"][1].update(key=[]),
    "security scheme dropped": lambda d: d["components"]["securitySchemes"].pop("session"),
    "security scheme of another type": lambda d: d["components"]["securitySchemes"]["key"].update(scheme="basic"),
}
HARMLESS: dict[str, Change] = {
    "nothing": lambda d: None,
    "path": lambda d: d["paths"].update({"/others": copy.deepcopy(d["paths"]["/things"])}),
    "parameter": lambda d: operation(d)["parameters"].append(
        {"name": "x", "in": "query", "schema": {"type": "string"}}
    ),
    "parameter shared": lambda d: (
        d["components"]["parameters"].update(Loud=operation(d)["parameters"].pop(0)),
        operation(d)["parameters"].append({"$ref": "#/components/parameters/Loud"}),
    ),
    "fewer scopes": lambda d: operation(d)["x-required-scopes"].clear(),
    "another refusal": lambda d: operation(d)["responses"].update({"409": refusal(d)}),
    "refusal described in its place": lambda d: operation(d)["responses"].update({"404": refusal(d)}),
    "problem with more": lambda d: d["components"]["schemas"]["Problem"]["properties"].update(more={"type": "string"}),
    "problem always with a field": lambda d: d["components"]["schemas"]["Problem"]["required"].append("detail"),
    "security for everyone": lambda d: operation(d).update(security=[]),
    "security with fewer scopes": lambda d: operation(d)["security"][0]["key"].clear(),
    "security in one more way": lambda d: operation(d)["security"].append({"other": []}),
    "security of the document": lambda d: d.update(security=operation(d).pop("security")),
    "security scheme described": lambda d: d["components"]["securitySchemes"]["key"].update(description="A key."),
    "security scheme added": lambda d: d["components"]["securitySchemes"].update(other={"type": "http"}),
    "field answered": lambda d: d["components"]["schemas"]["Thing"]["properties"].update(more={"type": "string"}),
    "field answered always": lambda d: d["components"]["schemas"]["Thing"]["required"].append("note"),
    "field answered never null": lambda d: field(d, "Thing", "note").update(type="string"),
    "known value answered": lambda d: field(d, "Thing", "kind")["x-extensible-enum"].append("c"),
    "field taken": lambda d: d["components"]["schemas"]["Made"]["properties"].update(more={"type": "string"}),
    "field taken not required": lambda d: d["components"]["schemas"]["Made"]["required"].remove("name"),
    "field taken may be null": lambda d: field(d, "Made", "name").update(type=["string", "null"]),
    "value taken": lambda d: field(d, "Made", "state")["enum"].append("lost"),
    "bounds wider": lambda d: field(d, "Made", "name").update(minLength=0, maxLength=20),
    "description": lambda d: field(d, "Made", "name").update(description="What it is called.", examples=["x"]),
    "webhook": lambda d: d["webhooks"].update({"thing.gone": copy.deepcopy(d["webhooks"]["thing.made"])}),
}


@pytest.mark.parametrize("name", list(BREAKING))
def test_a_break_is_found(name: str) -> None:
    new = base()
    BREAKING[name](new)
    assert breaks(base(), new) != []


@pytest.mark.parametrize("name", list(HARMLESS))
def test_what_breaks_nothing_is_let_through(name: str) -> None:
    new = base()
    HARMLESS[name](new)
    assert breaks(base(), new) == []


def test_an_operation_that_was_open_and_asks_for_a_key_is_a_break() -> None:
    old, new = base(), base()
    operation(old).pop("security")
    assert breaks(old, new) == ["POST /things: it was open to all, and needs key, session now"]


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [("1.2.3", "1.9.0", False), ("1.2.3", "2.0.0", True), ("0.1.0", "0.1.9", False), ("0.1.0", "0.2.0", True)],
)
def test_the_version_says_when_clients_must_look(old: str, new: str, allowed: bool) -> None:
    assert version_allows({"info": {"version": old}}, {"info": {"version": new}}) is allowed
