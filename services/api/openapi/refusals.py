"""Which errors an operation can answer with, told from what it takes; what only it refuses, its route adds.

A route names its own with `openapi_extra={"x-error-codes": ["milestone_irreversible"]}`.
"""

from __future__ import annotations

from typing import Any

from services.api.errors import Problem
from services.api.openapi.walk import resolve

PROBLEM_JSON = "application/problem+json"
ANY = (
    "invalid_parameter",
    "query_too_long",
    "unauthorized",
    "forbidden",
    "quota_exceeded",
    "internal_error",
    "unavailable",
)
BODY = ("malformed_json", "payload_too_large", "unsupported_media_type", "invalid")
WRITE = ("conflict", "request_in_flight")
KEYED = ("bad_request", "idempotency_key_reused")
MERGED = ("/v1/customers/{id}", "/v1/contacts/{id}")
FEEDS = ("/v1/events", "/v1/events/stream")
VERSIONED = ("bad_request", "precondition_failed", "precondition_required")


def refuse(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> None:
    """Adds `x-error-codes` and a response for each status among them."""
    own = operation.get("x-error-codes", [])
    codes = sorted({*_codes(document, method, operation), *_codes_of_path(path), *own}, key=_order)
    operation["x-error-codes"] = codes
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(Problem.registry[code].status, []).append(code)
    responses = operation["responses"]
    for status, those in by_status.items():
        responses.setdefault(str(status), _response(document, status, those))
    operation["responses"] = dict(sorted(responses.items()))


def _codes(document: dict[str, Any], method: str, operation: dict[str, Any]) -> set[str]:
    parameters = [resolve(document, each) for each in operation.get("parameters", ())]
    names = {(each["in"], each["name"]) for each in parameters}
    codes = set(ANY)
    if any(each["in"] == "path" or each["schema"].get("format") == "uuid" for each in parameters):
        codes.add("not_found")
    if ("query", "cursor") in names:
        codes.add("invalid_cursor")
    if "requestBody" in operation:
        codes.update(BODY)
    if method != "get":
        codes.update(WRITE)
    if ("header", "Idempotency-Key") in names:
        codes.update(KEYED)
    if method in {"put", "patch"} or "201" in operation["responses"]:
        codes.add("already_exists")
    if ("header", "If-Match") in names:
        codes.update(VERSIONED)
    if method == "put":
        codes.add("precondition_failed")
    return codes


def _codes_of_path(path: str) -> set[str]:
    """What was merged into another is gone from every path below it; a feed is not kept for ever."""
    codes = {"merged"} if path.startswith(MERGED) else set()
    return codes | ({"cursor_expired", "invalid_cursor"} if path.endswith(":sync") or path in FEEDS else set())


def _order(code: str) -> tuple[int, str]:
    return Problem.registry[code].status, code


def _response(document: dict[str, Any], status: int, codes: list[str]) -> dict[str, Any]:
    """The response of these codes, held once among the components where many operations share it."""
    shared = document["components"].setdefault("responses", {})
    name = "".join(word.capitalize() for code in codes for word in code.split("_"))
    shared[name] = {
        "description": " ".join(f"`{code}`: {Problem.registry[code].title}." for code in codes),
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
        | ({"Retry-After": {"$ref": "#/components/headers/RetryAfter"}} if status in {429, 503} else {})
        | ({"RateLimit": {"$ref": "#/components/headers/RateLimit"}} if status == 429 else {}),
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    return {"$ref": f"#/components/responses/{name}"}
