"""A relay and an engine inside a test, and endpoints made with plain SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.api.delivery.client import Client, Resolve, Resolver
from services.api.delivery.endpoints import Endpoints
from services.api.delivery.engine import Engine
from services.api.delivery.relay import Relay
from services.api.jobs.settings import WorkerSettings
from services.api.webhooks import keys
from services.api.webhooks.secrets import vault_of
from services.api.webhooks.validation import rules_of
from shared.clock import Clock, FixedClock, SystemClock
from shared.db import Database, Row, open_database
from shared.effects import Event
from shared.events import EVENT_TYPES
from shared.ids import new_id
from shared.outbox import write_effects
from tests.conftest import Servers

ENDPOINT = (
    "INSERT INTO events.webhook_endpoints (workspace_id, id, url, event_types, owner_ids, opportunity_ids, api_version,"
    " thin, signatures, throttle_rate, timeout_seconds, retry_schedule, occurred_at, recorded_at, updated_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, 'v1', $7, $8, $9, $10, $11, now(), now(), now())"
)
POSITION = (
    "INSERT INTO events.relay_positions (workspace_id, seen, updated_at)"
    " VALUES ($1, pg_current_snapshot()::text, now()) ON CONFLICT DO NOTHING"
)
CUSTOMER = EVENT_TYPES["customer.updated"].example


@dataclass
class Sender:
    """One workspace's way to its receivers: what a worker would do, step by step or by itself."""

    database: Database
    settings: WorkerSettings
    clock: Clock
    engine: Engine
    relay: Relay
    workspace_id: UUID = field(default_factory=new_id)
    secrets: dict[UUID, bytes] = field(default_factory=dict)

    async def endpoint(self, url: str, *types: str, **given: Any) -> UUID:
        """An endpoint with a key of each of its kinds."""
        id_ = new_id()
        signatures = given.get("signatures", ["v1"])
        made = [keys.make_key(kind) for kind in signatures]
        async with self.database.transaction(self.workspace_id, self.clock.now()) as tx:
            await tx.connection.execute(
                ENDPOINT, self.workspace_id, id_, url, list(types or ("*",)), given.get("owner_ids"),
                given.get("opportunity_ids"), given.get("thin", False), signatures, given.get("throttle_rate"),
                given.get("timeout_seconds", 15), given.get("retry_schedule"),
            )  # fmt: skip
            await keys.store(tx, vault_of(self.settings), id_, made)
            await tx.connection.execute(POSITION, self.workspace_id)
        self.secrets[id_] = made[0].private
        return id_

    async def emit(self, count: int = 1, type_: str = "customer.updated", **given: Any) -> list[UUID]:
        """Events, as a request leaves them."""
        async with self.database.transaction(self.workspace_id, self.clock.now()) as tx:
            for _ in range(count):
                event = Event(
                    type_, given.get("subject_type", "customer"), given.get("subject_id") or new_id(), tx.now,
                    given.get("data", CUSTOMER), 1, given.get("owner_id"),
                )  # fmt: skip
                tx.effects.emit(event)
            ids = [event.id for event in tx.effects.events]
            await write_effects(tx, traceparent=given.get("traceparent"))
        return ids

    async def settle(self, seconds: float = 20) -> None:
        """Relays, sends and writes until nothing is due now."""
        async with asyncio.timeout(seconds):
            while True:
                while await self.relay.work():
                    pass
                await self.engine.sweep()
                await asyncio.sleep(0)
                if self.engine.idle and not await self.due():
                    return
                while not self.engine.idle:
                    await asyncio.sleep(0.005)

    async def due(self) -> int:
        """Deliveries that could be taken up now."""
        found = await self.database.fetch("SELECT * FROM events.due_endpoints($1, '{}', 10)", self.clock.now())
        return len([row for row in found if row["workspace_id"] == self.workspace_id])

    async def read(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """Reads in the api's role; $1 is the workspace."""
        async with self.database.transaction(self.workspace_id) as tx:
            return list(await tx.connection.fetch(query, self.workspace_id, *values))

    async def deliveries(self, endpoint_id: UUID | None = None) -> list[asyncpg.Record]:
        """Deliveries in the order of their events."""
        query = (
            "SELECT * FROM events.webhook_deliveries WHERE workspace_id = $1 AND ($2::uuid IS NULL OR endpoint_id = $2)"
        )
        return await self.read(f"{query} ORDER BY event_recorded_at, event_id", endpoint_id)

    async def attempts(self, endpoint_id: UUID | None = None) -> list[asyncpg.Record]:
        """Attempts in the order in which they were made."""
        query = (
            "SELECT * FROM events.webhook_attempts WHERE workspace_id = $1 AND ($2::uuid IS NULL OR endpoint_id = $2)"
        )
        return await self.read(f"{query} ORDER BY attempted_at, id", endpoint_id)

    async def state(self, endpoint_id: UUID) -> asyncpg.Record:
        query = "SELECT * FROM events.webhook_endpoint_states WHERE workspace_id = $1 AND endpoint_id = $2"
        return (await self.read(query, endpoint_id))[0]

    async def write(self, statement: str, *values: Any) -> None:
        """Runs a statement in the api's role; $1 is the workspace."""
        async with self.database.transaction(self.workspace_id, self.clock.now()) as tx:
            await tx.connection.execute(statement, self.workspace_id, *values)

    async def good_keys(self, endpoint_id: UUID) -> list[Row]:
        """The keys that sign now."""
        async with self.database.transaction(self.workspace_id, self.clock.now()) as tx:
            return await keys.good(tx, [endpoint_id])

    def opened(self, row: Row) -> bytes:
        """The secret part of a key."""
        return keys.opened(vault_of(self.settings), self.workspace_id, row)

    async def rotate(self, endpoint_id: UUID, grace: timedelta) -> None:
        """New keys in the place of all present ones."""
        async with self.database.transaction(self.workspace_id, self.clock.now()) as tx:
            before = await keys.good(tx, [endpoint_id])
            made = [keys.make_key(kind) for kind in sorted({row["kind"] for row in before})]
            await keys.replace(tx, vault_of(self.settings), endpoint_id, made, grace, before)

    async def give_headers(self, endpoint_id: UUID, headers: dict[str, str]) -> None:
        """Headers of the endpoint's own."""
        sealed = vault_of(self.settings).seal(orjson.dumps(headers), self.workspace_id, endpoint_id)
        statement = (
            "UPDATE events.webhook_endpoints SET headers_encrypted = $3, headers_key_id = $4"
            " WHERE workspace_id = $1 AND id = $2"
        )
        await self.write(statement, endpoint_id, sealed.ciphertext, sealed.key_id)

    async def events(self, like: str) -> list[asyncpg.Record]:
        """Events of a kind in the outbox."""
        query = "SELECT * FROM events.outbox WHERE workspace_id = $1 AND type LIKE $2 ORDER BY xid, id"
        return await self.read(query, like)

    async def forward(self, to: datetime) -> None:
        """Moves a clock that stands; days to come get their partitions."""
        assert isinstance(self.clock, FixedClock)
        self.clock.set(to)
        async with self.database.transaction(self.workspace_id) as tx:
            await tx.connection.execute(
                "SELECT events.ensure_partitions($1, $2)", to.date(), to.date() + timedelta(days=1)
            )

    async def next_due(self) -> datetime | None:
        """When something may next be sent: a pause of the breaker may end later than what it holds is due."""
        query = (
            "SELECT min(greatest(q.next_attempt_at, s.breaker_until)) AS at FROM events.webhook_queue q"
            " JOIN events.webhook_endpoints e ON e.workspace_id = q.workspace_id AND e.id = q.endpoint_id"
            " LEFT JOIN events.webhook_endpoint_states s ON s.workspace_id = q.workspace_id"
            " AND s.endpoint_id = q.endpoint_id AND s.breaker <> 'closed'"
            " WHERE q.workspace_id = $1 AND NOT e.disabled"
        )
        at: datetime | None = (await self.read(query))[0]["at"]
        return at


@asynccontextmanager
async def open_sender(
    servers: Servers, clock: Clock | None = None, resolve: Resolve | None = None, **settings: Any
) -> AsyncIterator[Sender]:
    """A sender of a workspace of its own, which has begun to claim and to write; its sweeps are the test's."""
    made = WorkerSettings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        **{"embedded": True, "secret_key": "t", **settings},
    )
    database = await open_database(servers.database_url, made.role, size=6)
    clock = clock or SystemClock()
    resolver = Resolver(4)
    client = Client(rules_of(made), resolve or resolver)
    engine = Engine(database, made, clock, client, Endpoints(vault_of(made)))
    sender = Sender(database, made, clock, engine, Relay(database, clock, engine.hint))
    engine.start()
    try:
        yield sender
    finally:
        await engine.stop(0.5)
        # The next test's engine looks over all workspaces, this one too.
        await sender.write("DELETE FROM events.webhook_queue WHERE workspace_id = $1")
        await sender.write("UPDATE events.webhook_endpoints SET disabled = true WHERE workspace_id = $1")
        resolver.close()
        await database.close()
