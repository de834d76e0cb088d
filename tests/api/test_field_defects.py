"""Defects known from elsewhere in the field, each by its number; more of them stand with what they concern."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.flow import in_days, money, own_stages
from tests.support.scoring import drain

UPSERT = "/v1/opportunities/by-external-id/erp/1"


async def test_defect_4_an_unrelated_edit_leaves_the_probability_and_a_passage_moves_it(
    admin: Caller, servers: Servers
) -> None:
    rep = await admin.member("rep")
    made = await rep.make_opportunity(amount=money("1000"), margin_rate=0.3)
    path = f"/v1/opportunities/{made['id']}"

    async def probability() -> float:
        await drain(servers, admin.workspace_id)
        score = await rep.ok("GET", f"{path}/score")
        assert score["pending"] is False
        return float(score["probability"]["value"])

    first = await probability()
    for change in ({"name": "Renamed"}, {"notes": "said hello"}, {"source": "fair"}):
        await rep.ok("PATCH", path, change)
        assert await probability() == pytest.approx(first, abs=1e-4)
    await rep.transition(made["id"], "pass")
    assert await probability() > first


async def test_defect_9_pins_at_once_never_exceed_the_limit(admin: Caller) -> None:
    rep = await admin.member("rep")
    deals = [await rep.make_opportunity(name=f"D{n}") for n in range(8)]
    pin = {"kind": "pin", "subject_type": "opportunity", "band": "engage", "reason": "x", "expires_at": in_days(3)}
    answers = await asyncio.gather(*(rep.post("/v1/focus/pins", {**pin, "subject_id": d["id"]}) for d in deals))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 5}


async def test_defect_9_a_customer_is_not_deleted_under_an_opportunity_made_at_once(admin: Caller) -> None:
    for _ in range(15):
        customer = await admin.make_customer()
        body = {"name": "Deal", "customer_id": customer["id"]}
        made, gone = await asyncio.gather(
            admin.post("/v1/opportunities", body), admin.delete(f"/v1/customers/{customer['id']}")
        )
        assert (made.status_code, gone.status_code) in {(201, 409), (422, 204)}, (made.text, gone.text)


async def test_defect_17_nothing_depends_on_english_names_of_stages(admin: Caller, servers: Servers) -> None:
    rep = await admin.member("rep")
    stages = [{**stage, "name": {"en": "阶段"}, "milestone": {"en": "里程点"}} for stage in own_stages(3)]
    process = await admin.ok("POST", "/v1/processes", {"key": "zh", "name": {"en": "流程"}, "stages": stages})
    made = await rep.make_opportunity(name="压力机", process_id=process["id"])
    await drain(servers, admin.workspace_id)
    assert (await rep.ok("GET", f"/v1/opportunities/{made['id']}/score"))["status"] == "judged"
    for status in ("open", "open", "won"):
        assert (await rep.transition(made["id"], "pass")).json()["opportunity"]["status"] == status


async def test_defect_18_what_becomes_required_is_asked_for_by_name_and_stops_nothing_else(admin: Caller) -> None:
    deal = await admin.make_opportunity()
    path = f"/v1/opportunities/{deal['id']}"
    definition = {"subject": "opportunity", "key": "area", "kind": "number", "label": {"en": "Area"}, "required": True}
    await admin.ok("POST", "/v1/attributes", definition)
    body = {"name": "x", "customer_id": deal["customer_id"]}
    for refused in (
        await admin.post("/v1/opportunities", body),
        await admin.put(UPSERT, body),
    ):
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "required")
        assert refused.json()["errors"][0]["pointer"] == "/attributes/area"
    assert (await admin.post("/v1/opportunities", {**body, "attributes": {"area": 7}})).status_code == 201
    assert (await admin.patch(path, {"name": "Renamed"})).status_code == 200
    assert (await admin.transition(deal["id"], "pass")).status_code == 200
    await admin.ok("PATCH", path, {"attributes": {"area": 7}})
    emptied = await admin.patch(path, {"attributes": {"area": None}})
    assert (emptied.status_code, emptied.json()["errors"][0]["pointer"]) == (422, "/attributes/area")
