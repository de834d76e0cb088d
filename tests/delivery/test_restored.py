"""A backup loaded into another cluster: what was not handed on there is handed on here, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.api.delivery.relay import Snapshot
from services.api.delivery.restored import settle_restored
from shared.db import connect_arguments
from tests.conftest import Servers
from tests.delivery.support import Sender, open_sender

# As far as the other cluster had counted further than this one, or less far.
FURTHER = 1_000_000_000
MOVE_EVENTS = (
    "UPDATE events.outbox SET xid = (xid::text::bigint + $2)::text::xid8 WHERE workspace_id = $1 AND id = ANY($3)"
)
MOVE_POSITION = "UPDATE events.relay_positions SET seen = $2, cluster = 1 WHERE workspace_id = $1"


@asynccontextmanager
async def superuser(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """Past the tenants' wall, as a restore works."""
    database = urlsplit(servers.database_url).path.removeprefix("/")
    arguments = connect_arguments(servers.superuser_url(), "") | {"database": database}
    connection = await asyncpg.connect(**arguments)
    try:
        yield connection
    finally:
        await connection.close()


async def restore(servers: Servers, sender: Sender, events: list[Any], by: int) -> None:
    """Makes events and position those of another cluster, whose numbers lie further on by so many."""
    async with superuser(servers) as connection:
        await connection.execute(MOVE_EVENTS, sender.workspace_id, by, events)
        query = "SELECT seen FROM events.relay_positions WHERE workspace_id = $1"
        seen = Snapshot.parse(await connection.fetchval(query, sender.workspace_id))
        there = Snapshot(seen.xmax + by, frozenset(each + by for each in seen.running))
        await connection.execute(MOVE_POSITION, sender.workspace_id, str(there))


async def handed_on(sender: Sender) -> list[Any]:
    return sorted(row["event_id"] for row in await sender.deliveries())


async def through(sender: Sender) -> None:
    while await sender.relay.work():
        pass


@pytest.mark.parametrize("by", [FURTHER, 0])
@pytest.mark.parametrize("settled_first", [True, False])
async def test_nothing_is_skipped_and_nothing_told_twice(own_servers: Servers, by: int, settled_first: bool) -> None:
    async with open_sender(own_servers) as sender:
        sender.relay._tell = lambda *_: None
        endpoint_id = await sender.endpoint("https://10.0.0.1/x")
        seen = await sender.emit(3)
        await through(sender)
        unseen = await sender.emit(4)
        await restore(own_servers, sender, [*seen, *unseen], by)
        # Of what was handed on there the deliveries tell; were they not there, it would be seen by its numbers alone.
        if by:
            async with superuser(own_servers) as connection:
                await connection.execute("DELETE FROM events.webhook_deliveries WHERE endpoint_id = $1", endpoint_id)
                await connection.execute("DELETE FROM events.webhook_queue WHERE endpoint_id = $1", endpoint_id)
        since = await sender.emit(2)
        if settled_first:
            await settle_restored(sender.database)
        again = type(sender.relay)(sender.database, sender.clock, lambda *_: None)
        sender.relay = again
        await through(sender)
        expected = [*unseen, *since] if by else [*seen, *unseen, *since]
        assert await handed_on(sender) == sorted(expected)
        later = await sender.emit(2)
        await through(sender)
        assert await handed_on(sender) == sorted([*expected, *later])
        assert await settle_restored(sender.database) == 0


async def test_what_was_running_there_is_handed_on(own_servers: Servers) -> None:
    """A position remembers who had not ended: such an event lies below what it has seen otherwise."""
    async with open_sender(own_servers) as sender:
        sender.relay._tell = lambda *_: None
        await sender.endpoint("https://10.0.0.1/x")
        held = await sender.emit(1)
        xids = await sender.read("SELECT xid::text FROM events.outbox WHERE workspace_id = $1 AND id = ANY($2)", held)
        number = int(xids[0]["xid"]) + FURTHER
        async with superuser(own_servers) as connection:
            await connection.execute(MOVE_EVENTS, sender.workspace_id, FURTHER, held)
            there = Snapshot(number + 50, frozenset({number}))
            await connection.execute(MOVE_POSITION, sender.workspace_id, str(there))
        await through(sender)
        assert await handed_on(sender) == held


async def test_a_settlement_that_is_cut_off_is_made_up_for(own_servers: Servers) -> None:
    async with open_sender(own_servers) as sender:
        sender.relay._tell = lambda *_: None
        await sender.endpoint("https://10.0.0.1/x")
        seen = await sender.emit(3)
        await through(sender)
        unseen = await sender.emit(4)
        await restore(own_servers, sender, [*seen, *unseen], FURTHER)
        await sender.database.fetchrow("SELECT * FROM events.settle_relayed()")
        since = await sender.emit(1)
        await through(sender)
        assert await handed_on(sender) == sorted([*seen, *unseen, *since])


async def test_a_relay_whose_database_was_replaced_begins_anew(own_servers: Servers) -> None:
    async with open_sender(own_servers) as sender:
        sender.relay._tell = lambda *_: None
        await sender.endpoint("https://10.0.0.1/x")
        await through(sender)
        unseen = await sender.emit(2)
        sender.relay._seen, sender.relay._cluster = f"{FURTHER}:{FURTHER}:", 1
        await through(sender)
        assert await handed_on(sender) == sorted(unseen)
