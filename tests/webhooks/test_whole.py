"""The whole way: an endpoint made over HTTP, an api-worker, a receiver on this machine that verifies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from services.api.jobs.settings import WorkerSettings
from services.api.worker import serve
from tests.conftest import Servers
from tests.delivery.receivers import Farm, Received, open_farm
from tests.support.caller import Caller
from tests.support.webhooks import ENDPOINTS

PATIENCE = 20.0


@pytest.fixture
async def worker(servers: Servers) -> AsyncIterator[None]:
    """An api-worker with all its duties."""
    settings = WorkerSettings(
        database_url=servers.database_url, redis_url=servers.redis_url, embedded=True, log_level="WARNING"
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, stop))
    yield
    stop.set()
    await serving


async def until(found: Callable[[], Any]) -> Any:
    """What `found` finds, as soon as it finds something."""
    async with asyncio.timeout(PATIENCE):
        while not (value := found()):
            await asyncio.sleep(0.02)
    return value


async def until_job(admin: Caller, job: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while job["status"] in {"queued", "running"}:
            await asyncio.sleep(0.02)
            job = await admin.ok("GET", f"/v1/webhook-jobs/{job['id']}")
    return job


def verified(key: str, received: Received) -> dict[str, Any]:
    """The event, as an honest receiver takes it."""
    Webhook(key).verify(received.body, received.headers)
    event: dict[str, Any] = orjson.loads(received.body)
    assert event["id"] == received.id
    return event


async def test_from_the_endpoint_to_the_receiver_and_again(admin: Caller, worker: None) -> None:
    before = await admin.make_customer()
    async with open_farm() as receivers:
        url = receivers.url("/ok/erp")
        body = {"url": url, "event_types": ["customer.*"], "headers": {"Authorization": "Bearer canary"}}
        made = await admin.ok("POST", ENDPOINTS, body)
        path = f"{ENDPOINTS}/{made['id']}"
        arrived = receivers.received["/ok/erp"]
        sample = await admin.ok("POST", f"{path}:test", {"event_type": "customer.created"})
        first = (await until(lambda: arrived[:1]))[0]
        assert verified(made["key"], first)["id"] == sample["event_id"]
        assert first.headers["authorization"] == "Bearer canary"
        customer = await admin.make_customer("Northwind")
        second = (await until(lambda: arrived[1:2]))[0]
        told = verified(made["key"], second)
        assert (told["subject"]["id"], told["resource_version"]) == (customer["id"], 1)
        replay = await until_job(admin, await admin.ok("POST", f"{path}:replay-missing", {}))
        assert (replay["status"], replay["requested"]) == ("succeeded", 1)
        third = (await until(lambda: arrived[2:3]))[0]
        assert verified(made["key"], third)["subject"]["id"] == before["id"]
        await _resend(admin, made["key"], path, receivers)


async def _resend(admin: Caller, key: str, path: str, receivers: Farm) -> None:
    """The latest delivery once more, and what is recorded of both attempts."""
    arrived = receivers.received["/ok/erp"]
    query = f"{path}/deliveries?event_type=customer.created&status=delivered"
    async with asyncio.timeout(PATIENCE):
        while len(listed := (await admin.ok("GET", query))["data"]) < 3:
            await asyncio.sleep(0.02)
    await admin.ok("POST", f"/v1/webhook-deliveries/{listed[0]['id']}:resend")
    again = (await until(lambda: arrived[3:4]))[0]
    assert again.id == listed[0]["event_id"]
    assert verified(key, again)
    async with asyncio.timeout(PATIENCE):
        while len(attempts := (await admin.ok("GET", f"{path}/attempts"))["data"]) < 4:
            await asyncio.sleep(0.02)
    assert {each["outcome"] for each in attempts} == {"success"}
    one = (await admin.get(f"/v1/webhook-attempts/{attempts[0]['id']}")).text
    assert "webhook-signature" in one
    assert "canary" not in one
    assert (await admin.ok("GET", f"{path}/stats"))["successes"] == 4


async def test_what_was_given_up_is_recovered(admin: Caller, worker: None) -> None:
    async with open_farm() as receivers:
        url = receivers.url("/s500/erp")
        body = {"url": url, "event_types": ["customer.*"], "retry_schedule": [1]}
        made = await admin.ok("POST", ENDPOINTS, body)
        path = f"{ENDPOINTS}/{made['id']}"
        customer = await admin.make_customer()
        query = f"{path}/deliveries?status=failed"
        async with asyncio.timeout(PATIENCE):
            while not (failed := (await admin.ok("GET", query))["data"]):
                await asyncio.sleep(0.05)
        assert (failed[0]["attempts"], failed[0]["last_status"]) == (2, 500)
        await admin.ok("PATCH", path, {"url": receivers.url("/ok/mended")})
        since = {"since": customer["recorded_at"]}
        job = await until_job(admin, await admin.ok("POST", f"{path}:recover", since))
        assert (job["status"], job["requested"]) == ("succeeded", 1)
        arrived = await until(lambda: receivers.received["/ok/mended"])
        assert verified(made["key"], arrived[0])["subject"]["id"] == customer["id"]
        assert arrived[0].id == failed[0]["event_id"]
