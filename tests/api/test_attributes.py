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


async def test_a_definition_says_how_its_values_count(admin: Caller) -> None:
    weights = {"weights": {"north": 0.3, "south": -0.2}}
    made = await admin.ok("POST", "/v1/attributes", REGION | {"model_input": weights})
    assert {name: made["model_input"][name] for name in weights} == weights
    path = f"/v1/attributes/{made['id']}"
    changed = await admin.ok("PATCH", path, {"model_input": {"weights": {"north": 0.5}}})
    assert changed["model_input"]["weights"] == {"north": 0.5}
    assert (await admin.ok("PATCH", path, {"model_input": None}))["model_input"] is None
    due = AREA | {"key": "due", "kind": "date", "model_input": {"weight": 0.001, "since": "2026-01-01"}}
    assert (await admin.ok("POST", "/v1/attributes", due))["model_input"]["since"] == "2026-01-01"


@pytest.mark.parametrize(
    ("definition", "given", "pointer", "code"),
    [
        (AREA, {"centre": 50}, "/model_input/weight", "required"),
        (AREA, {"weight": 0.1, "since": "2026-01-01"}, "/model_input/since", "contradiction"),
        (AREA | {"kind": "boolean"}, {"weight": 1, "weights": {"a": 1}}, "/model_input/weights", "contradiction"),
        (AREA | {"kind": "date"}, {"weight": 1}, "/model_input/since", "required"),
        (AREA | {"kind": "text"}, {"weight": 1}, "/model_input", "contradiction"),
        (REGION, {"weights": {"west": 0.1}}, "/model_input/weights/west", "unknown_category"),
        (REGION, {"weight": 0.1}, "/model_input/weight", "contradiction"),
    ],
)
async def test_how_it_counts_must_fit_its_kind(
    admin: Caller, definition: dict[str, Any], given: dict[str, Any], pointer: str, code: str
) -> None:
    response = await admin.post("/v1/attributes", definition | {"model_input": given})
    assert response.status_code == 422
    assert (pointer, code) in {(each["pointer"], each["code"]) for each in response.json()["errors"]}
    made = await admin.ok("POST", "/v1/attributes", definition)
    response = await admin.patch(f"/v1/attributes/{made['id']}", {"model_input": given})
    assert (response.status_code, response.json()["errors"][0]["pointer"].startswith("/model_input")) == (422, True)


@pytest.mark.parametrize("given", [{"weight": 6}, {"weight": "much"}, {"weight": 1, "slope": 2}, {"centre": 1e16}])
async def test_a_weight_is_a_number_within_bounds(admin: Caller, given: dict[str, Any]) -> None:
    response = await admin.post("/v1/attributes", AREA | {"model_input": given})
    assert response.status_code == 422
    assert all(error["pointer"].startswith("/model_input/") for error in response.json()["errors"])
    assert (await admin.ok("GET", "/v1/attributes"))["data"] == []


async def test_the_workspace_is_judged_again_when_it_counts_otherwise(admin: Caller, state: Any) -> None:
    async def marks() -> int:
        rows = await admin_marks(admin, state)
        return len(rows)

    made = await admin.ok("POST", "/v1/attributes", AREA)
    assert await marks() == 0
    path = f"/v1/attributes/{made['id']}"
    await admin.ok("PATCH", path, {"label": {"en": "Area"}})
    assert await marks() == 0
    await admin.ok("PATCH", path, {"model_input": {"weight": 0.01}})
    assert await marks() == 1


async def admin_marks(admin: Caller, state: Any) -> list[Any]:
    workspace_id = (await admin.ok("GET", "/v1/workspace"))["id"]
    async with state.database.transaction(workspace_id) as tx:
        rows: list[Any] = await tx.connection.fetch(
            "SELECT 1 FROM scoring.dirty_marks WHERE workspace_id = $1 AND subject_type = 'workspace'", workspace_id
        )
    return rows
