"""Who deletes an endpoint while its outcomes are written; and what an endpoint is told, which its maker may see."""

from __future__ import annotations

import asyncio
from uuid import UUID

from services.api.delivery import ledger
from services.api.delivery.fanout import TAKERS, fan_out
from shared.db import sql
from tests.support.caller import Caller
from tests.support.webhooks import ENDPOINTS, make_endpoint
from tests.webhooks.test_deliveries import EVENTS, QUEUE, SETTLED, hand_out, rows

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
STATE = sql(
    "INSERT INTO events.webhook_endpoint_states (workspace_id, endpoint_id, updated_at)"
    " VALUES (:workspace_id, :id, :now)"
)


async def test_deleting_waits_for_whoever_writes_outcomes_and_never_crosses_with_it(admin: Caller) -> None:
    made = await make_endpoint(admin)
    await admin.make_customer()
    assert await hand_out(admin) > 0
    id_ = UUID(made["id"])
    database = admin.state.database
    async with database.transaction(admin.workspace_id) as tx:
        await tx.run(STATE, id=id_, now=tx.now)
    async with database.transaction(admin.workspace_id) as tx:
        assert set(await ledger.hold_health(tx, [id_])) == {id_}
        deleting = asyncio.create_task(admin.delete(f"{ENDPOINTS}/{id_}"))
        async with asyncio.timeout(10):
            while not await database.fetchval(WAITING):
                await asyncio.sleep(0.01)
        await tx.run(SETTLED, status="delivered")
    assert (await deleting).status_code == 204
    assert await rows(admin, QUEUE) == []


async def test_outcomes_wait_for_whoever_deletes(admin: Caller) -> None:
    for _ in range(5):
        made = await make_endpoint(admin)
        await admin.make_customer()
        await hand_out(admin)
        id_ = UUID(made["id"])

        async def outcome(id_: UUID = id_) -> None:
            async with admin.state.database.transaction(admin.workspace_id) as tx:
                await ledger.hold_health(tx, [id_])
                await tx.run(SETTLED, status="failed")

        _, response = await asyncio.gather(outcome(), admin.delete(f"{ENDPOINTS}/{id_}"))
        assert response.status_code == 204


async def test_an_endpoint_is_told_what_the_feed_would_tell_its_maker(admin: Caller) -> None:
    made = await make_endpoint(admin)
    await admin.ok("POST", "/v1/api-keys", {"name": "Another"})
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        events = [row for row in await tx.rows(EVENTS) if row["type"] == "api_key.created"]
        taker = dict((await tx.rows(TAKERS))[0])
        assert (str(taker["id"]), taker["maker_role"]) == (made["id"], "admin")
        assert events
        assert await fan_out(tx, events, [{**taker, "maker_role": "integration"}], requested_by=taker["id"]) == []
        assert len(await fan_out(tx, events, [taker], requested_by=taker["id"])) == len(events)
