"""A snapshot that stays open (a backup, a report) keeps dead rows in the queue: taking deliveries up stays cheap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.api.delivery import claims
from services.api.webhooks import makers
from shared.db import connect_arguments
from tests.conftest import Servers
from tests.delivery.receivers import Farm
from tests.delivery.support import Sender

COUNT, BATCH = 20_000, 500
# Batches of a second each.
QUEUE_UP = """
    INSERT INTO events.webhook_deliveries (workspace_id, id, endpoint_id, event_id, event_recorded_at, type,
      next_attempt_at, recorded_at, updated_at)
    SELECT $1, gen_random_uuid(), $2, gen_random_uuid(), CAST($3 AS timestamptz), 'customer.updated',
      CAST($3 AS timestamptz) - (CAST($4 AS int) - n) * interval '2 milliseconds', $3, $3
    FROM generate_series(1, CAST($4 AS int)) n
"""
DELIVERED = (
    "UPDATE events.webhook_deliveries SET status = 'delivered', next_attempt_at = NULL"
    " WHERE workspace_id = $1 AND event_recorded_at = $2 AND id = ANY($3)"
)


@asynccontextmanager
async def open_snapshot(servers: Servers) -> AsyncIterator[None]:
    """Somebody reads for a long time, and sees everything as it was."""
    connection = await asyncpg.connect(**connect_arguments(servers.database_url, "sixteen_api"))
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetchval("SELECT 1")
        yield
    await connection.close()


async def blocks_of_claim(sender: Sender, endpoint_id: UUID, floor: datetime | None) -> int:
    """How many blocks the claim of ten deliveries looks at; it is undone."""
    given = {
        "workspace_id": sender.workspace_id, "endpoint_ids": [endpoint_id], "rooms": [10],
        "floors": [floor or claims.EVER], "now": sender.clock.now(), "lease": 30.0, "token": endpoint_id,
        "keepers": makers.KEEPERS,
    }  # fmt: skip
    async with sender.database.transaction(sender.workspace_id) as tx:
        await tx.connection.execute("SAVEPOINT before")
        await tx.run(claims.PLANNED)
        explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claims.CLAIM.sql}"
        plan = orjson.loads(await tx.connection.fetchval(explained, *claims.CLAIM.values(given)))[0]["Plan"]
        await tx.connection.execute("ROLLBACK TO before")
    assert plan["Actual Rows"] == 10
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def take_up(sender: Sender, endpoint_id: UUID, floor: datetime | None) -> list[claims.Claimed]:
    async with sender.database.transaction(sender.workspace_id, sender.clock.now()) as tx:
        floors: dict[UUID, Any] = {endpoint_id: floor}
        claimed, _ = await claims.claim(tx, sender.engine._endpoints, {endpoint_id: BATCH}, 30.0, floors)
    return claimed


async def test_claiming_stays_cheap(sender: Sender, own_servers: Servers) -> None:
    """Where claiming goes on from where it was, what is done with is not stepped over, however much of it lies about.

    A long queue that was never counted (its statistics are older than it) is not read whole either.
    """
    endpoint_id = await sender.endpoint("https://10.0.0.1/x")
    at = sender.clock.now()
    await sender.write(QUEUE_UP, endpoint_id, at, COUNT)
    before = await blocks_of_claim(sender, endpoint_id, None)
    floor, seen = None, set()
    async with open_snapshot(own_servers):
        while len(seen) < COUNT - BATCH:
            claimed = await take_up(sender, endpoint_id, floor)
            await sender.write(DELIVERED, at, [each.delivery_id for each in claimed])
            seen |= {each.delivery_id for each in claimed}
            floor = claimed[-1].due_at
        after = await blocks_of_claim(sender, endpoint_id, floor)
        whole = await blocks_of_claim(sender, endpoint_id, None)
    assert len(seen) == COUNT - BATCH, "each was taken up once"
    assert before <= 300
    assert after <= before + 30, f"{before} blocks at first, {after} in the end, {whole} from the beginning"
    # What the floor is for: from the beginning every dead row would be looked at.
    assert whole > after


async def test_what_is_due_before_the_floor_is_found(sender: Sender, farm: Farm) -> None:
    """Queued late, by a slow transaction or a clock that is behind: the sweep looks anew where nothing is under way."""
    endpoint_id = await sender.endpoint(farm.url("/ok/a"))
    (first,) = await sender.emit()
    await sender.settle()
    line = sender.engine._lines[endpoint_id]
    assert line.floor is not None
    now = sender.clock.now()
    (late,) = await sender.emit()
    await sender.relay.work()
    await sender.write(
        "UPDATE events.webhook_queue SET next_attempt_at = $2 WHERE workspace_id = $1", now - timedelta(hours=1)
    )
    await sender.settle()
    assert farm.ids("/ok/a") == {str(first), str(late)}


async def test_everything_is_looked_at_now_and_then(sender: Sender, farm: Farm) -> None:
    endpoint_id = await sender.endpoint(farm.url("/ok/a"))
    await sender.emit()
    await sender.settle()
    line = sender.engine._lines[endpoint_id]
    line.looked_at = 1_000.0
    assert line.floor is not None
    begins = line.beginning(1_020.0)
    assert begins is not None
    assert timedelta(0) < line.floor - begins <= timedelta(seconds=10)
    assert line.beginning(1_031.0) is None
    assert line.looked_at == 1_031.0
