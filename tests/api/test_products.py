"""Products: what we sell."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.statements import statements

PRODUCT = {
    "name": "GTX 9000",
    "code": "G9",
    "series": "GTX",
    "list_price": {"amount": "5482.00", "currency": "USD"},
    "margin_rate": 0.4,
}


async def test_a_product_is_kept_changed_and_restored(admin: Caller) -> None:
    response = await admin.post("/v1/products", PRODUCT)
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/products/{made['id']}"
    assert {name: made[name] for name in PRODUCT} == PRODUCT
    path = f"/v1/products/{made['id']}"
    after = await admin.ok("PATCH", path, {"list_price": None, "active": False}, headers={"If-Match": '"1"'})
    assert (after["list_price"], after["active"], after["version"]) == (None, False, 2)
    assert (await admin.patch(path, {"name": "x"}, headers={"If-Match": '"1"'})).status_code == 412
    assert (await admin.patch(path, {"name": None})).json()["errors"][0]["pointer"] == "/name"
    assert (await admin.delete(path)).status_code == 204
    assert (await admin.get(path)).status_code == 404
    refused = await admin.post(
        "/v1/opportunities",
        {"name": "D", "customer_id": (await admin.make_customer())["id"], "product_id": made["id"]},
    )
    assert refused.json()["errors"][0]["pointer"] == "/product_id"
    assert (await admin.ok("POST", f"{path}:restore"))["deleted_at"] is None


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"name": None}, "/name", "string_type"),
        ({"margin_rate": 2}, "/margin_rate", "less_than_equal"),
        ({"list_price": {"amount": "-1", "currency": "USD"}}, "/list_price/amount", "greater_than_equal"),
        ({"list_price": {"amount": "1", "currency": "dollars"}}, "/list_price/currency", "string_pattern_mismatch"),
        ({"price": 3}, "/price", "unknown_field"),
    ],
)
async def test_a_wrong_product_is_refused_with_its_place(
    admin: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    response = await admin.post("/v1/products", PRODUCT | change)
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]


async def test_an_external_id_is_one_product(admin: Caller) -> None:
    path = "/v1/products/by-external-id/erp/9000"
    first, again = await admin.put(path, PRODUCT), await admin.put(path, {"name": "GTX 9001"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert (again.json()["name"], again.json()["list_price"], again.json()["version"]) == ("GTX 9001", None, 2)
    assert (await admin.put(path, {"name": "GTX 9001"})).json()["version"] == 2


async def test_lists_are_filtered_and_paged(admin: Caller) -> None:
    for n in range(5):
        series = "odd" if n % 2 else "even"
        await admin.ok("POST", "/v1/products", {"name": f"P{n}", "series": series, "active": n > 1})
    with statements() as many:
        everything = await admin.ok("GET", "/v1/products")
    with statements() as few:
        first = await admin.ok("GET", "/v1/products", params={"limit": 2})
    assert len(many) == len(few)
    assert [each["name"] for each in everything["data"]] == ["P0", "P1", "P2", "P3", "P4"]
    rest = await admin.ok("GET", "/v1/products", params={"limit": 2, "cursor": first["next_cursor"]})
    assert [each["name"] for each in rest["data"]] == ["P2", "P3"]
    odd = await admin.ok("GET", "/v1/products", params={"series": "odd", "active": "true", "sort": "-name"})
    assert [each["name"] for each in odd["data"]] == ["P3"]
    assert (await admin.get("/v1/products", params={"colour": "red"})).status_code == 400


async def test_who_keeps_the_catalogue(admin: Caller, other: Caller) -> None:
    made = await admin.ok("POST", "/v1/products", PRODUCT)
    path = f"/v1/products/{made['id']}"
    for role, status in (("manager", 201), ("integration", 201), ("rep", 403), ("viewer", 403)):
        caller = await admin.member(role)
        assert (await caller.post("/v1/products", PRODUCT)).status_code == status
        assert (await caller.get(path)).status_code == 200
    for response in (await other.get(path), await other.patch(path, {"name": "x"}), await other.delete(path)):
        assert response.status_code == 404
