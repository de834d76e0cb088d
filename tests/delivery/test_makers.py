"""What waits for an endpoint goes by what its maker may read when it is sent, not by what they might when it came."""

from __future__ import annotations

import asyncio
from uuid import UUID

import orjson
import pytest

from services.api.delivery.relay import Relay
from services.api.workspaces.service import MAKE_MEMBER, create_workspace
from shared.events import EVENT_TYPES
from shared.ids import new_id
from tests.delivery.receivers import Farm
from tests.delivery.support import Sender

KEY = "api_key.created"
_GIVE = "UPDATE events.webhook_endpoints SET created_by = $3 WHERE workspace_id = $1 AND id = $2"
_ROLE = "UPDATE sales.members SET role = $3, active = $4 WHERE workspace_id = $1 AND id = $2"


@pytest.fixture
async def maker(sender: Sender) -> UUID:
    """An administrator of the sender's workspace."""
    async with sender.database.transaction(sender.workspace_id) as tx:
        await create_workspace(tx, name="Makers", currency="EUR")
        id_ = new_id()
        await tx.run(MAKE_MEMBER, id=id_, name="Maker", email=None, role="admin", now=tx.now)
    return id_


async def queued(sender: Sender, farm: Farm, maker: UUID) -> UUID:
    """An endpoint of `maker` for which an event about a key and one about a customer wait."""
    endpoint_id = await sender.endpoint(farm.url("/ok/a"))
    await sender.write(_GIVE, endpoint_id, maker)
    await sender.emit(type_=KEY, subject_type="api_key", data=EVENT_TYPES[KEY].example)
    await sender.emit()
    # A relay that hints at nothing: what it hands out waits until the test lets it be sent.
    relay = Relay(sender.database, sender.clock, lambda *_: None)
    while await relay.work():
        pass
    return endpoint_id


def heard(farm: Farm) -> list[str]:
    """The types of event that were sent."""
    return [orjson.loads(got.body)["type"] for got in farm.received["/ok/a"]]


async def ended(sender: Sender) -> dict[str, tuple[str, str | None]]:
    return {row["type"]: (row["status"], row["last_error"]) for row in await sender.deliveries()}


async def test_a_demoted_maker_hears_no_more_than_they_may_now(sender: Sender, farm: Farm, maker: UUID) -> None:
    await queued(sender, farm, maker)
    await sender.write(_ROLE, maker, "integration", True)
    await sender.settle()
    assert heard(farm) == ["customer.updated"]
    skipped = ("skipped", f"Who answers for the endpoint may not read {KEY}.")
    assert await ended(sender) == {KEY: skipped, "customer.updated": ("delivered", None)}
    assert await sender.read("SELECT 1 FROM events.webhook_queue WHERE workspace_id = $1") == []


async def test_whoever_takes_one_over_hears_no_more_than_they_may(sender: Sender, farm: Farm, maker: UUID) -> None:
    endpoint_id = await queued(sender, farm, maker)
    taker = new_id()
    async with sender.database.transaction(sender.workspace_id) as tx:
        await tx.run(MAKE_MEMBER, id=taker, name="Taker", email=None, role="integration", now=tx.now)
    await sender.write(_ROLE, maker, "admin", False)
    await sender.write(_GIVE, endpoint_id, taker)
    await sender.settle()
    assert heard(farm) == ["customer.updated"]
    assert (await ended(sender))[KEY][0] == "skipped"


@pytest.mark.parametrize(("role", "active"), [("admin", False), ("rep", True)])
async def test_nothing_is_taken_up_for_a_maker_who_left(
    sender: Sender, farm: Farm, maker: UUID, role: str, active: bool
) -> None:
    """Even before the relay has met their leaving; what waits is kept for whoever takes the endpoint over."""
    endpoint_id = await queued(sender, farm, maker)
    await sender.write(_ROLE, maker, role, active)
    await sender.engine.sweep()
    sender.engine.hint(sender.workspace_id, (endpoint_id,))
    async with asyncio.timeout(5):
        while not sender.engine.idle:
            await asyncio.sleep(0.005)
    assert heard(farm) == []
    assert {status for status, _ in (await ended(sender)).values()} == {"pending"}
    (place,) = await sender.read(
        "SELECT max(claims) AS claims, bool_and(next_attempt_at <= now()) AS due FROM events.webhook_queue"
        " WHERE workspace_id = $1"
    )
    assert (place["claims"], place["due"]) == (0, True)
