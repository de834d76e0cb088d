"""The OpenAPI document is a product: plain enough for every generator, and true of what is answered."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator
from starlette.routing import Match

from services.api.errors import Problem
from services.api.openapi import document_3_0
from services.api.openapi.walk import map_schemas, operations, resolve
from shared.events import EVENT_TYPES
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.flow import reads, recording, undoing, working_day
from tests.support.scoring import drain

SNAPSHOT = Path(__file__).with_name("operations.txt")


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
    place = f"{route.operation_id} {response.status_code}"
    operation = document["paths"][route.path_format][response.request.method.lower()]
    found = operation["responses"].get(str(response.status_code))
    if found is None:
        return [f"{place}: the status is not declared"]
    found = resolve(document, found)
    kind = response.headers.get("content-type", "").partition(";")[0]
    if not response.content:
        return [f"{place}: a body is declared and none came"] if found.get("content") else []
    if kind not in found.get("content", {}):
        return [f"{place}: {kind} is not declared"]
    if not kind.endswith("json") or kind == "application/x-ndjson":
        return []
    code = response.json().get("code") if response.is_error else None
    if code is not None and code not in operation["x-error-codes"]:
        return [f"{place}: the code {code} is not declared"]
    validator = validator_of(document, found["content"][kind]["schema"])
    return [f"{place} {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(response.json())]


def test_the_document_is_openapi_3_1(app: FastAPI) -> None:
    document = app.openapi()
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_older_edition_is_openapi_3_0(app: FastAPI) -> None:
    """The same operations and schemas in the older words, without webhooks and with no word that it does not know."""
    document, older = app.openapi(), document_3_0(app)
    assert older["openapi"] == "3.0.3"
    assert [error.message for error in OpenAPIV30SpecValidator(older).iter_errors()] == []
    assert "webhooks" not in older
    names = [[each["operationId"] for _, _, each in operations(edition)] for edition in (document, older)]
    assert names[0] == names[1]
    assert older["components"]["schemas"].keys() < document["components"]["schemas"].keys()
    used = {node["$ref"].rsplit("/", 1)[-1] for _, node in everywhere(older) if isinstance(node.get("$ref"), str)}
    assert older["components"]["schemas"].keys() <= used
    assert [place for place, node in everywhere(older) if isinstance(node.get("type"), list)] == []


async def test_the_older_edition_is_served(http: httpx.AsyncClient, app: FastAPI) -> None:
    response = await http.get("/openapi-3.0.json")
    assert (response.status_code, response.json()) == (200, document_3_0(app))


def test_schemas_are_as_plain_as_generators_like_them(app: FastAPI) -> None:
    """No titles, no twins, no generic names, no class without a name in a union, no decimal that is a number."""
    document, wrong = app.openapi(), []

    def look(schema: dict[str, Any]) -> dict[str, Any]:
        if isinstance(schema.get("title"), str) or "const" in schema or "anyOf" in schema:
            wrong.append(schema)
        if schema.get("format") == "decimal" and "string" not in schema["type"]:
            wrong.append(schema)
        wrong.extend(each for each in schema.get("oneOf", ()) if "$ref" not in each and each != {"type": "null"})
        return schema

    map_schemas(document, look)
    assert wrong == []
    assert [name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name)] == []


def test_every_reference_leads_somewhere_and_every_schema_is_used(app: FastAPI) -> None:
    document = app.openapi()
    kinds = ("schemas", "responses", "parameters", "headers")
    known = {f"#/components/{kind}/{name}" for kind in kinds for name in document["components"][kind]}
    used = {node["$ref"] for _, node in everywhere(document) if isinstance(node.get("$ref"), str)}
    assert used - known == set()
    assert known - used == set()


def test_nothing_is_a_union_with_null(app: FastAPI) -> None:
    nulls = [place for place, node in everywhere(app.openapi()) if {"type": "null"} in (node.get("anyOf") or [])]
    assert nulls == []


def test_no_parameter_of_a_query_may_be_null(app: FastAPI) -> None:
    wrong = []
    for method, path, operation in operations(app.openapi()):
        for each in operation.get("parameters", ()):
            parameter = resolve(app.openapi(), each)
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


@pytest.mark.parametrize("edition", ["3.1", "3.0"])
def test_every_body_has_an_example_that_its_schema_allows(app: FastAPI, edition: str) -> None:
    document = app.openapi()
    wrong = []
    shown = document if edition == "3.1" else document_3_0(app)
    for method, path, operation in operations(shown):
        bodies = [("body", each) for each in operation.get("requestBody", {}).get("content", {}).values()]
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                bodies += [(status, each) for kind, each in response.get("content", {}).items() if "json" in kind]
        in_newer = document["paths"][path][method]
        for place, content in bodies:
            assert "example" in content, f"{method} {path} {place}"
            # What the older words say of the schema is the same; the newer ones can be checked.
            validator = validator_of(document, _same_place(in_newer, place)["schema"])
            wrong += [f"{method} {path} {place} {each.message}" for each in validator.iter_errors(content["example"])]
    assert wrong == []


def test_every_event_is_a_webhook_with_an_example(app: FastAPI) -> None:
    document = app.openapi()
    hooks = {name: each for _, name, each in operations(document, "webhooks")}
    assert hooks.keys() == EVENT_TYPES.keys()
    ids = [each["operationId"] for each in hooks.values()]
    assert len({*ids, *(each["operationId"] for _, _, each in operations(document))}) == len(ids) + len(
        list(operations(document))
    )
    for name, each in hooks.items():
        content = each["requestBody"]["content"]["application/json"]
        errors = [error.message for error in validator_of(document, content["schema"]).iter_errors(content["example"])]
        assert errors == [], name


def _same_place(operation: dict[str, Any], place: str) -> dict[str, Any]:
    content = (operation["requestBody"] if place == "body" else operation["responses"][place])["content"]
    return dict(next(iter(content.values())))


def test_what_is_made_is_linked_to(app: FastAPI) -> None:
    document = app.openapi()
    for _, path, operation in operations(document):
        made = operation["responses"].get("201")
        if made is None or "get" not in document["paths"].get(f"{path.partition('/by-external-id')[0]}/{{id}}", {}):
            continue
        assert any(name.startswith("get") for name in made["links"]), path
        for link in made["links"].values():
            assert link["parameters"] == {"id": "$response.body#/id"}


def test_every_operation_names_its_errors_and_scopes(app: FastAPI) -> None:
    document = app.openapi()
    for _, path, operation in operations(document):
        place = operation["operationId"]
        codes = operation["x-error-codes"]
        statuses = {str(Problem.registry[code].status) for code in codes}
        refusals = {status for status in operation["responses"] if status >= "400"}
        assert statuses == refusals, place
        for status in refusals:
            response = resolve(document, operation["responses"][status])
            assert list(response["content"]) == ["application/problem+json"], place
        needs = {scope for scheme in operation["security"] for scopes in scheme.values() for scope in scopes}
        assert needs == set(operation["x-required-scopes"]), place
        assert path.startswith("/v1/"), place


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
    # The one never ends, the others need an identity provider: each has tests of its own.
    logins = {"getLoginOptions", "startLogin", "completeLogin", "refreshLogin", "revokeLogin"}
    logins |= {"listMemberLogins", "unlinkMemberLogin", "restoreMemberLogin"}
    logins |= {"listMemberSessions", "endMemberSession", "endMemberSessions"}
    assert every - called == {"streamEvents", *logins}


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


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi-3.0.json"])
async def test_who_has_the_document_is_not_sent_it_again(http: httpx.AsyncClient, path: str) -> None:
    tag = (await http.get(path)).headers["etag"]
    again = await http.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await http.get(path, headers={"If-None-Match": '"older"'})).status_code == 200


def test_a_header_is_called_the_same_everywhere(app: FastAPI) -> None:
    names = {
        parameter["name"]
        for _, _, operation in operations(app.openapi())
        for parameter in operation.get("parameters", ())
        if parameter.get("in") == "header"
    }
    assert len({name.lower() for name in names}) == len(names), names
    assert "+00:00" not in str(app.openapi())
