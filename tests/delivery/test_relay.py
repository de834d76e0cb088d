"""Nothing is lost between the outbox and the deliveries, in whatever order transactions commit."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.delivery.relay import Page, Snapshot
from shared.db import Database, open_database
from shared.effects import Event
from shared.ids import new_id
from shared.outbox import write_effects
from tests.conftest import Servers
from tests.delivery.support import CUSTOMER, Sender, open_sender


def sees(snapshot: Snapshot, xid: int) -> bool:
    """Whether a transaction had ended by then."""
    return xid < snapshot.xmax and xid not in snapshot.running


def test_snapshots_in_their_own_words() -> None:
    assert str(Snapshot.parse("10:20:10,14,15")) == "10:20:10,14,15"
    assert str(Snapshot.parse("7:7:")) == "7:7:"
    assert Snapshot.parse("10:20:10,14").running == {10, 14}


@given(
    st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)), st.integers(1, 30), st.integers(0, 20), st.integers(1, 60)
)
def test_a_page_moves_the_snapshot_by_what_was_read(
    running: set[int], still: set[int], xmax: int, more: int, last: int
) -> None:
    """Of what became visible between two snapshots, that up to `last` is seen afterwards and nothing else."""
    before = Snapshot(xmax, frozenset(each for each in running if each < xmax))
    now = Snapshot(
        xmax + more,
        frozenset(each for each in still if each < xmax + more and (each >= xmax or each in before.running)),
    )
    last = min(last, now.xmax - 1)
    after = before.after(now, last)
    for xid in range(1, 70):
        assert sees(after, xid) == (sees(before, xid) or (sees(now, xid) and xid <= last))
    assert Snapshot.parse(str(after)) == after


async def _write(database: Database, sender: Sender, pause: float, made: list[str]) -> None:
    """A transaction that leaves an event and takes its time to commit."""
    async with database.transaction(sender.workspace_id) as tx:
        for _ in range(2):
            event = Event("customer.updated", "customer", new_id(), tx.now, CUSTOMER, 1)
            tx.effects.emit(event)
            made.append(str(event.id))
        await write_effects(tx)
        await asyncio.sleep(pause)


async def test_long_and_short_transactions_among_each_other(own_servers: Servers) -> None:
    """Two relays race while writers commit out of order; every event becomes a delivery exactly once."""
    chance = random.Random(16)
    writers = await open_database(own_servers.database_url, "sixteen_api", size=20)
    async with open_sender(own_servers, embedded=False, secret_key="of this test") as sender:
        second = type(sender.relay)(sender.database, sender.clock, lambda *_: None)
        sender.relay._tell = lambda *_: None
        endpoint_id = await sender.endpoint("https://10.0.0.1/x")
        made: list[str] = []
        done = asyncio.Event()

        async def write() -> None:
            for _ in range(25):
                await _write(writers, sender, chance.choice((0, 0, 0.002, 0.02, 0.1)), made)

        async def relay(each: object) -> None:
            while not done.is_set():
                await each.work()  # type: ignore[attr-defined]
                await asyncio.sleep(chance.random() * 0.01)

        relaying = [asyncio.create_task(relay(each)) for each in (sender.relay, second)]
        await asyncio.gather(*(write() for _ in range(12)))
        done.set()
        await asyncio.gather(*relaying)
        while await sender.relay.work():
            pass
        counts = Counter(str(row["event_id"]) for row in await sender.deliveries(endpoint_id))
        assert counts == Counter(made)
        assert len(made) == 600
    await writers.close()


async def test_a_transaction_that_stays_open_holds_up_nobody(own_servers: Servers) -> None:
    async with open_sender(own_servers) as sender:
        sender.relay._tell = lambda *_: None
        await sender.endpoint("https://10.0.0.1/x")
        held = await open_database(own_servers.database_url, "sixteen_api", size=1)
        async with held.transaction(sender.workspace_id) as tx:
            tx.effects.emit(Event("customer.updated", "customer", new_id(), tx.now, CUSTOMER, 1))
            late = tx.effects.events[0].id
            await write_effects(tx)
            quick = await sender.emit(3)
            await sender.relay.work()
            assert {row["event_id"] for row in await sender.deliveries()} == set(quick)
        await sender.relay.work()
        assert {row["event_id"] for row in await sender.deliveries()} == {*quick, late}
        await held.close()


async def test_a_transaction_larger_than_a_page(own_servers: Servers) -> None:
    async with open_sender(own_servers) as sender:
        sender.relay._tell = lambda *_: None
        await sender.endpoint("https://10.0.0.1/x", "customer.*")
        sent = await sender.emit(1_200)
        for _ in range(40):
            sent += await sender.emit(20)
        pages = 1
        while await sender.relay.work():
            pages += 1
        assert pages >= 2
        assert Counter(row["event_id"] for row in await sender.deliveries()) == Counter(sent)


async def test_a_relay_that_begins_goes_on_where_another_ended(own_servers: Servers) -> None:
    async with open_sender(own_servers) as sender:
        sender.relay._tell = lambda *_: None
        await sender.endpoint("https://10.0.0.1/x")
        first = await sender.emit(2)
        await sender.relay.work()
        second = await sender.emit(2)
        again = type(sender.relay)(sender.database, sender.clock, lambda *_: None)
        await again.work()
        assert {row["event_id"] for row in await sender.deliveries()} == {*first, *second}


async def test_workspaces_without_endpoints_leave_nothing(own_servers: Servers) -> None:
    async with open_sender(own_servers) as sender:
        await sender.relay.work()
        await sender.emit(5)
        await sender.relay.work()
        assert await sender.deliveries() == []
        assert await sender.read("SELECT 1 FROM events.webhook_messages WHERE workspace_id = $1") == []


async def test_a_workspace_that_fails_holds_up_no_other(own_servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in one waits; an outage is raised after the others' turn, and positions are read again."""
    async with open_sender(own_servers) as sender:
        relay, workspace_id = sender.relay, sender.workspace_id
        relay._tell = lambda *_: None
        await sender.endpoint("https://10.0.0.1/x")
        await relay.work()
        relayed, broken = relay._relay, UUID(int=0)
        failures: list[Exception] = [ValueError("strange"), ConnectionError()]

        async def fails(id_: UUID) -> Page:
            if id_ == broken:
                raise failures.pop(0)
            return await relayed(id_)

        monkeypatch.setattr(relay, "_relay", fails)
        relay._left.add(broken)
        await sender.emit()
        await relay.work()
        assert len(await sender.deliveries()) == 1
        assert broken in relay._left
        assert workspace_id not in relay._left
        await sender.emit()
        with pytest.raises(ConnectionError):
            await relay.work()
        assert len(await sender.deliveries()) == 2
        assert relay._seen is None
