"""From exceptions to problem documents: ours, the framework's, and the database's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.api.auth.callers import count_refused
from services.api.errors import (
    AlreadyExists,
    AlreadyMerged,
    BadRequest,
    Conflict,
    FieldError,
    Invalid,
    InvalidParameter,
    MalformedJson,
    MethodNotAllowed,
    MilestoneIrreversible,
    NotFound,
    PayloadTooLarge,
    Problem,
    RequestInFlight,
    TooManyRequests,
    TransitionNotAllowed,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    invalid,
    words_of,
    wrong,
)
from services.api.wire import NulInBody

log = structlog.get_logger(__name__)
PROBLEM_JSON = "application/problem+json"
Handler = Callable[[Request, Exception], Awaitable[Response]]
BY_STATUS: dict[int, type[Problem]] = {
    401: Unauthorized,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}

# What the trigger on transitions refuses (migration 0003), in words.
REFUSALS: dict[str, tuple[type[Problem], str]] = {
    "SX001": (NotFound, "The opportunity does not exist."),
    "SX002": (TransitionNotAllowed, "The stage does not belong to the opportunity's process."),
    "SX003": (TransitionNotAllowed, "The passage to be withdrawn is not one of this opportunity."),
    "SX004": (MilestoneIrreversible, "The milestone is irreversible: once passed, it can't be gone back over."),
    "SX005": (TransitionNotAllowed, "The opportunity's status does not allow this transition."),
    "SX006": (TransitionNotAllowed, "A passage can be voided only within 24 hours of being recorded."),
    "SX007": (TransitionNotAllowed, "This transition needs a reason."),
    "SX008": (TransitionNotAllowed, "The milestone has been passed already."),
    "SX009": (Conflict, "These records are append-only."),
    "SX010": (TransitionNotAllowed, "A later passage stands; withdraw that one first."),
    "SX011": (TransitionNotAllowed, "An earlier milestone has not been passed and may not be skipped."),
    "SX012": (Conflict, "An opportunity stays with its customer; a merge of customers moves it."),
    "SX013": (AlreadyMerged, "The record was merged into another one: undo the merge, or use that one."),
}


def problem_response(request: Request, problem: Problem) -> Response:
    request_id = request.scope.get("sixteen.request_id")
    document = problem.document(instance=request.url.path, request_id=request_id)
    return Response(
        orjson.dumps(document, default=str),
        status_code=problem.status,
        headers=problem.headers,
        media_type=PROBLEM_JSON,
    )


def pointer_of(place: tuple[Any, ...]) -> str:
    """`('body', 'amount', 'currency')` as `/amount/currency`; a query parameter as `?name`."""
    if not place:
        return ""
    root, *rest = place
    if root == "query":
        return f"?{rest[0]}" if rest else "?"
    if root == "header":
        return f"header:{rest[0]}" if rest else "header"
    if root == "path":
        return f"path:{rest[0]}" if rest else "path"
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in rest)


def place_in(body: Any, place: tuple[Any, ...]) -> tuple[Any, ...]:
    """A place as it is in the body: without the names of choices that the validator puts between its parts."""
    found: list[Any] = []
    for number, part in enumerate(place):
        if isinstance(body, dict) and (part in body or number == len(place) - 1):
            found.append(part)
            body = body.get(part)
        elif isinstance(body, list) and isinstance(part, int):
            found.append(part)
            body = body[part] if part < len(body) else None
    return tuple(found)


def _pointer(place: tuple[Any, ...], body: Any) -> str:
    return pointer_of(("body", *place_in(body, place[1:])) if place[:1] == ("body",) else place)


def from_validation(error: RequestValidationError) -> Problem:
    """Body errors are 422, query errors 400, JSON that can't be read 400, a path id that is none 404."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return _malformed(str(found[0].get("ctx", {}).get("error", "")))
    errors = [
        FieldError(
            pointer=_pointer(item["loc"], error.body),
            code={"extra_forbidden": "unknown_field"}.get(item["type"], item["type"]),
            message="This field is not known here." if item["type"] == "extra_forbidden" else words_of(item["msg"]),
        )
        for item in found
    ]
    roots = {item["loc"][0] if item["loc"] else "body" for item in found}
    places = ", ".join(sorted({each.pointer or "the body" for each in errors})[:5])
    if "path" in roots:
        # What is no id of ours leads nowhere; what is no text a record could have is the caller's slip.
        texts = [each for each in errors if each.pointer.startswith("path:") and not each.code.startswith("uuid")]
        if not texts:
            return NotFound("The id in the path is not one of ours.")
        return BadRequest(f"Wrong: {', '.join(each.pointer for each in texts)}.", errors=texts)
    if "query" in roots:
        return InvalidParameter(f"Wrong: {places}.", errors=errors)
    return Invalid(f"Wrong: {places}.", errors=errors)


def _malformed(said: str) -> Problem:
    if "UTF-8" in said:
        return MalformedJson("The body is not UTF-8.")
    return MalformedJson(f"The body is not valid JSON: {said}".strip(": "))


def from_database(error: asyncpg.PostgresError) -> Problem:
    """A refusal by the database, named after the constraint that refused."""
    state = error.sqlstate or ""
    constraint = getattr(error, "constraint_name", None) or ""
    if state in REFUSALS:
        kind, words = REFUSALS[state]
        return kind(words)
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        table = getattr(error, "table_name", "") or ""
        field = constraint.removeprefix(f"fk_{table}_")
        return invalid(f"/{field}", "unknown_reference", f"There is no such {field.removesuffix('_id')}.")
    if isinstance(error, asyncpg.UniqueViolationError):
        return _taken(constraint)
    if isinstance(error, asyncpg.CheckViolationError) and constraint.endswith("_external_id_whole"):
        words = "external_source and external_id name a record of another system together: give both or neither."
        return invalid("/external_id", "required", words)
    if isinstance(error, asyncpg.CheckViolationError):
        return Invalid(f"The database refused the value ({constraint}).", errors=[wrong("", constraint, str(error))])
    if isinstance(error, asyncpg.LockNotAvailableError):
        return RequestInFlight("Another request holds what this one needs; try again.")
    if isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
        return Unavailable("Two requests crossed; try again.")
    if isinstance(error, asyncpg.QueryCanceledError):
        return Unavailable("The database took too long; try again.")
    if isinstance(error, asyncpg.DataError):
        words = "A value can't be stored as it is."
        return Invalid(words, errors=[wrong("", "invalid_value", words)])
    return Unavailable("The database can't answer right now.") if _is_outage(error) else Problem()


def _is_outage(error: asyncpg.PostgresError) -> bool:
    return isinstance(
        error,
        asyncpg.PostgresConnectionError
        | asyncpg.OperatorInterventionError
        | asyncpg.TooManyConnectionsError
        | asyncpg.InsufficientResourcesError
        | asyncpg.ReadOnlySQLTransactionError,
    )


def _taken(constraint: str) -> Problem:
    places = {
        "uq_members_email": ("/email", "A member with this e-mail exists."),
        "uq_member_identities_member": ("", "The member has another login of this identity provider: end that first."),
        "uq_teams_name": ("/name", "A team with this name exists."),
        "uq_attribute_definitions_key": ("/key", "An attribute with this key exists."),
        "uq_processes_edition": ("/key", "This edition of the process exists."),
        "uq_pins_subject": ("/subject_id", "The subject is pinned or muted already."),
        "uq_stages_position": ("/stages", "Two stages stand at one position."),
        "uq_transitions_passage_countered": ("", "The passage has been withdrawn already."),
    }
    if constraint in places:
        pointer, message = places[constraint]
    elif constraint.endswith("_external"):
        pointer, message = "/external_id", "This external id is taken."
    elif constraint.startswith("pk_"):
        pointer, message = "/id", "This id is taken."
    else:
        pointer, message = "", "There is one already."
    return AlreadyExists(message, errors=[wrong(pointer, "taken", message)])


async def on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class alone
    return problem_response(request, error)


async def on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    return problem_response(request, from_validation(error))


async def on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    if isinstance(error, NulInBody):
        return problem_response(request, error.problem)
    kind = BY_STATUS.get(error.status_code, BadRequest)
    problem = kind("" if error.status_code in {404, 405} else str(error.detail))
    problem.headers.update(error.headers or {})
    return problem_response(request, problem)


async def on_database(request: Request, error: Exception) -> Response:
    assert isinstance(error, asyncpg.PostgresError)  # noqa: S101 - registered for this class alone
    problem = from_database(error)
    if problem.status >= 500:
        log.error("database_error", error=str(error), sqlstate=error.sqlstate)
    return problem_response(request, problem)


async def on_outage(request: Request, error: Exception) -> Response:
    log.error("database_unreachable", error=str(error))
    return problem_response(request, Unavailable("The database can't be reached right now."))


async def on_surprise(request: Request, error: Exception) -> Response:
    log.error("unexpected_error", exc_info=error)
    return problem_response(request, Problem())


def _counted(handler: Handler) -> Handler:
    """The same, once the request has been counted: most were when their caller was let in."""

    async def run(request: Request, error: Exception) -> Response:
        try:
            await count_refused(request)
        except TooManyRequests as instead:
            return problem_response(request, instead)
        return await handler(request, error)

    return run


def install(app: FastAPI) -> None:
    app.add_exception_handler(Problem, _counted(on_problem))
    app.add_exception_handler(RequestValidationError, _counted(on_validation))
    app.add_exception_handler(HTTPException, _counted(on_http))
    app.add_exception_handler(asyncpg.PostgresError, on_database)
    for outage in (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError):
        app.add_exception_handler(outage, on_outage)
