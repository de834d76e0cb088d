"""The edge of a request: one transaction, committed with its effects before the response is sent.

A route asks for `principal` and `tx`. `EdgeRoute` opens the transaction when a route first asks for it, and when
the route has made its response writes the effects, stores the answer under the Idempotency-Key, commits, and only
then lets the response go; any exception rolls everything back. Services never commit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import orjson
from fastapi import Depends, Request, Response, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from pydantic import BaseModel

from services.api import conditional, deprecation
from services.api.errors import (
    BadRequest,
    Forbidden,
    IdempotencyKeyReused,
    InvalidParameter,
    Problem,
    QueryTooLong,
    RequestInFlight,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    wrong,
)
from services.api.querying import reading_query_at_once
from services.api.state import State
from services.api.wire import as_uuid, read_json, refuse_nul
from shared import db
from shared.clock import Clock
from shared.db import Connection, Tx, json_literal, rollback, sql
from shared.outbox import WRITE_EFFECTS, effects_document
from shared.queue import DRAIN, SCORING_QUEUE
from shared.tenancy import Principal

IDEMPOTENCY_KEY = re.compile(r'"([!#-~](?:[ !#-~]{0,253}[!#-~])?)"|([!#-~](?:[ !#-~]{0,253}[!#-~])?)')
JSON_TYPES = ("application/json", "application/merge-patch+json")
# Every filter of a list at its longest, several times over.
MOST_QUERY = 16_000
STORED_HEADERS = ("location", "etag", "content-type")
REPLAY = sql(
    "SELECT request_hash, status, headers, body FROM sales.idempotency_keys"
    " WHERE workspace_id = :workspace_id AND digest = :digest"
)


ANSWERED = "SX100"


class AnsweredBefore(Exception):
    """The request's Idempotency-Key has its answer already."""


class EdgeTx(Tx):
    """The transaction of one request."""

    __slots__ = ("digest", "principal", "request_hash")

    def __init__(self, connection: Connection, principal: Principal, now: datetime) -> None:
        super().__init__(connection, principal.workspace_id, now)
        self.principal = principal
        self.digest: bytes | None = None
        self.request_hash: bytes | None = None


class JsonRequest(Request):
    """Reads JSON with orjson, which also bounds its depth."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json

    async def take_nothing_as_empty(self) -> bool:
        """Whether no body was sent; it is then read as `{}`."""
        if await self.body():
            return False
        self._body = b"{}"
        headers = [each for each in self.scope["headers"] if each[0] != b"content-type"]
        self.scope["headers"] = [*headers, (b"content-type", b"application/json")]
        return True


class EdgeRoute(APIRoute):
    """A route whose transaction begins and ends here."""

    @property
    def body_may_be_empty(self) -> bool:
        """Whether a POST asks for nothing in its body: then it may have none."""
        kind = self.body_field.field_info.annotation if self.body_field is not None else None
        if "POST" not in (self.methods or ()) or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return False
        return not any(each.is_required() for each in kind.model_fields.values())

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        declared = self.dependant
        self.dependant = reading_query_at_once(declared)
        handle = super().get_route_handler()
        self.dependant = declared
        extra = self.openapi_extra or {}
        takes_json = self.body_field is not None and not extra.get("x-upload")
        takes_query, may_be_empty = _takes_query(self.dependant), self.body_may_be_empty
        operation_id = self.operation_id or ""
        farewell = deprecation.headers_of(operation_id, extra) if self.deprecated else []

        async def run(received: Request) -> Response:
            request = JsonRequest(received.scope, received.receive)
            if len(request.scope["query_string"]) > MOST_QUERY:
                raise QueryTooLong(f"The query may have {MOST_QUERY} bytes.")
            refuse_nul(request.scope["query_string"])
            if farewell:
                request.scope["sixteen.headers"] = farewell
            if takes_json and not (may_be_empty and await request.take_nothing_as_empty()):
                _require_json(request)
            if not takes_query and request.scope["query_string"]:
                _refuse_query(request)
            try:
                response = await handle(request)
                if request.method == "PUT":
                    conditional.guard_create(request, response)
                await _finish(request, response)
            except Exception as error:
                replayed = await _leave(request, error)
                if replayed is None:
                    if isinstance(error, Unauthorized) and _has_credentials(request):
                        await request.app.state.sixteen.limits.note_failure(request.scope)
                    raise
                return replayed
            except BaseException:
                await _leave(request)
                raise
            if farewell:
                deprecation.note_use(request, operation_id)
            return conditional.named(request, response) if request.method == "GET" else response

        return run


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in JSON_TYPES:
        raise UnsupportedMediaType(f"Send {' or '.join(JSON_TYPES)}.")


def _has_credentials(request: Request) -> bool:
    return "authorization" in request.headers or "ticket" in request.query_params


def _takes_query(dependant: Dependant) -> bool:
    return bool(dependant.query_params) or any(_takes_query(each) for each in dependant.dependencies)


def _refuse_query(request: Request) -> None:
    """Where a route takes parameters, their model refuses unknown ones; a route that takes none refuses all."""
    errors = [wrong(f"?{name}", "unknown_field", "This parameter is not known here.") for name in request.query_params]
    if errors:
        raise InvalidParameter(f"Wrong: {', '.join(each.pointer for each in errors[:5])}.", errors=errors)


async def _leave(request: Request, error: Exception | None = None) -> Response | None:
    """Rolls back and gives the connection up. What was answered before under the request's key is the answer again."""
    tx: EdgeTx | None = request.scope.pop("sixteen.tx", None)
    if tx is None:
        return None
    state: State = request.app.state.sixteen
    try:
        await rollback(tx.connection)
        if not isinstance(error, AnsweredBefore):
            return None
        await db.begin(tx.connection, tx.workspace_id)
        row = await tx.row(REPLAY, digest=tx.digest)
        await rollback(tx.connection)
    finally:
        await state.database.pool.release(tx.connection)  # type: ignore[arg-type]
    if row is None:
        return None
    if row["request_hash"] != tx.request_hash:
        raise IdempotencyKeyReused("This Idempotency-Key belongs to a request with another body.") from error
    return Response(row["body"], row["status"], {**row["headers"], "Idempotency-Replayed": "true"})


async def _finish(request: Request, response: Response) -> None:
    tx: EdgeTx | None = request.scope.get("sixteen.tx")
    if tx is None:
        return
    state: State = request.app.state.sixteen
    await tx.commit(_last_statement(tx, request, response))
    request.scope.pop("sixteen.tx")
    await state.database.pool.release(tx.connection)  # type: ignore[arg-type]
    if tx.effects.events:
        state.nudger.tell(tx.workspace_id)
    if tx.effects.marks:
        state.nudger.nudge(SCORING_QUEUE, DRAIN)


def _last_statement(tx: EdgeTx, request: Request, response: Response) -> str | None:
    """What writes the effects, and the answer under its key: it rides with the commit."""
    keyed = tx.digest is not None and response.status_code < 500
    if not (tx.effects or keyed):
        return None
    document = effects_document(
        tx,
        actor_id=tx.principal.member_id,
        request_id=request.scope["sixteen.request_id"],
        traceparent=request.scope["sixteen.traceparent"],
    )
    if keyed:
        document["answer"] = {
            "digest": (tx.digest or b"").hex(),
            "request_hash": (tx.request_hash or b"").hex(),
            "status": response.status_code,
            "headers": {name: value for name, value in response.headers.items() if name in STORED_HEADERS},
            "body": bytes(response.body).decode(),
        }
    return WRITE_EFFECTS.format(document=json_literal(document))


async def authorize(request: Request, scopes: SecurityScopes) -> Principal:
    """The caller, who must hold every scope the route names."""
    request.scope["sixteen.asked"] = True
    redeemed = request.scope.get("sixteen.redeemed")
    principal = await (_bearer(request) if redeemed is None else redeemed())
    request.scope["sixteen.principal"] = principal
    await request.app.state.sixteen.limits.admit(request.scope, principal)
    for scope in scopes.scopes:
        if scope not in principal.scopes:
            raise Forbidden(f"This needs the scope {scope}, which the caller does not hold.")
    return principal


async def count_refused(request: Request) -> None:
    """Counts a request that was refused before it was asked who sends it; raises TooManyRequests in its place.

    What is no request of ours (a method, a body, a query) costs its caller as much as one that is.
    """
    state: State | None = getattr(request.app.state, "sixteen", None)
    if state is None or "sixteen.asked" in request.scope or "authorization" not in request.headers:
        return
    request.scope["sixteen.asked"] = True
    try:
        principal = await _bearer(request)
    except Unauthorized:
        await state.limits.note_failure(request.scope)
        return
    except TooManyRequests:
        raise
    except (Problem, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        return
    request.scope["sixteen.principal"] = principal
    await state.limits.admit(request.scope, principal)


async def _bearer(request: Request) -> Principal:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key:
        raise Unauthorized("Send an API key or a token: Authorization: Bearer …")
    state: State = request.app.state.sixteen
    key, header = key.strip(), request.headers.get("sixteen-workspace")
    asked = None if header is None else _workspace_of(header)
    if state.identities.remembers(key, asked):
        return await state.identities.principal(key, asked)
    async with state.limits.looking_up(request.scope):
        return await state.identities.principal(key, asked)


def _workspace_of(header: str) -> UUID:
    workspace_id = as_uuid(header.strip())
    if workspace_id is None:
        raise BadRequest("Sixteen-Workspace must be the id of a workspace.")
    return workspace_id


async def begin(request: Request) -> Tx:
    """Opens the request's transaction in the caller's workspace; on a POST the Idempotency-Key is held with it.

    A route names its principal before its transaction: who has not been let in has no workspace to enter.
    """
    state: State = request.app.state.sixteen
    principal: Principal = request.scope["sixteen.principal"]
    clock: Clock = state.clock
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    connection = await state.database.pool.acquire()
    tx = EdgeTx(connection, principal, clock.now())
    request.scope["sixteen.tx"] = tx
    if key is None:
        await db.begin(connection, principal.workspace_id)
        return tx
    tx.digest = key_digest(key, request, principal)
    tx.request_hash = await request_hash(request)
    try:
        await db.begin(connection, principal.workspace_id, *hold_key(tx))
    except asyncpg.LockNotAvailableError:
        raise RequestInFlight from None
    except asyncpg.PostgresError as error:
        if error.sqlstate == ANSWERED:
            raise AnsweredBefore from None
        raise
    return tx


def key_digest(key: str, request: Request, principal: Principal) -> bytes:
    """One key is one request of one member: on another path, or from somebody else, it is another request."""
    found = IDEMPOTENCY_KEY.fullmatch(key.strip())
    if found is None:
        raise BadRequest(
            "Idempotency-Key must have 1 to 255 printable ASCII characters, with or without quotes around."
        )
    bare = found[1] or found[2]
    return hashlib.sha256(f"{principal.member_id} {request.method} {request.url.path}\n{bare}".encode()).digest()


async def request_hash(request: Request) -> bytes:
    """What makes a request the same one: its body, and the version it would change."""
    body = await request.body()
    if request.headers.get("content-type", "").startswith(JSON_TYPES) and body:
        body = orjson.dumps(await request.json(), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body + b"\n" + repr(request.headers.get("if-match")).encode()).digest()


def hold_key(tx: EdgeTx) -> list[str]:
    """Holds the key for this transaction: a second request with it waits a moment for the first.

    Where the key was answered before, beginning fails at once: a statement that fails later may be logged whole by
    the server, with all the words of its effects. The key's row is written with these.
    """
    digest = tx.digest or b""
    lock = int.from_bytes(hashlib.sha256(tx.workspace_id.bytes + digest).digest()[:8], "big", signed=True)
    within = "set_config('lock_timeout', '{}', true)"
    refuse = f"sales.refuse_answered('{tx.workspace_id}', '\\x{digest.hex()}')"
    return [within.format("2s"), f"pg_advisory_xact_lock({lock})", within.format("0"), refuse]


EdgeTransaction = Annotated[Tx, Depends(begin)]


def requires(*scopes: str) -> Any:
    """For annotations: `Annotated[Principal, requires("customers:read")]`."""
    return Security(authorize, scopes=list(scopes))
