"""The edge of a request: one transaction, committed with its effects before the response is sent.

A route asks for `principal` and `tx`. `EdgeRoute` lets the caller in before anything else is read, opens the
transaction when all that was sent has been understood, and when the route has made its response writes the effects,
stores the answer under the Idempotency-Key, commits, and only then lets the response go; any exception rolls
everything back. Services never commit.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Annotated, Any, NamedTuple

import asyncpg
from fastapi import Depends, Request, Response, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import Scope

from services.api import conditional, deprecation
from services.api.auth.callers import authorize
from services.api.errors import (
    InvalidParameter,
    QueryTooLong,
    RequestInFlight,
    Unauthorized,
    UnsupportedMediaType,
    wrong,
)
from services.api.idempotency import REPLAY, hold_key, key_digest, replay, request_hash
from services.api.parameters import Reading, reading_query_at_once
from services.api.state import State
from services.api.wire import JSON_TYPES, read_json, refuse_nul
from shared import db
from shared.clock import Clock
from shared.db import Connection, Tx, json_literal, rollback
from shared.outbox import WRITE_EFFECTS, effects_document
from shared.queue import DRAIN, SCORING_QUEUE
from shared.tenancy import Principal

# Every filter of a list at its longest, several times over.
MOST_QUERY = 16_000
STORED_HEADERS = ("location", "etag", "content-type")
# What a transaction is refused with whose key was answered before.
ANSWERED = "SX100"


class AnsweredBefore(Exception):
    """The request's Idempotency-Key has its answer already."""


class EdgeTx(Tx):
    """The transaction of one request."""

    __slots__ = ("digest", "principal", "request_hash")

    def __init__(
        self, connection: Connection, principal: Principal, now: datetime, digest: bytes | None, hashed: bytes | None
    ) -> None:
        super().__init__(connection, principal.workspace_id, now)
        self.principal = principal
        # Of the Idempotency-Key, and of what was sent under it; None without one.
        self.digest = digest
        self.request_hash = hashed


class ReceivedHeaders(Headers):
    """Headers found by their name instead of by a look at each; of one sent twice the first counts."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(raw=scope["headers"])
        self._values: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])
        }

    def __getitem__(self, key: str) -> str:
        return self._values[key.lower()]

    def __contains__(self, key: Any) -> bool:
        return str(key).lower() in self._values

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key.lower(), default)


class JsonRequest(Request):
    """Reads JSON with orjson, which also bounds its depth."""

    @property
    def headers(self) -> Headers:
        if not hasattr(self, "_headers"):
            self._headers = ReceivedHeaders(self.scope)
        return self._headers

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
        self._headers = ReceivedHeaders(self.scope)
        return True


class Entry(NamedTuple):
    """What a route's call is given: what it asks of its caller, what it reads, and under which names it wants its
    principal, its transaction and the request."""

    scopes: SecurityScopes
    reading: Reading
    principal: str | None
    tx: str | None
    request: str | None

    @classmethod
    def of(cls, dependant: Dependant) -> Entry | None:
        """None where something else is asked for besides: the framework then brings all of it, in the route's order."""
        asked = {each.call: each for each in dependant.dependencies}
        reading = Reading.of(dependant)
        strange = len(asked) < len(dependant.dependencies) or asked.keys() - {authorize, begin}
        if authorize not in asked or strange or reading is None:
            return None
        caller, opened = asked[authorize], asked.get(begin)
        tx = opened.name if opened is not None else None
        return cls(SecurityScopes(caller.own_oauth_scopes), reading, caller.name, tx, dependant.request_param_name)

    async def call(self, call: Callable[..., Coroutine[Any, Any, Response]], request: Request) -> Response:
        """Calls the route with what the request says; nothing is opened for one that is refused for what it says.

        The framework would bring these one by one, at a quarter of a request's cost.
        """
        values = await self.reading.read(request)
        if self.request is not None:
            values[self.request] = request
        if self.principal is not None:
            values[self.principal] = request.scope["sixteen.principal"]
        if self.tx is not None:
            values[self.tx] = await begin(request)
        return await call(**values)


class EdgeRoute(APIRoute):
    """A route whose transaction begins and ends here."""

    @property
    def body_may_be_empty(self) -> bool:
        """Whether a POST asks for nothing in its body: then it may have none."""
        kind = self.body_field.field_info.annotation if self.body_field is not None else None
        if "POST" not in (self.methods or ()) or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return False
        return not any(each.is_required() for each in kind.model_fields.values())

    def _handled_by_framework(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        declared = self.dependant
        self.dependant = reading_query_at_once(declared)
        handle = super().get_route_handler()
        self.dependant = declared
        return handle

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        entry = Entry.of(self.dependant)
        handle = self._handled_by_framework() if entry is None else partial(entry.call, self.endpoint)
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
            try:
                if entry is not None:
                    await authorize(request, entry.scopes)
                if takes_json and not (may_be_empty and await request.take_nothing_as_empty()):
                    _require_json(request)
                if not takes_query and request.scope["query_string"]:
                    _refuse_query(request)
                response = await handle(request)
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
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the body as it is: a Content-Encoding is not taken.")


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
        if request.method != "GET":
            await rollback(tx.connection)
        if not isinstance(error, AnsweredBefore):
            return None
        await db.begin(tx.connection, tx.workspace_id)
        row = await tx.row(REPLAY, digest=tx.digest)
        await rollback(tx.connection)
    finally:
        await state.database.give_back(tx.connection)
    if row is None:
        # Forgotten since: sent again it will be done.
        raise RequestInFlight from error
    return replay(row, tx.request_hash)


async def _finish(request: Request, response: Response) -> None:
    conditional.guard_create(request, response)
    tx: EdgeTx | None = request.scope.get("sixteen.tx")
    if tx is None:
        return
    state: State = request.app.state.sixteen
    last = _last_statement(tx, request, response)
    if request.method != "GET":
        await tx.commit(last)
    elif last is not None:
        # Reading could write nothing: who has seen a secret is recorded in a transaction of its own.
        await db.begin(tx.connection, tx.workspace_id)
        await tx.commit(last)
    # A transaction that read, and no more, ends with the connection's next one: nothing of it can be lost.
    request.scope.pop("sixteen.tx")
    await state.database.give_back(tx.connection)
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


async def begin(request: Request) -> Tx:
    """Opens the request's transaction in the caller's workspace; on a POST the Idempotency-Key is held with it.

    A route names its principal before its transaction: who has not been let in has no workspace to enter.
    """
    state: State = request.app.state.sixteen
    principal: Principal = request.scope["sixteen.principal"]
    clock: Clock = state.clock
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    # What is still to come of the request comes first: nobody may hold a connection by sending slowly.
    digest = key_digest(key, request, principal) if key is not None else None
    hashed = await request_hash(request) if key is not None else None
    connection = await state.database.acquire()
    tx = EdgeTx(connection, principal, clock.now(), digest, hashed)
    request.scope["sixteen.tx"] = tx
    if tx.digest is None:
        await db.begin(connection, principal.workspace_id, read_only=request.method == "GET")
        return tx
    try:
        await db.begin(connection, principal.workspace_id, hold_key(tx.workspace_id, tx.digest))
    except asyncpg.LockNotAvailableError:
        raise RequestInFlight from None
    except asyncpg.PostgresError as error:
        if error.sqlstate == ANSWERED:
            raise AnsweredBefore from None
        raise
    return tx


EdgeTransaction = Annotated[Tx, Depends(begin)]


def requires(*scopes: str) -> Any:
    """For annotations: `Annotated[Principal, requires("customers:read")]`."""
    return Security(authorize, scopes=list(scopes))
