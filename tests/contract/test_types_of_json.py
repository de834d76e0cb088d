"""What a body holds has the type that the document says, and no text has a NUL: on every route that takes one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from services.api.openapi.walk import operations, resolve
from services.api.wire import NulInBody, read_json
from shared.ids import new_id
from tests.contract.test_conventions import v1_routes
from tests.contract.test_tenancy import PARAMETER
from tests.support.caller import Caller

Document = dict[str, Any]
NUMBERS = {"integer", "number"}
# What stands in the place of a value of each type, and is none.
TEXTS: dict[str, list[Any]] = {
    "integer": ["15", "", True],
    "number": ["1.5", "", True],
    "boolean": ["true", 1, 0, ""],
    "string": [15, True],
}
NUL = "a\0b"


class Place:
    """One place of a body: how it is reached, what the document says of it, and the least body that has it."""

    def __init__(self, path: tuple[str | int, ...], schema: Document, tags: dict[tuple[str | int, ...], Document]):
        self.path, self.schema, self._tags = path, schema, tags

    @property
    def pointer(self) -> str:
        return "".join(f"/{part}" for part in self.path)

    def body(self, value: Any) -> Any:
        for length in range(len(self.path), 0, -1):
            part = self.path[length - 1]
            around = self._tags.get(self.path[: length - 1], {})
            value = [value] if isinstance(part, int) else {**around, part: value}
        return value


def kinds(schema: Document) -> set[str]:
    told = schema.get("type", ())
    return {told} if isinstance(told, str) else set(told)


def places(document: Document, schema: Document) -> Iterator[Place]:
    """Every place below a schema; what refers to itself is walked once."""
    waiting: list[tuple[tuple[str | int, ...], Document, dict[Any, Document], tuple[str, ...]]] = [((), schema, {}, ())]
    while waiting:
        path, node, tags, within = waiting.pop()
        if "$ref" in node:
            if node["$ref"] in within:
                continue
            within = (*within, node["$ref"])
            node = resolve(document, node)
        of_tag = {ref: tag for tag, ref in node.get("discriminator", {}).get("mapping", {}).items()}
        for choice in (*node.get("oneOf", ()), *node.get("anyOf", ()), *node.get("allOf", ())):
            told = {node["discriminator"]["propertyName"]: of_tag[choice["$ref"]]} if of_tag else tags.get(path, {})
            waiting += [(path, choice, {**tags, path: told}, within)]
        if (path and kinds(node) - {"object", "array", "null"}) or (path and free(node)):
            yield Place(path, node, tags)
        for name, each in node.get("properties", {}).items():
            if name not in tags.get(path, {}):
                waiting.append(((*path, name), each, tags, within))
        if isinstance(node.get("additionalProperties"), dict):
            waiting.append(((*path, "USD"), node["additionalProperties"], tags, within))
        if "items" in node:
            waiting.append(((*path, 0), node["items"], tags, within))


def free(node: Document) -> bool:
    """Whether any JSON may stand there."""
    return "object" in kinds(node) and "properties" not in node and node.get("additionalProperties", True) is True


def bodies(app: FastAPI) -> list[tuple[str, str, str, Place]]:
    """Operation, method, path and place of everything that is taken as JSON."""
    document = app.openapi()
    found = []
    for method, path, node in operations(document):
        content = node.get("requestBody", {}).get("content", {}).get("application/json")
        called = PARAMETER.sub(lambda _: str(new_id()), path)
        if content:
            found += [(node["operationId"], method.upper(), called, at) for at in places(document, content["schema"])]
    return found


async def complaints_of(admin: Caller, method: str, path: str, body: Any) -> tuple[int, set[str]]:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    response = await admin.request(method, path, content=content, headers=headers)
    return response.status_code, {each["pointer"] for each in response.json().get("errors", ())}


async def test_no_text_is_a_number_and_no_number_is_true(app: FastAPI, admin: Caller) -> None:
    wrong, tried = [], {"integer": 0, "number": 0, "boolean": 0, "string": 0}
    for name, method, path, place in bodies(app):
        [kind, *more] = sorted(kinds(place.schema) - {"null"})
        if more or "const" in place.schema or kind not in tried:
            continue
        for value in TEXTS[kind]:
            tried[kind] += 1
            status, pointers = await complaints_of(admin, method, path, place.body(value))
            if status != 422 or place.pointer not in pointers:
                wrong.append(f"{name} {place.pointer} = {value!r}: {status} {sorted(pointers)[:4]}")
    assert wrong == []
    assert all(count > 20 for count in tried.values()), tried


async def test_a_whole_number_may_be_written_with_a_point(admin: Caller) -> None:
    """To JSON 15.0 is an integer, and some clients have no other numbers."""
    made = await admin.ok("POST", "/v1/members", {"name": "Li", "role": "rep", "engage_capacity": 15.0})
    assert made["engage_capacity"] == 15
    refused = await admin.patch(f"/v1/members/{made['id']}", {"engage_capacity": 15.5})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/engage_capacity")


async def test_queries_are_texts_and_stay_so(admin: Caller) -> None:
    assert (await admin.get("/v1/customers?limit=2&include_deleted=true")).status_code == 200


async def test_a_nul_is_refused_wherever_a_text_stands(app: FastAPI, admin: Caller) -> None:
    wrong, tried = [], 0
    for name, method, path, place in bodies(app):
        if "string" not in kinds(place.schema) and not free(place.schema):
            continue
        if free(place.schema):
            deep = [({"k": [1, {"m": NUL}]}, "/k/1/m"), ({"k": {NUL: 1}}, f"/k/{NUL}")]
        else:
            deep = [(NUL, "")]
        for value, below in deep:
            tried += 1
            status, pointers = await complaints_of(admin, method, path, place.body(value))
            if (status, pointers) != (422, {place.pointer + below}):
                wrong.append(f"{name} {place.pointer}: {status} {sorted(pointers)[:4]}")
    assert wrong == []
    assert tried > 200


async def test_a_nul_in_a_query_or_path_is_refused(app: FastAPI, admin: Caller) -> None:
    wrong, tried = [], 0
    for method, path, node in operations(app.openapi()):
        if not path.startswith("/v1/") or node["operationId"] == "streamEvents":
            continue
        texts = [each["name"] for each in _parameters(app, node) if each["in"] == "query"]
        called = PARAMETER.sub(lambda _: str(new_id()), path)
        for name in (*texts, "no\0ne"):
            tried += 1
            response = await admin.request(method.upper(), called, params={name: NUL})
            pointers = [each["pointer"] for each in response.json()["errors"]]
            if (response.status_code, pointers) != (400, [f"?{name}"]):
                wrong.append(f"{node['operationId']} ?{name!r}: {response.status_code} {pointers}")
    for method, route in _routes_with_names(app):
        tried += 1
        response = await admin.request(method, PARAMETER.sub("a%00b", route.path_format), json={})
        if response.status_code not in {400, 404, 415}:
            wrong.append(f"{method} {route.path}: {response.status_code} {response.text[:100]}")
    assert wrong == []
    assert tried > 150


@pytest.mark.parametrize(
    ("column", "file_name", "pointer"),
    [("na\0me", "f.csv", "/mapping/fields/name/column"), ("name", "f\0.csv", "/file")],
)
async def test_a_nul_in_a_form_is_refused(admin: Caller, column: str, file_name: str, pointer: str) -> None:
    mapping = {"kind": "customers", "source": "erp", "fields": {"external_id": "id", "name": column}}
    lines = (
        '--B\r\nContent-Disposition: form-data; name="mapping"\r\n\r\n', json.dumps(mapping),
        f'\r\n--B\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n',
        "Content-Type: text/csv\r\n\r\nid,name\n1,Acme\n\r\n--B--\r\n",
    )  # fmt: skip
    headers = {"Content-Type": "multipart/form-data; boundary=B", "Idempotency-Key": "k"}
    response = await admin.request("POST", "/v1/imports", content="".join(lines).encode(), headers=headers)
    assert response.status_code == 422, response.text
    assert [each["pointer"] for each in response.json()["errors"]] == [pointer]


def _parameters(app: FastAPI, node: Document) -> list[Document]:
    return [resolve(app.openapi(), each) for each in node.get("parameters", ())]


def _routes_with_names(app: FastAPI) -> list[tuple[str, APIRoute]]:
    return [
        (method, each)
        for each in v1_routes(app)
        if PARAMETER.search(each.path)
        for method in sorted(each.methods or ())
    ]


class TestReading:
    """What is told of a NUL."""

    @pytest.mark.parametrize(
        ("body", "pointers"),
        [
            (rb'{"a": "\u0000"}', ["/a"]),
            (rb'"x\u0000"', [""]),
            (rb'{"a": {"b": ["", "\u0000", {"c~d/e": "1\u00002"}]}}', ["/a/b/1", "/a/b/2/c~0d~1e"]),
            (rb'{"\u0000": 1}', ["/\0"]),
            (b"[" * 900 + rb'"\u0000"' + b"]" * 900, ["/0" * 900]),
        ],
    )
    def test_every_place_is_named(self, body: bytes, pointers: list[str]) -> None:
        with pytest.raises(NulInBody) as refused:
            read_json(body)
        assert [each.pointer for each in refused.value.problem.errors] == pointers

    @pytest.mark.parametrize("body", [rb'{"a": "\\u0000"}', rb'["\u0001"]', b'["0000"]', rb'{"u0000": "\\\\u0000"}'])
    def test_what_only_looks_like_one_is_none(self, body: bytes) -> None:
        assert read_json(body) == json.loads(body)

    def test_of_very_many_a_few_are_named(self) -> None:
        with pytest.raises(NulInBody) as refused:
            read_json(b"[" + b",".join([rb'"\u0000"'] * 50_000) + b"]")
        assert len(refused.value.problem.errors) == 20
