"""Transactions that write events and end in another order than they began."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

from shared.db import Database, Tx
from shared.effects import Event
from shared.ids import new_id
from shared.outbox import write_effects


async def add(tx: Tx) -> UUID:
    """Writes one event in a transaction that stays open; its id."""
    subject = new_id()
    event = Event("member.created", "member", subject, tx.now, {"id": subject, "role": "rep"}, 1)
    tx.effects.emit(event)
    await write_effects(tx)
    return event.id


async def write(database: Database, workspace_id: UUID, *, count: int = 1, hold: float = 0.0) -> list[UUID]:
    """Writes events in one transaction, and commits it only after a while."""
    made: list[UUID] = []
    async with database.transaction(workspace_id) as tx:
        for _ in range(count):
            made.append(await add(tx))
            await asyncio.sleep(hold / count)
    return made


class GaveUp(Exception):
    """A transaction that is rolled back."""


async def give_up(database: Database, workspace_id: UUID) -> None:
    """Writes an event and takes it back."""
    async with database.transaction(workspace_id) as tx:
        await add(tx)
        raise GaveUp


async def crowd(database: Database, workspace_id: UUID, *, writers: int, turns: int, seed: int) -> list[UUID]:
    """Writers at once, each transaction open for a while of its own; some are rolled back. What was committed."""
    committed: list[UUID] = []

    async def writer(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        for _ in range(turns):
            if chance.random() < 0.15:
                await asyncio.gather(give_up(database, workspace_id), return_exceptions=True)
                continue
            hold = chance.choice((0, 0, 0.005, 0.03, 0.15))
            committed.extend(await write(database, workspace_id, count=chance.randint(1, 3), hold=hold))

    await asyncio.gather(*(writer(number) for number in range(writers)))
    return committed
