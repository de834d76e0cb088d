"""Batches of opportunities: all or nothing, in order, each refusal at its place (API-8)."""

from __future__ import annotations

from typing import Any

from shared.ids import new_id
from tests.support.caller import Caller
from tests.support.flow import money
from tests.support.traces import everything


async def names(caller: Caller) -> list[str]:
    page = await caller.ok("GET", "/v1/opportunities", params={"sort": "name"})
    return [row["name"] for row in page["data"]]


class TestBatch:
    """Up to 200 operations, all or none, each refused at its place (API-8)."""

    async def test_nothing_of_it_stays_when_one_operation_fails(self, admin: Caller) -> None:
        deal = await admin.make_opportunity()
        customer, before = deal["customer_id"], await everything(admin)
        taken = {"name": "x", "customer_id": customer, "external_source": "e", "external_id": "1"}
        good: list[dict[str, Any]] = [
            {"kind": "create", "body": {**taken, "name": "New"}},
            {"kind": "update", "id": deal["id"], "body": {"name": "Renamed"}},
            {"kind": "transition", "id": deal["id"], "body": {"action": "pass"}},
        ]  # fmt: skip
        failing: list[tuple[dict[str, Any], int, str]] = [
            ({"kind": "update", "id": deal["id"], "body": {"amount": money("1"), "budget": money("1", "USD")}}, 422,
             "/operations/3/body/budget/currency"),
            ({"kind": "update", "id": str(new_id()), "body": {"name": "x"}}, 404, "/operations/3"),
            ({"kind": "update", "id": deal["id"], "body": {}, "if_match": '"1"'}, 412, "/operations/3"),
            ({"kind": "transition", "id": deal["id"], "body": {"action": "back"}}, 409,
             "/operations/3/body/to_stage_id"),
            ({"kind": "create", "body": taken}, 409, "/operations/3/body/external_id"),
            ({"kind": "update", "id": deal["id"], "body": {"product_id": str(new_id())}}, 422,
             "/operations/3/body/product_id"),
            ({"kind": "delete", "id": str(new_id())}, 404, "/operations/3"),
        ]  # fmt: skip
        for wrong, status, pointer in failing:
            response = await admin.post("/v1/opportunities:batch", {"operations": [*good, wrong]})
            assert response.status_code == status, response.text
            assert response.json()["errors"][0]["pointer"] == pointer, response.text
            assert await everything(admin) == before

    async def test_operations_are_done_in_order(self, admin: Caller) -> None:
        customer = await admin.make_customer()
        own = str(new_id())
        operations = [
            {"kind": "create", "body": {"id": own, "name": "New", "customer_id": customer["id"]}},
            {"kind": "transition", "id": own, "body": {"action": "pass"}, "if_match": '"1"'},
            {"kind": "update", "id": own, "body": {"interest": "firm"}, "if_match": '"2"'},
            {"kind": "delete", "id": own, "if_match": '"3"'},
        ]
        done = (await admin.ok("POST", "/v1/opportunities:batch", {"operations": operations}))["data"]
        assert [row["version"] for row in done] == [1, 2, 3, 4]
        assert [row["stage_position"] for row in done] == [0, 1, 1, 1]
        assert await names(admin) == []

    async def test_two_hundred_and_no_more(self, admin: Caller) -> None:
        customer = await admin.make_customer()
        create = {"kind": "create", "body": {"name": "New", "customer_id": customer["id"]}}
        refused = await admin.post("/v1/opportunities:batch", {"operations": [create] * 201})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/operations")
        assert (await admin.post("/v1/opportunities:batch", {"operations": []})).status_code == 422
        done = await admin.ok("POST", "/v1/opportunities:batch", {"operations": [create] * 200})
        assert len({row["id"] for row in done["data"]}) == 200

    async def test_rights_hold_within_it(self, admin: Caller) -> None:
        rep = await admin.member("rep")
        made = await admin.make_opportunity()
        operation = {"kind": "update", "id": made["id"], "body": {"name": "Mine"}}
        assert (await rep.post("/v1/opportunities:batch", {"operations": [operation]})).status_code == 404
