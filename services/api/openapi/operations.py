"""What every operation says alike: its words, its scopes, shared headers, links to what it made, a call as example."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi.routing import APIRoute

from services.api.auth.callers import authorize
from services.api.errors import Problem
from services.api.openapi import parts
from services.api.openapi.examples import Examples
from services.api.openapi.refusals import refuse
from services.api.openapi.walk import operations, resolve

MERGE_PATCH = "application/merge-patch+json"
OPAQUE = ("x-upload", "x-streams")
DONE = {
    "200": "Done; the body is what stands now.",
    "201": "Made; `Location` says where it is.",
    "202": "Taken in; it is worked on, and `Location` says where its progress is.",
    "204": "Done; nothing is sent back.",
    "304": "What you have is still what stands.",
}


def scopes_of(route: APIRoute) -> list[str] | None:
    """The scopes a route asks for; None where it asks for no caller at all."""
    asked = [each for each in route.dependant.dependencies if each.call is authorize]
    return sorted({scope for each in asked for scope in each.own_oauth_scopes or ()}) if asked else None


def enrich(document: dict[str, Any], routes: dict[tuple[str, str], APIRoute]) -> None:
    """Completes each operation of the document in place; `routes` by method and path."""
    document["components"]["headers"] = parts.HEADERS
    document["components"]["parameters"] = dict(parts.PARAMETERS)
    document["components"]["securitySchemes"] = parts.SECURITY_SCHEMES
    for method, path, operation in operations(document):
        route = routes[method, path]
        own_codes = operation.get("x-error-codes", [])
        for name in OPAQUE:
            operation.pop(name, None)
        _secure(operation, scopes_of(route))
        _optional_body(route, operation)
        _parameters(method, operation)
        _merge_patch(method, operation)
        _successes(document, method, path, operation)
        refuse(document, method, path, operation)
        _describe(operation, own_codes)
    examples = Examples(document)
    for method, path, operation in operations(document):
        examples.add_to(operation)
        operation["x-codeSamples"] = [{"lang": "curl", "source": curl(document, method, path, operation)}]


def _secure(operation: dict[str, Any], scopes: list[str] | None) -> None:
    """OpenAPI 3.1 lets a bearer scheme name the roles it needs; the extension tells it to older readers too."""
    operation["security"] = [] if scopes is None else [{name: scopes} for name in parts.SECURITY_SCHEMES]
    operation["x-required-scopes"] = scopes or []


def _optional_body(route: APIRoute, operation: dict[str, Any]) -> None:
    if "requestBody" in operation and getattr(route, "body_may_be_empty", False):
        operation["requestBody"]["required"] = False


def _parameters(method: str, operation: dict[str, Any]) -> None:
    given: list[dict[str, Any]] = operation.setdefault("parameters", [])
    required = {each.get("name"): each.get("required", False) for each in given}
    if "If-Match" in required:
        _put(given, "If-Match", "IfMatch")
    if method == "get":
        _put(given, "If-None-Match", "IfNoneMatch")
    elif method == "post" and operation["security"]:
        # Keys are held within a workspace, and who is nobody yet is in none.
        _put(given, "Idempotency-Key", f"IdempotencyKey{'Required' if required.get('Idempotency-Key') else ''}")
    elif method == "put":
        _put(given, "If-None-Match", "CreateGuard")


def _put(given: list[dict[str, Any]], name: str, shared: str) -> None:
    """The shared parameter, in the place of one that a route declares of its own."""
    given[:] = [*(each for each in given if each.get("name") != name), parts.parameter(shared)]


def _merge_patch(method: str, operation: dict[str, Any]) -> None:
    """A change may be sent under either name; both are the same JSON."""
    content = operation.get("requestBody", {}).get("content", {})
    if method == "patch" and "application/json" in content:
        content[MERGE_PATCH] = dict(content["application/json"])


def _successes(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> None:
    responses = {status: each for status, each in operation["responses"].items() if not status.endswith("XX")}
    operation["responses"] = responses
    if method == "get":
        responses["304"] = {"description": DONE["304"]}
    for status, response in responses.items():
        if response.get("description") in {"Successful Response", "Created.", None}:
            response["description"] = DONE.get(status, "Done.")
        headers = response.setdefault("headers", {})
        headers["X-Request-Id"] = parts.header("RequestId")
        headers["RateLimit"] = parts.header("RateLimit")
        headers["RateLimit-Policy"] = parts.header("RateLimitPolicy")
        if status in {"201", "202"}:
            headers["Location"] = parts.header("Location")
            _link(document, path, response)
        if method == "get" or _has_version(document, response):
            headers["ETag"] = parts.header("ETag")
        if method == "post" and operation["security"]:
            headers["Idempotency-Replayed"] = parts.header("IdempotencyReplayed")


def _has_version(document: dict[str, Any], response: dict[str, Any]) -> bool:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return "version" in resolve(document, schema).get("properties", {})


def _link(document: dict[str, Any], path: str, response: dict[str, Any]) -> None:
    """From what was made to reading, changing and deleting it."""
    base = path.partition("/by-external-id/")[0]
    item = document["paths"].get(f"{base}/{{id}}", {})
    links = {
        each["operationId"]: {"operationId": each["operationId"], "parameters": {"id": "$response.body#/id"}}
        for method, each in item.items()
        if method in {"get", "patch", "delete"}
    }
    if links:
        response["links"] = links


def _describe(operation: dict[str, Any], own_codes: list[str]) -> None:
    words = re.sub(r"(?<=[a-z])([A-Z])", r" \1", operation["operationId"]).lower()
    operation["summary"] = words[0].upper() + words[1:]
    told = [operation.get("description", "").strip()]
    if own_codes:
        refusals = "\n".join(f"- `{code}`: {Problem.registry[code].title}." for code in sorted(own_codes))
        told.append(f"It refuses with, among others:\n\n{refusals}")
    scopes = operation["x-required-scopes"]
    anyone = "Any key may ask." if operation["security"] else "No key is needed."
    told.append(f"Needs {' and '.join(f'`{each}`' for each in scopes)}." if scopes else anyone)
    operation["description"] = "\n\n".join(each for each in told if each)


def curl(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    """The operation as one command; `$BASE` and `$KEY` are the reader's."""
    lines = [f'curl -X {method.upper()} "$BASE{_filled(document, path, operation)}"']
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $KEY"')
    if method == "post" and operation["security"]:
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        lines += ['-H "Content-Type: application/json"', f"-d '{_json(content['application/json'].get('example'))}'"]
    elif "multipart/form-data" in content:
        lines += [f"-F '{name}={_part(value)}'" for name, value in content["multipart/form-data"]["example"].items()]
    return " \\\n  ".join(lines)


def _filled(document: dict[str, Any], path: str, operation: dict[str, Any]) -> str:
    for each in operation["parameters"]:
        parameter = resolve(document, each)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "…")))
    return path


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("'", "'\\''")


def _part(value: Any) -> str:
    return _json(value) if not isinstance(value, str) else value.replace("'", "'\\''")
