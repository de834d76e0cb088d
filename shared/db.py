"""The one way to the database: SQLAlchemy Core writes the SQL once, asyncpg runs it.

A `Query` is a Core statement compiled at first use; a `Tx` is one transaction of one workspace. Beginning it and
entering the workspace (row-level security) is a single round trip. Nothing else in the code opens a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import Executable, text
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.sql.compiler import SQLCompiler

from shared.effects import Effects
from shared.urls import driver_url

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Record: TypeAlias = asyncpg.Record
# A row as its readers use it: by name. (Iterating over one gives values, so `dict(row)` it before walking its names.)
Row: TypeAlias = Mapping[str, Any]
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"
P = ParamSpec("P")

NOT_DURABLE = "set_config('synchronous_commit', 'off', true)"

# To connect, and to begin a transaction, may take this long: then it is said that the database is away.
BEGIN_SECONDS = 5.0
# For a connection one waits longer: others must first have done what they do.
ACQUIRE_SECONDS = 15.0
# A connection that was given back is kept as long for the next request.
KEPT_SECONDS = 0.01
_DIALECT = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]


class Query:
    """A statement ready for the driver: its SQL with $1, $2 … and the names that fill them."""

    __slots__ = ("defaults", "names", "sql")

    def __init__(self, statement: Executable) -> None:
        compiled = cast("SQLCompiler", statement.compile(dialect=_DIALECT))  # type: ignore[attr-defined]
        self.sql = str(compiled)
        self.names = tuple(compiled.positiontup or ())
        self.defaults = dict(compiled.params)

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The arguments in order; a name neither given nor bound in the statement is a KeyError."""
        defaults = self.defaults
        return [given[name] if name in given else _bound(defaults, name) for name in self.names]


def _bound(defaults: Mapping[str, Any], name: str) -> Any:
    value = defaults[name]
    if value is None:
        raise KeyError(f"the query's parameter {name} was not given")
    return value


def sql(statement: str) -> Query:
    """A query from SQL text with :named parameters."""
    return Query(text(statement))


def statement(build: Callable[P, Executable]) -> Callable[P, Query]:
    """Makes a function that builds a Core statement from hashable arguments build it once for each of them."""
    cached = lru_cache(maxsize=2048)(lambda *args, **kwargs: Query(build(*args, **kwargs)))

    @wraps(build)
    def query(*args: P.args, **kwargs: P.kwargs) -> Query:
        return cached(*args, **kwargs)  # type: ignore[arg-type]

    return query


class Tx:
    """One transaction inside one workspace. Services read and write through it; only the edges commit it."""

    __slots__ = ("connection", "effects", "now", "statements", "workspace_id")

    def __init__(self, connection: Connection, workspace_id: UUID, now: datetime) -> None:
        self.connection = connection
        self.workspace_id = workspace_id
        self.now = now
        self.effects = Effects()
        self.statements = 0

    async def rows(self, query: Query, **given: Any) -> list[Row]:
        self.statements += 1
        given.setdefault("workspace_id", self.workspace_id)
        return cast("list[Row]", await self.connection.fetch(query.sql, *query.values(given)))

    async def row(self, query: Query, **given: Any) -> Row | None:
        self.statements += 1
        given.setdefault("workspace_id", self.workspace_id)
        return cast("Row | None", await self.connection.fetchrow(query.sql, *query.values(given)))

    async def value(self, query: Query, **given: Any) -> Any:
        self.statements += 1
        given.setdefault("workspace_id", self.workspace_id)
        return await self.connection.fetchval(query.sql, *query.values(given))

    async def commit(self, last: str | None = None) -> None:
        """Ends the transaction, with a last statement in the same round trip where one is given."""
        self.statements += last is not None
        await commit(self.connection, last)

    async def run(self, query: Query, **given: Any) -> int:
        """Runs a statement; the number of rows it touched."""
        self.statements += 1
        given.setdefault("workspace_id", self.workspace_id)
        status = await self.connection.execute(query.sql, *query.values(given))
        last = status.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0


async def begin(connection: Connection, workspace_id: UUID, *then: str, read_only: bool = False) -> None:
    """Opens the transaction and enters the workspace, in one round trip. `then` are calls without parameters that
    ride along, in order; what only read is ended along with it. Raises TimeoutError where the server takes it and
    does not answer."""
    calls = ", ".join((f"set_config('app.workspace_id', '{workspace_id}', true)", *then))
    before = "ROLLBACK; " if connection.is_in_transaction() else ""
    mode = " READ ONLY" if read_only else ""
    try:
        await connection.execute(f"{before}BEGIN{mode}; SELECT {calls}", timeout=BEGIN_SECONDS)
    except asyncpg.PostgresError:
        raise
    except BaseException:
        # It may yet begin, and with its modes: the next who gets this connection would go on in it.
        _terminate(connection)
        raise


class Database:
    """A pool of connections for one process, each in the service's own role."""

    def __init__(self, pool: asyncpg.Pool[Record]) -> None:
        self._pool = pool
        self._kept: list[tuple[float, Connection]] = []
        self._waiting = 0
        self._going_back: set[asyncio.Task[None]] = set()
        self._look: asyncio.TimerHandle | None = None
        self._closing = False

    async def acquire(self, seconds: float = ACQUIRE_SECONDS) -> Connection:
        """A connection, to be given back; the one used last where one is kept. Raises TimeoutError.

        Who waits is counted: nobody may ask the pool itself, which does not know of what is kept.
        """
        while self._kept:
            connection = self._kept.pop()[1]
            if not _is_lost(connection):
                return connection
            await self._pool.release(connection)  # type: ignore[arg-type]
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=seconds)
        finally:
            self._waiting -= 1

    async def give_back(self, connection: Connection) -> None:
        """Takes a connection back. Where nobody waits for one it is kept a moment for the next to ask.

        A transaction that only read may still be open in it: it ends with the next one's beginning, which saves a
        busy process a round trip in three, or when the moment is over.
        """
        if self._waiting or self._closing or _is_lost(connection):
            await self._release(connection)
            return
        loop = asyncio.get_running_loop()
        self._kept.append((loop.time(), connection))
        if self._look is None:
            self._look = loop.call_later(KEPT_SECONDS, self._release_idle)

    def _release_idle(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time() - KEPT_SECONDS
        idle = [connection for kept_at, connection in self._kept if kept_at <= since]
        # The one used last is taken first, so that those which nobody needs come to lie in front.
        del self._kept[: len(idle)]
        for connection in idle:
            task = loop.create_task(self._release(connection))
            self._going_back.add(task)
            task.add_done_callback(self._going_back.discard)
        self._look = loop.call_later(KEPT_SECONDS, self._release_idle) if self._kept else None

    async def _release(self, connection: Connection) -> None:
        try:
            if not _is_lost(connection) and connection.is_in_transaction():
                await rollback(connection)
        finally:
            await self._pool.release(connection)  # type: ignore[arg-type]

    @asynccontextmanager
    async def connection(self, seconds: float = ACQUIRE_SECONDS) -> AsyncIterator[Connection]:
        """A connection in no transaction and no workspace, for what belongs to none."""
        connection = await self.acquire(seconds)
        try:
            if connection.is_in_transaction():
                await rollback(connection)
            yield connection
        finally:
            await self.give_back(connection)

    async def fetch(self, question: str, *given: Any) -> list[Row]:
        """Rows of what belongs to no workspace."""
        async with self.connection() as connection:
            return cast("list[Row]", await connection.fetch(question, *given))

    async def fetchrow(self, question: str, *given: Any) -> Row | None:
        """One row of what belongs to no workspace."""
        async with self.connection() as connection:
            return cast("Row | None", await connection.fetchrow(question, *given))

    async def fetchval(self, question: str, *given: Any) -> Any:
        """One value of what belongs to no workspace."""
        async with self.connection() as connection:
            return await connection.fetchval(question, *given)

    @asynccontextmanager
    async def transaction(
        self, workspace_id: UUID, now: datetime | None = None, *, durable: bool = True
    ) -> AsyncIterator[Tx]:
        """A transaction of one workspace, committed at the end: for jobs and commands.

        One that is not `durable` does not wait for the disk: a server that crashes may forget the last of them, whole
        and in order. That is for work which is then simply done again.

        `now` is the time its facts are recorded at; the default is the real time. Whoever gathers effects writes
        them (`shared.outbox.write_effects`) before leaving.
        """
        connection = await self.acquire()
        try:
            await begin(connection, workspace_id, *(() if durable else (NOT_DURABLE,)))
            try:
                yield Tx(connection, workspace_id, now or datetime.now(UTC))
            except BaseException:
                await rollback(connection)
                raise
            await commit(connection)
        finally:
            await self.give_back(connection)

    async def ask(self, question: str, seconds: float) -> Row | None:
        """One row of what belongs to no workspace; raises TimeoutError where the server takes the question and does
        not answer: whoever asks how things are must be told so."""
        async with self.connection(seconds) as connection:
            try:
                return cast("Row | None", await connection.fetchrow(question, timeout=seconds))
            except TimeoutError:
                _terminate(connection)
                raise

    async def close(self) -> None:
        """Waits for what is in use: it is given back to the pool from now on."""
        self._closing = True
        if self._look is not None:
            self._look.cancel()
        kept = [connection for _, connection in self._kept]
        self._kept.clear()
        await asyncio.gather(*self._going_back, *(self._release(each) for each in kept))
        await self._pool.close()


def _is_lost(connection: Connection) -> bool:
    """Whether it is closed; the pool takes one that broke back by itself, and then lets nobody call it."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


def _terminate(connection: Connection) -> None:
    if not _is_lost(connection):
        connection.terminate()


async def commit(connection: Connection, last: str | None = None) -> None:
    """Commits; a `last` statement (no parameters, see `json_literal`) rides along in the same round trip.

    Raises InFailedSQLTransactionError where a statement had failed and nobody let it through: PostgreSQL answers such
    a COMMIT with ROLLBACK, which is no error to the driver: a 2xx without its row.
    """
    answer = await connection.execute("COMMIT" if last is None else f"{last}; COMMIT")
    if answer != "COMMIT":
        raise asyncpg.InFailedSQLTransactionError("a statement of this transaction had failed: nothing was committed")


async def rollback(connection: Connection) -> None:
    """Rolls back; a connection that can't even do that is closed, so that no one gets it again half-open."""
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        _terminate(connection)


def json_literal(document: Any) -> str:
    """A document as a constant of SQL. JSON text holds no control characters, and a backslash is one like any other
    (every connection of ours sets `standard_conforming_strings`), so that the quote is all there is to double."""
    return "'" + _dump_json(document).replace("'", "''") + "'"


def _dump_json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode()


async def prepare_connection(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=_dump_json, decoder=orjson.loads, schema="pg_catalog")
    await connection.set_type_codec("xid8", encoder=str, decoder=int, schema="pg_catalog", format="text")


async def _nothing_to_reset(_: Any) -> None:
    """All that a request sets is local to its transaction, so that a returned connection needs no round trip."""


def connect_arguments(url: str, role: str, statement_cache: int = 512) -> dict[str, Any]:
    """asyncpg's arguments for `url`; the role is entered with the connection (SET ROLE in the start-up packet)."""
    settings = {
        "jit": "off",
        "application_name": "sixteen",
        "TimeZone": "UTC",
        "standard_conforming_strings": "on",
    }
    if role:
        settings["role"] = role
    host = parse_qs(urlsplit(url).query).get("host")
    plain = driver_url(url)
    arguments: dict[str, Any] = {"dsn": plain, "server_settings": settings, "statement_cache_size": statement_cache}
    if host:
        arguments["host"] = host[0]
        arguments["dsn"] = plain.partition("?")[0]
    return arguments


async def open_database(
    url: str,
    role: str,
    *,
    size: int = 10,
    statement_cache: int = 512,
    statement_timeout_ms: int = 30_000,
    lock_timeout_ms: int = 0,
) -> Database:
    """Opens the pool; raises what asyncpg raises when the server, the database or the role is not there."""
    arguments = connect_arguments(url, role, statement_cache)
    arguments["server_settings"].update(
        statement_timeout=str(statement_timeout_ms),
        lock_timeout=str(lock_timeout_ms),
        idle_in_transaction_session_timeout=str(max(60_000, statement_timeout_ms)),
    )
    pool = await asyncpg.create_pool(
        **arguments,
        min_size=1,
        max_size=size,
        init=prepare_connection,
        reset=_nothing_to_reset,
        timeout=BEGIN_SECONDS,
        command_timeout=statement_timeout_ms / 1000 + 5,
    )
    return Database(cast("asyncpg.Pool[Record]", pool))
