"""Errors are classes; one handler makes each an `application/problem+json` document (RFC 9457).

`code` is the closed, documented list clients may rely on; `title` says what it means in general, `detail` what
happened here, `errors` which places of the request are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class FieldError(BaseModel):
    """One wrong place of a request."""

    model_config = ConfigDict(extra="forbid")

    pointer: str = Field(description="JSON pointer into the body, or `?name` for a query parameter.")
    code: str = Field(description="What is wrong, as a stable code.")
    message: str = Field(description="What is wrong, in words.")


class ProblemDocument(BaseModel):
    """The one shape of every error."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str = Field(description="A URI reference that names the kind of problem.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable code of the kind of problem.")
    instance: str | None = Field(default=None, description="The path that was asked for.")
    request_id: str | None = None
    errors: list[FieldError] = Field(default_factory=list)


class Problem(Exception):
    """Something the caller should know. Subclasses fix status, code and title."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"
    registry: ClassVar[dict[str, type[Problem]]] = {}

    def __init_subclass__(cls) -> None:
        if cls.code in Problem.registry:
            raise TypeError(f"the error code {cls.code} is taken")
        Problem.registry[cls.code] = cls

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extra = extra

    def document(self, *, instance: str, request_id: str | None) -> dict[str, Any]:
        return {
            "type": f"/docs/errors#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "instance": instance,
            "request_id": request_id,
            "errors": [error.model_dump() for error in self.errors],
            **self.extra,
        }


Problem.registry[Problem.code] = Problem


def wrong(pointer: str, code: str, message: str) -> FieldError:
    return FieldError(pointer=pointer, code=code, message=message)


class BadRequest(Problem):
    status, code, title = 400, "bad_request", "The request can't be read"


class MalformedJson(Problem):
    status, code, title = 400, "malformed_json", "The body is not valid JSON"


class InvalidParameter(Problem):
    status, code, title = 400, "invalid_parameter", "A query parameter is unknown or wrong"


class LoginFailed(Problem):
    status, code, title = 400, "login_failed", "The login can't be completed"


class InvalidCursor(Problem):
    status, code, title = 400, "invalid_cursor", "The cursor does not belong to this list"


class Unauthorized(Problem):
    status, code, title = 401, "unauthorized", "Who is calling is not known"

    def __init__(self, detail: str = "", **more: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="sixteen"'}, **more)


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "The caller may not do this"


class NotAMember(Problem):
    status, code, title = 403, "not_a_member", "Whom the token names is no member here"


class NotFound(Problem):
    status, code, title = 404, "not_found", "There is nothing here, or nothing the caller may see"


class MethodNotAllowed(Problem):
    status, code, title = 405, "method_not_allowed", "This path does not know that method"


class Conflict(Problem):
    status, code, title = 409, "conflict", "The request contradicts the present state"


class AlreadyExists(Problem):
    status, code, title = 409, "already_exists", "There is one already"


class RequestInFlight(Problem):
    status, code, title = 409, "request_in_flight", "The same request is being answered right now"

    def __init__(self, detail: str = "", **more: Any) -> None:
        super().__init__(detail, headers={"Retry-After": "1"}, **more)


class TransitionNotAllowed(Problem):
    status, code, title = 409, "transition_not_allowed", "The opportunity can't make this transition now"


class MilestoneIrreversible(Problem):
    status, code, title = 409, "milestone_irreversible", "An irreversible milestone has been passed"


class MilestoneCriteriaUnmet(Problem):
    status, code, title = 409, "milestone_criteria_unmet", "A criterion of the milestone is not met"


class AlreadyMerged(Problem):
    status, code, title = 409, "already_merged", "The record was merged into another one before"


class MergeNotUndoable(Problem):
    status, code, title = 409, "merge_not_undoable", "The merge can't be undone"


class Merged(Problem):
    status, code, title = 410, "merged", "The record was merged into another one"


class ExportExpired(Problem):
    status, code, title = 410, "export_expired", "The file was kept for a week and is gone"


class SyncExpired(Problem):
    status, code, title = 410, "sync_expired", "What has changed since then can't be told: read all of it again"


class PreconditionFailed(Problem):
    status, code, title = 412, "precondition_failed", "The resource has changed since it was read"


class PayloadTooLarge(Problem):
    status, code, title = 413, "payload_too_large", "The body is larger than allowed"


class QueryTooLong(Problem):
    status, code, title = 414, "query_too_long", "The query of the address is longer than allowed"


class UnsupportedMediaType(Problem):
    status, code, title = 415, "unsupported_media_type", "The body is of a kind this path does not read"


class Invalid(Problem):
    status, code, title = 422, "invalid", "Something in the body is wrong"


class IdempotencyKeyReused(Problem):
    status, code, title = 422, "idempotency_key_reused", "The Idempotency-Key was used with another body"


class PreconditionRequired(Problem):
    status, code, title = 428, "precondition_required", "This workspace asks for If-Match on changes"


class HeadersTooLarge(Problem):
    status, code, title = 431, "headers_too_large", "The request line and headers are larger than allowed"


class TooManyRequests(Problem):
    status, code, title = 429, "quota_exceeded", "Too many requests"


class Unavailable(Problem):
    status, code, title = 503, "unavailable", "A part of the service can't be reached; try again"

    def __init__(self, detail: str = "", **more: Any) -> None:
        super().__init__(detail, headers={"Retry-After": "1"}, **more)


def words_of(message: str) -> str:
    """What a validator said, without what its library puts before it."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def invalid(pointer: str, code: str, message: str) -> Invalid:
    """One wrong field of a body."""
    return Invalid(message, errors=[wrong(pointer, code, message)])
