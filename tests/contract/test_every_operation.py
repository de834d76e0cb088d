"""What the document says of every operation alike: a new one that lacks a convention fails here, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from services.api.openapi import document_3_0
from services.api.openapi.walk import operations, resolve

# Kept by their parent: what is changed is named by the parent's version, or stands but once.
WITHOUT_IF_MATCH = {
    "removeOpportunityMember",
}
# A few that ship with the product and are the same for all.
WHOLE = {"listProcessTemplates", "listEventTypes"}


class Operation:
    """One operation with what it refers to at hand."""

    def __init__(self, document: dict[str, Any], method: str, path: str, node: dict[str, Any]) -> None:
        self.document, self.method, self.path, self.node = document, method, path, node
        self.name: str = node["operationId"]
        self.parameters = {
            (each["in"], each["name"]): each for each in (resolve(document, one) for one in node.get("parameters", ()))
        }

    def response(self, status: str) -> dict[str, Any]:
        return resolve(self.document, self.node["responses"].get(status, {}))

    def fields(self, status: str) -> dict[str, Any]:
        """The fields of the JSON that is answered."""
        schema = self.response(status).get("content", {}).get("application/json", {}).get("schema", {})
        found: dict[str, Any] = resolve(self.document, schema).get("properties", {})
        return found

    def takes(self, place: str, name: str) -> bool:
        return (place, name) in self.parameters


def every(app: FastAPI) -> Iterator[Operation]:
    document = app.openapi()
    for method, path, node in operations(document):
        yield Operation(document, method, path, node)


def test_what_lists_is_paged(app: FastAPI) -> None:
    wrong = []
    for each in every(app):
        fields = each.fields("200")
        if each.method != "get" or fields.get("data", {}).get("type") != "array":
            continue
        if not {"next_cursor", "has_more"} <= fields.keys():
            wrong.append(f"{each.name}: the answer has no cursor")
        if each.name not in WHOLE and not (each.takes("query", "limit") and each.takes("query", "cursor")):
            wrong.append(f"{each.name}: it takes no limit and cursor")
    assert wrong == []


def test_what_is_read_is_conditional(app: FastAPI) -> None:
    wrong = []
    for each in every(app):
        streams = "text/event-stream" in each.response("200").get("content", {})
        if each.method != "get" or streams:
            continue
        if not each.takes("header", "If-None-Match") or "304" not in each.node["responses"]:
            wrong.append(each.name)
        if "ETag" not in each.response("200")["headers"]:
            wrong.append(f"{each.name}: no ETag")
    assert wrong == []


def test_what_is_made_says_where_it_is(app: FastAPI) -> None:
    wrong = []
    for each in every(app):
        for status in {"201", "202"} & each.node["responses"].keys():
            headers = each.response(status)["headers"]
            if "Location" not in headers:
                wrong.append(f"{each.name} {status}: no Location")
            if "version" in each.fields(status) and "ETag" not in headers:
                wrong.append(f"{each.name} {status}: no ETag")
    assert wrong == []


def test_what_is_posted_can_be_repeated(app: FastAPI) -> None:
    """Who is nobody yet, as before a login, has no workspace to hold a key in."""
    posts = [each for each in every(app) if each.method == "post" and each.node["security"]]
    assert [each.name for each in posts if not each.takes("header", "Idempotency-Key")] == []


def test_what_has_a_version_is_changed_by_version(app: FastAPI) -> None:
    """Of what is read with a version, PATCH and DELETE take If-Match."""
    with_version = {each.path for each in every(app) if each.method == "get" and "version" in each.fields("200")}
    wrong = [
        each.name
        for each in every(app)
        if each.method in {"patch", "delete"} and each.path in with_version and not each.takes("header", "If-Match")
    ]
    assert set(wrong) <= WITHOUT_IF_MATCH


def test_bodies_refuse_what_they_do_not_know(app: FastAPI) -> None:
    wrong = []
    for each in every(app):
        content = each.node.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        schema = resolve(each.document, content["schema"])
        if schema.get("additionalProperties") is not False and "oneOf" not in schema:
            wrong.append(each.name)
    assert wrong == []


def test_every_operation_teaches(app: FastAPI) -> None:
    """A sentence at least, a call as example, and who may call."""
    wrong = []
    for each in every(app):
        words = each.node["description"]
        if len(words.split()) < 5 or not words.strip().endswith("."):
            wrong.append(f"{each.name}: {words!r}")
        if not each.node["x-codeSamples"][0]["source"].startswith(f"curl -X {each.method.upper()} "):
            wrong.append(f"{each.name}: no call")
        if "…" in each.node["x-codeSamples"][0]["source"].split("\n")[0]:
            wrong.append(f"{each.name}: its path has no example")
    assert wrong == []


@pytest.mark.parametrize("edition", ["3.1", "3.0"])
def test_names_of_places_are_the_same_in_every_spelling(app: FastAPI, edition: str) -> None:
    """No two schemas or operations that differ in case alone: generators write each into a file of its name."""
    document = app.openapi() if edition == "3.1" else document_3_0(app)
    for names in (
        list(document["components"]["schemas"]),
        [node["operationId"] for _, _, node in operations(document)],
    ):
        assert len({name.lower().replace("_", "") for name in names}) == len(names)
