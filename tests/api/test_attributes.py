"""Custom attributes: defined by the workspace, checked on every write, filterable."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.statements import statements

AREA = {"subject": "customer", "key": "floor_area", "kind": "number", "label": {"en": "Floor area", "zh_hans": "面积"}}
REGION = {
    "subject": "customer",
    "key": "region",
    "kind": "category",
    "label": {"en": "Region"},
    "categories": ["north", "south"],
}


async def test_a_defined_attribute_is_checked_and_filterable(admin: Caller) -> None:
    response = await admin.post("/v1/attributes", AREA)
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/attributes/{made['id']}"
    assert {name: made[name] for name in AREA} == AREA
    assert (made["categories"], made["required"], made["active"]) == (None, False, True)
    await admin.ok("POST", "/v1/attributes", REGION)
    for kind, key in (("boolean", "vip"), ("date", "handover"), ("text", "remark")):
        await admin.ok(
            "POST", "/v1/attributes", {"subject": "customer", "key": key, "kind": kind, "label": {"en": key}}
        )
    values = {"floor_area": 120.5, "region": "north", "vip": True, "handover": "2026-12-01", "remark": "corner"}
    customer = await admin.make_customer("Big", attributes=values)
    await admin.make_customer("Small", attributes={"floor_area": 60, "region": "south"})
    assert customer["attributes"] == values
    errors = (
        await admin.post("/v1/customers", {"name": "X", "attributes": {"floor_area": "big", "region": "west", "x": 1}})
    ).json()["errors"]
    assert {(e["pointer"], e["code"]) for e in errors} == {
        ("/attributes/floor_area", "invalid_value"),
        ("/attributes/region", "invalid_value"),
        ("/attributes/x", "unknown_attribute"),
    }


async def test_customers_are_filtered_by_their_attributes(admin: Caller) -> None:
    for definition in (AREA, REGION, AREA | {"key": "vip", "kind": "boolean"}, AREA | {"key": "due", "kind": "date"}):
        await admin.ok("POST", "/v1/attributes", definition)
    big = {"floor_area": 120.5, "region": "north", "vip": True, "due": "2026-12-01"}
    await admin.make_customer("Big", attributes=big)
    await admin.make_customer("Small", attributes={"floor_area": 60, "region": "south"})
    for condition, names in (
        ("floor_area>=100", ["Big"]),
        ("region=south", ["Small"]),
        ("vip=true", ["Big"]),
        ("due<=2026-12-31", ["Big"]),
    ):
        found = await admin.ok("GET", "/v1/customers", params={"attribute": condition})
        assert [each["name"] for each in found["data"]] == names
    for condition in ("colour=red", "region>=north", "vip=perhaps", "due>=soon"):
        refused = await admin.get("/v1/customers", params={"attribute": condition})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "?attribute")


async def test_a_definition_grows_and_never_shrinks(admin: Caller) -> None:
    made = await admin.ok("POST", "/v1/attributes", REGION)
    path = f"/v1/attributes/{made['id']}"
    more = ["north", "south", "west"]
    change = {"categories": more, "label": {"en": "Area"}, "required": True}
    after = await admin.ok("PATCH", path, change, headers={"If-Match": '"1"'})
    assert (after["categories"], after["label"], after["required"]) == (more, {"en": "Area", "zh_hans": None}, True)
    assert await admin.ok("GET", path) == after
    fewer = await admin.patch(path, {"categories": ["west"]})
    assert fewer.json()["errors"][0] == {
        "pointer": "/categories",
        "code": "immutable",
        "message": "Categories only grow; missing: north, south.",
    }
    assert (await admin.post("/v1/customers", {"name": "X"})).json()["errors"][0]["pointer"] == "/attributes/region"
    for change, pointer in (({"kind": "text"}, "/kind"), ({"key": "r"}, "/key"), ({"label": None}, "/label")):
        assert (await admin.patch(path, change)).json()["errors"][0]["pointer"] == pointer
    assert (await admin.patch(path, {"required": False}, headers={"If-Match": '"1"'})).status_code == 412
    await admin.ok("PATCH", path, {"active": False})
    await admin.make_customer("Without")
    gone = await admin.post("/v1/customers", {"name": "X", "attributes": {"region": "west"}})
    assert gone.json()["errors"][0]["code"] == "unknown_attribute"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"key": "Floor"}, "/key", "string_pattern_mismatch"),
        ({"key": "a" * 64}, "/key", "string_pattern_mismatch"),
        ({"kind": "colour"}, "/kind", "value_error"),
        ({"subject": "contact"}, "/subject", "value_error"),
        ({"label": {"zh_hans": "面积"}}, "/label/en", "missing"),
        ({"categories": ["a"]}, "/categories", "contradiction"),
        ({"kind": "category"}, "/categories", "required"),
        ({"kind": "category", "categories": ["a", "a"]}, "/categories", "value_error"),
        ({"kind": "category", "categories": []}, "/categories", "too_short"),
        ({"unit": "m2"}, "/unit", "unknown_field"),
    ],
)
async def test_a_wrong_definition_is_refused_with_its_place(
    admin: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    response = await admin.post("/v1/attributes", AREA | change)
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]


async def test_who_defines_and_who_reads(admin: Caller, other: Caller) -> None:
    made = await admin.ok("POST", "/v1/attributes", AREA)
    taken = await admin.post("/v1/attributes", AREA)
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "/key")
    await admin.ok("POST", "/v1/attributes", AREA | {"subject": "opportunity"})
    for role, status in (("integration", 201), ("manager", 403), ("rep", 403), ("viewer", 403)):
        caller = await admin.member(role)
        assert (await caller.post("/v1/attributes", AREA | {"key": f"by_{role}"})).status_code == status
        assert (await caller.get(f"/v1/attributes/{made['id']}")).status_code == 200
    assert (await other.get(f"/v1/attributes/{made['id']}")).status_code == 404
    assert (await other.patch(f"/v1/attributes/{made['id']}", {"active": False})).status_code == 404
    with statements() as many:
        listed = await admin.ok("GET", "/v1/attributes", params={"subject": "customer"})
    with statements() as few:
        await admin.ok("GET", "/v1/attributes", params={"limit": 1})
    assert len(many) == len(few)
    assert [each["key"] for each in listed["data"]] == ["by_integration", "floor_area"]
    assert (await admin.get("/v1/attributes", params={"key": "x"})).status_code == 400
