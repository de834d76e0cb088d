"""The OpenAPI document is a product: plain enough for every generator, and true of what is answered."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator, FormatChecker
from starlette.routing import Match

from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.flow import reads, recording, undoing, working_day
from tests.support.scoring import drain

SNAPSHOT = Path(__file__).with_name("operations.txt")
METHODS = ("get", "put", "post", "delete", "patch")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def everywhere(node: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a JSON document with its place."""
    if isinstance(node, dict):
        yield place, node
        for name, value in node.items():
            yield from everywhere(value, f"{place}/{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from everywhere(value, f"{place}/{number}")


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every object that is open by silence closed: an answer then may hold only what is declared."""
    strict = copy.deepcopy(document)
    for name, schema in strict["components"]["schemas"].items():
        if "properties" in schema and "additionalProperties" not in schema and name != "Problem":
            schema["additionalProperties"] = False
    return strict


@cache
def _closed_of(app: FastAPI) -> dict[str, Any]:
    return closed(app.openapi())


def validator_of(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    root = {"components": document["components"], **schema}
    return Draft202012Validator(root, format_checker=FormatChecker())


def route_of(app: FastAPI, request: httpx.Request) -> APIRoute:
    scope = {"type": "http", "path": request.url.path, "method": request.method}
    route: APIRoute = next(each for each in app.state.routes if each.matches(scope)[0] is Match.FULL)
    return route


def complaints(app: FastAPI, response: httpx.Response) -> list[str]:
    """What an answer has that its operation does not declare."""
    document = _closed_of(app)
    route = route_of(app, response.request)
    declared = document["paths"][route.path_format][response.request.method.lower()]["responses"]
    place = f"{route.operation_id} {response.status_code}"
    found = declared.get(str(response.status_code)) or declared.get(f"{response.status_code // 100}XX")
    if found is None:
        return [f"{place}: the status is not declared"]
    kind = response.headers.get("content-type", "").partition(";")[0]
    if not response.content:
        return [f"{place}: a body is declared and none came"] if found.get("content") else []
    if kind not in found.get("content", {}):
        return [f"{place}: {kind} is not declared"]
    validator = validator_of(document, found["content"][kind]["schema"])
    return [f"{place} {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(response.json())]


def test_the_document_is_openapi_3_1(app: FastAPI) -> None:
    document = app.openapi()
    assert document["openapi"].startswith("3.1.")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere_and_every_schema_is_used(app: FastAPI) -> None:
    document = app.openapi()
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = {node["$ref"] for _, node in everywhere(document) if isinstance(node.get("$ref"), str)}
    assert used - known == set()
    assert known - used == set()


def test_nothing_is_a_union_with_null(app: FastAPI) -> None:
    nulls = [place for place, node in everywhere(app.openapi()) if {"type": "null"} in (node.get("anyOf") or [])]
    assert nulls == []


def test_no_parameter_of_a_query_may_be_null(app: FastAPI) -> None:
    wrong = []
    for method, path, operation in operations(app.openapi()):
        for parameter in operation.get("parameters", ()):
            kind = parameter["schema"].get("type")
            if kind == "null" or (isinstance(kind, list) and "null" in kind) or "oneOf" in parameter["schema"]:
                wrong.append(f"{method} {path} {parameter['name']}")
    assert wrong == []


def test_operation_ids_are_those_of_the_snapshot(app: FastAPI) -> None:
    """Clients are generated from these names: one that goes or changes is a break, to be made knowingly.

    SIXTEEN_WRITE_SNAPSHOTS=1 writes the file anew.
    """
    found = sorted(
        f"{operation['operationId']} {method.upper()} {path}" for method, path, operation in operations(app.openapi())
    )
    assert len({line.split(" ")[0] for line in found}) == len(found)
    if os.environ.get("SIXTEEN_WRITE_SNAPSHOTS"):
        SNAPSHOT.write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
    assert SNAPSHOT.read_text(encoding="utf-8").splitlines() == found


def test_every_operation_says_what_it_does_and_what_it_answers(app: FastAPI) -> None:
    for method, path, operation in operations(app.openapi()):
        place = f"{method} {path}"
        assert operation.get("summary"), place
        assert operation.get("description"), place
        successes = {status: each for status, each in operation["responses"].items() if status.startswith("2")}
        assert successes, place
        for status, each in successes.items():
            if status != "204" and path.startswith("/v1/"):
                assert each["content"], f"{place} {status}"


def test_examples_are_valid(app: FastAPI) -> None:
    document, examples = app.openapi(), 0
    for place, node in everywhere(document["components"]["schemas"]):
        given = node.get("examples")
        if not isinstance(given, list) or place.endswith("/properties"):
            continue
        validator = validator_of(document, {name: value for name, value in node.items() if name != "examples"})
        for example in given:
            examples += 1
            assert [error.message for error in validator.iter_errors(example)] == [], place
    assert examples > 5


async def test_what_is_answered_is_what_is_declared(app: FastAPI, admin: Caller, servers: Servers) -> None:
    """A working day: every answer, read and written, against its declared schema, with nothing undeclared in it."""
    async with recording(admin) as seen:
        made = await working_day(admin)
        await drain(servers, admin.workspace_id)
        for path in reads(made):
            await admin.ok("GET", path)
        await undoing(admin, made)
    wrong = {complaint for response in seen for complaint in complaints(app, response)}
    assert sorted(wrong) == []
    called = {route_of(app, response.request).operation_id for response in seen}
    every = {operation["operationId"] for _, path, operation in operations(app.openapi()) if path.startswith("/v1/")}
    assert every - called == set()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/customers/nothing", None, 404),
        ("GET", "/v1/customers?colour=red", None, 400),
        ("POST", "/v1/customers", {"nmae": "x"}, 422),
        ("POST", "/v1/opportunities", {"name": "x", "customer_id": "0198c0de-0000-7000-8000-000000000000"}, 422),
    ],
)
async def test_problems_are_what_is_declared(
    app: FastAPI, admin: Caller, method: str, path: str, body: Any, status: int
) -> None:
    response = await admin.request(method, path, json=body)
    assert response.status_code == status
    assert complaints(app, response) == []


async def test_the_document_is_served(http: httpx.AsyncClient, app: FastAPI) -> None:
    response = await http.get("/openapi.json")
    assert (response.status_code, response.json()) == (200, app.openapi())
