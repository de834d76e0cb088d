"""Dates and times far out: what is no date of a sale is refused, and no stored one stops the judging."""

from __future__ import annotations

import asyncpg
import pytest

from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.scoring import drain


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1899-12-31", "2200-01-01"])
async def test_a_day_out_of_range_is_refused(admin: Caller, day: str) -> None:
    customer = await admin.make_customer()
    body = {"name": "Deal", "customer_id": customer["id"], "purchase_date": day}
    response = await admin.post("/v1/opportunities", body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/purchase_date"


@pytest.mark.parametrize(
    "time", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00"]
)
async def test_a_time_out_of_range_is_refused(admin: Caller, time: str) -> None:
    customer = await admin.make_customer()
    body = {"name": "Deal", "customer_id": customer["id"], "occurred_at": time}
    response = await admin.post("/v1/opportunities", body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/occurred_at"


async def test_an_infinite_date_in_the_database_stops_nobody(
    admin: Caller, servers: Servers, as_api: asyncpg.Connection
) -> None:
    rep = await admin.member("rep")
    customer = await rep.make_customer()
    deals = [await rep.make_opportunity(customer["id"], name=f"D{n}") for n in range(3)]
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        await as_api.execute("UPDATE sales.opportunities SET purchase_date = 'infinity' WHERE id = $1", deals[0]["id"])
    await drain(servers, admin.workspace_id)
    for deal in deals:
        score = await rep.ok("GET", f"/v1/opportunities/{deal['id']}/score")
        assert score["probability"] is not None


async def test_a_judgement_names_the_request_behind_it(admin: Caller, servers: Servers) -> None:
    rep = await admin.member("rep")
    customer = await rep.make_customer()
    await rep.request(
        "POST",
        "/v1/opportunities",
        json={"name": "Deal", "customer_id": customer["id"]},
        headers={"X-Request-Id": "the-one-behind-it"},
    )
    outcome = await drain(servers, admin.workspace_id)
    assert outcome.request_id == "the-one-behind-it"
