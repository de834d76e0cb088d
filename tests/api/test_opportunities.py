"""Opportunities as facts: money, lines, dates, owners, sharing, filters, batches, and their bad input."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.api.state import State
from shared.clock import FixedClock, SystemClock
from shared.ids import new_id
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.flow import money, own_stages
from tests.support.scoring import drain
from tests.support.traces import everything, traces

UPSERT = "/v1/opportunities/by-external-id/erp/1"


async def names(caller: Caller, **params: Any) -> list[str]:
    page = await caller.ok("GET", "/v1/opportunities", params={"sort": "name", **params})
    return [row["name"] for row in page["data"]]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"amount": money("1.23456")}, "/amount/amount"),
        ({"amount": money("123456789012345.00")}, "/amount/amount"),
        ({"amount": money("-1")}, "/amount/amount"),
        ({"amount": money("1e400")}, "/amount/amount"),
        ({"amount": money("NaN")}, "/amount/amount"),
        ({"amount": money("Infinity")}, "/amount/amount"),
        ({"amount": money("1,000")}, "/amount/amount"),
        ({"amount": {"amount": 12.5, "currency": "CNY"}}, "/amount/amount"),
        ({"amount": {"amount": 12, "currency": "CNY"}}, "/amount/amount"),
        ({"amount": {"amount": "12"}}, "/amount/currency"),
        ({"amount": money("12", "cny")}, "/amount/currency"),
        ({"amount": "12"}, "/amount"),
        ({"amount": money("1"), "budget": money("1", "USD")}, "/budget/currency"),
        ({"amount": money("1"), "cost_to_deliver": money("1", "EUR")}, "/cost_to_deliver/currency"),
        ({"margin_rate": 1.01}, "/margin_rate"),
        ({"margin_rate": "0.3x"}, "/margin_rate"),
        ({"payment_risk": -0.1}, "/payment_risk"),
        ({"purchase_date": "soon"}, "/purchase_date"),
        ({"purchase_date": "2026-02-30"}, "/purchase_date"),
        ({"purchase_date_firmness": "certain"}, "/purchase_date_firmness"),
        ({"budget_status": "maybe"}, "/budget_status"),
        ({"interest": "hot"}, "/interest"),
        ({"line": "middle"}, "/line"),
        ({"customer_id": str(new_id())}, "/customer_id"),
        ({"process_id": str(new_id())}, "/process_id"),
        ({"product_id": str(new_id())}, "/product_id"),
        ({"owner_id": str(new_id())}, "/owner_id"),
        ({"attributes": {"area": 1}}, "/attributes/area"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "/occurred_at"),
        ({"name": " "}, "/name"),
        ({"id": "7b0c0c0e-6f3b-4d1c-9a3e-0d8a3f0b1c2d"}, "/id"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_written(
    admin: Caller, fields: dict[str, Any], pointer: str
) -> None:
    customer = await admin.make_customer()
    before = await everything(admin)
    response = await admin.post("/v1/opportunities", {"name": "Deal", "customer_id": customer["id"], **fields})
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert await everything(admin) == before


@pytest.mark.parametrize("field", ["status", "stage_id", "stage_position", "won_at", "closed_at", "completed_at"])
async def test_defect_3_nothing_written_as_a_fact_chooses_the_stage(admin: Caller, field: str) -> None:
    """Neither a create, nor a patch, an upsert or a batch: stage and status follow from transitions alone."""
    deal = await admin.make_opportunity()
    customer, before = deal["customer_id"], await everything(admin)
    create = {"name": "x", "customer_id": customer, field: deal["stage_id"]}
    operations = [{"kind": "create", "body": create}]
    for response, pointer in (
        (await admin.post("/v1/opportunities", create), f"/{field}"),
        (await admin.put(UPSERT, create), f"/{field}"),
        (await admin.patch(f"/v1/opportunities/{deal['id']}", {field: None}), f"/{field}"),
        (await admin.post("/v1/opportunities:batch", {"operations": operations}), f"/operations/0/create/body/{field}"),
    ):
        assert response.status_code == 422
        found = [(error["pointer"], error["code"]) for error in response.json()["errors"]]
        assert found[0][1] == "unknown_field"
        assert found[0][0].replace("/create/", "/") == pointer.replace("/create/", "/")
    assert await everything(admin) == before


class TestMoney:
    """Decimals in strings, one currency an opportunity."""

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("0", "0.00"), ("0.1", "0.10"), ("1054.5000", "1054.50"), ("99999999999999.9999", "99999999999999.9999"),
            ("007", "7.00"), ("1.2345", "1.2345"),
        ],
    )  # fmt: skip
    async def test_an_amount_is_kept_to_the_last_digit(self, admin: Caller, given: str, shown: str) -> None:
        made = await admin.make_opportunity(amount=money(given))
        assert made["amount"] == money(shown)
        assert (await admin.ok("GET", f"/v1/opportunities/{made['id']}"))["amount"] == money(shown)

    async def test_the_currency_is_changed_for_all_or_for_none(self, admin: Caller) -> None:
        made = await admin.make_opportunity(amount=money("10"), budget=money("9"))
        path = f"/v1/opportunities/{made['id']}"
        refused = await admin.patch(path, {"amount": money("10", "USD")})
        assert refused.json()["errors"][0]["pointer"] == "/amount/currency"
        both = await admin.ok("PATCH", path, {"amount": money("10", "USD"), "budget": money("9", "USD")})
        assert (both["amount"], both["budget"]) == (money("10.00", "USD"), money("9.00", "USD"))
        none = await admin.ok("PATCH", path, {"amount": None, "budget": None})
        assert (none["amount"], none["budget"]) == (None, None)
        other = await admin.ok("PATCH", path, {"budget": money("5", "EUR")})
        assert other["budget"] == money("5.00", "EUR")

    async def test_the_same_amount_written_otherwise_changes_nothing(self, admin: Caller) -> None:
        made = await admin.make_opportunity(amount=money("10.50"))
        after = await admin.ok("PATCH", f"/v1/opportunities/{made['id']}", {"amount": money("10.5000")})
        assert after["version"] == 1


class TestDates:
    """Long lines say why and until when; a purchase date that moves later is counted (D6.2, D8.3)."""

    async def test_a_long_line_needs_its_reason_and_date(self, admin: Caller) -> None:
        customer = await admin.make_customer()
        body: dict[str, Any] = {"name": "x", "customer_id": customer["id"], "line": "long"}
        refused = await admin.post("/v1/opportunities", body)
        assert {e["pointer"] for e in refused.json()["errors"]} == {"/line_reason", "/resume_on"}
        body |= {"line_reason": "the flat is handed over in May", "resume_on": "2027-05-01"}
        made = await admin.ok("POST", "/v1/opportunities", body)
        path = f"/v1/opportunities/{made['id']}"
        refused = await admin.patch(path, {"resume_on": None})
        assert [e["pointer"] for e in refused.json()["errors"]] == ["/resume_on"]
        assert (await admin.ok("PATCH", path, {"line": "short", "resume_on": None}))["line"] == "short"
        refused = await admin.patch(path, {"line": "long"})
        assert [e["pointer"] for e in refused.json()["errors"]] == ["/resume_on"]

    async def test_only_a_later_date_is_a_slip(self, admin: Caller) -> None:
        made = await admin.make_opportunity(purchase_date="2027-03-01")
        path = f"/v1/opportunities/{made['id']}"
        for day, slips in (
            ("2027-04-01", 1), ("2027-04-01", 1), ("2027-03-15", 1), ("2027-03-16", 2), (None, 2), ("2027-09-01", 2),
        ):  # fmt: skip
            after = await admin.ok("PATCH", path, {"purchase_date": day})
            assert (after["purchase_date"], after["purchase_date_slips"]) == (day, slips)
        refused = await admin.patch(path, {"purchase_date_slips": 0})
        assert refused.json()["errors"][0]["code"] == "unknown_field"


class TestOwners:
    """Whose it is when nobody says, and what a handover keeps."""

    async def test_the_owner_by_default(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        customer = await admin.make_customer(owner_id=str(rep.member_id))
        assert (await admin.make_opportunity(customer["id"]))["owner_id"] == str(rep.member_id)
        assert (await rep.make_opportunity(customer["id"]))["owner_id"] == str(rep.member_id)
        assert (await admin.make_opportunity(customer["id"], owner_id=None))["owner_id"] is None
        named = await admin.make_opportunity(customer["id"], owner_id=str(mate.member_id))
        assert named["owner_id"] == str(mate.member_id)
        unseen = await admin.make_customer()
        refused = await rep.post("/v1/opportunities", {"name": "x", "customer_id": unseen["id"]})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/customer_id")

    async def test_defect_2_a_handover_keeps_stage_passages_and_history(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep, mate)
        made = await rep.make_opportunity()
        for _ in range(3):
            await rep.transition(made["id"], "pass")
        path = f"/v1/opportunities/{made['id']}"
        history = await admin.ok("GET", f"{path}/transitions")
        body = {"owner_id": str(mate.member_id), "reason": "a better fit"}
        after = await manager.ok("POST", f"{path}:reassign", body)
        assert (after["stage_position"], after["status"], after["owner_id"]) == (3, "open", str(mate.member_id))
        assert await mate.ok("GET", f"{path}/transitions") == history
        assert (await rep.get(path)).status_code == 404
        assert (await mate.transition(made["id"], "pass")).json()["opportunity"]["stage_position"] == 4

    async def test_defect_16_nobody_changes_what_is_not_theirs(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        made = await mate.make_opportunity()
        queued = await admin.make_opportunity(owner_id=None)
        before = await everything(admin)
        for deal in (made, queued):
            path = f"/v1/opportunities/{deal['id']}"
            attempts = [
                rep.get(path), rep.patch(path, {"name": "Mine"}), rep.delete(path), rep.post(f"{path}:restore"),
                rep.transition(deal["id"], "pass"), rep.get(f"{path}/members"), rep.get(f"{path}/transitions"),
                rep.post(f"{path}/members", {"member_id": str(rep.member_id)}),
            ]  # fmt: skip
            assert [answer.status_code for answer in await asyncio.gather(*attempts)] == [404] * len(attempts)
        assert await names(rep) == []
        assert await names(rep, unassigned=True) == []
        assert await everything(admin) == before

    async def test_a_deleted_opportunity_shows_nobody_its_customer(self, admin: Caller) -> None:
        owner, mate = await admin.member("rep"), await admin.member("rep")
        made = await owner.make_opportunity()
        path, customer = f"/v1/opportunities/{made['id']}", f"/v1/customers/{made['customer_id']}"
        await owner.ok("POST", f"{path}/members", {"member_id": str(mate.member_id)})
        touch = {"kind": "call", "customer_id": made["customer_id"], "opportunity_id": made["id"]}
        touched = await owner.ok("POST", "/v1/interactions", {**touch, "occurred_at": "2026-01-01T00:00:00Z"})
        seen = [customer, f"/v1/interactions/{touched['id']}"]
        assert [(await mate.get(each)).status_code for each in seen] == [200, 200]
        await owner.ok("DELETE", path)
        assert [(await mate.get(each)).status_code for each in seen] == [404, 404]
        assert [(await owner.get(each)).status_code for each in seen] == [200, 200]
        await owner.ok("POST", f"{path}:restore")
        assert [(await mate.get(each)).status_code for each in seen] == [200, 200]

    async def test_members_take_part_until_they_no_longer_do(self, admin: Caller) -> None:
        rep, mate, third = [await admin.member("rep") for _ in range(3)]
        made = await rep.make_opportunity()
        path = f"/v1/opportunities/{made['id']}"
        added = await rep.post(f"{path}/members", {"member_id": str(mate.member_id), "role": "specialist"})
        assert (added.status_code, added.json()["role"]) == (201, "specialist")
        assert (await mate.patch(path, {"interest": "firm"})).status_code == 200
        refused = await mate.post(f"{path}/members", {"member_id": str(third.member_id)})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        for member_id, status in ((str(rep.member_id), 409), (str(new_id()), 422)):
            assert (await rep.post(f"{path}/members", {"member_id": member_id})).status_code == status
        wrong_role = await rep.post(f"{path}/members", {"member_id": str(mate.member_id), "role": "owner"})
        assert wrong_role.json()["errors"][0]["pointer"] == "/role"
        assert [row["member_id"] for row in (await rep.ok("GET", f"{path}/members"))["data"]] == [str(mate.member_id)]
        assert (await rep.get(f"{path}/members?colour=red")).status_code == 400
        assert (await rep.delete(f"{path}/members/{mate.member_id}")).status_code == 204
        assert (await rep.delete(f"{path}/members/{mate.member_id}")).status_code == 404
        assert (await mate.get(path)).status_code == 404


class TestUpsert:
    """`PUT` by external id."""

    async def test_it_replaces_facts_and_leaves_the_course(self, admin: Caller) -> None:
        await admin.ok(
            "POST",
            "/v1/attributes",
            {"subject": "opportunity", "key": "area", "kind": "number", "label": {"en": "Area"}},
        )
        customer = (await admin.make_customer())["id"]
        first = await admin.put(
            UPSERT, {"name": "A", "customer_id": customer, "amount": money("5"), "attributes": {"area": 3}}
        )
        assert (first.status_code, first.json()["stage_position"]) == (201, 0)
        await admin.transition(first.json()["id"], "pass")
        second = await admin.ok("PUT", UPSERT, {"name": "B", "customer_id": customer})
        assert (second["id"], second["name"], second["amount"]) == (first.json()["id"], "B", None)
        assert (second["attributes"], second["stage_position"]) == ({}, 1)
        repeated = await admin.ok("PUT", UPSERT, {"name": "B", "customer_id": customer})
        assert repeated["version"] == second["version"]

    async def test_what_can_not_be_replaced_is_refused(self, admin: Caller) -> None:
        rep = await admin.member("rep")
        made = await admin.ok("PUT", UPSERT, {"name": "A", "customer_id": (await admin.make_customer())["id"]})
        other = (await admin.make_customer())["id"]
        process = await admin.ok("POST", "/v1/processes", {"key": "p", "name": {"en": "P"}, "stages": own_stages(2)})
        body = {"name": "A", "customer_id": made["customer_id"]}
        for change, pointer in (
            ({"customer_id": other}, "/customer_id"),
            ({"process_id": process["id"]}, "/process_id"),
            ({"owner_id": str(rep.member_id)}, "/owner_id"),
        ):
            refused = await admin.put(UPSERT, body | change)
            assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "immutable")
            assert refused.json()["errors"][0]["pointer"] == pointer

    async def test_defect_14_many_at_once_make_one(self, admin: Caller) -> None:
        body = {"name": "A", "customer_id": (await admin.make_customer())["id"]}
        answers = await asyncio.gather(*(admin.put(UPSERT, body) for _ in range(12)))
        assert {answer.status_code for answer in answers} <= {200, 201, 409}
        assert len({answer.json()["id"] for answer in answers if answer.is_success}) == 1
        assert await names(admin) == ["A"]

    async def test_a_replacement_needs_what_a_new_one_needs(self, admin: Caller) -> None:
        body = {"name": "A", "customer_id": (await admin.make_customer())["id"]}
        await admin.ok("PUT", UPSERT, body)
        definition = {"subject": "opportunity", "key": "area", "kind": "number", "label": {"en": "A"}, "required": True}
        await admin.ok("POST", "/v1/attributes", definition)
        refused = await admin.put(UPSERT, body)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/attributes/area")
        assert (await admin.put(UPSERT, {**body, "attributes": {"area": 3}})).status_code == 200

    async def test_nothing_comes_back_at_a_deleted_customer(self, admin: Caller) -> None:
        body = {"name": "A", "customer_id": (await admin.make_customer())["id"]}
        made = await admin.ok("PUT", UPSERT, body)
        await admin.ok("DELETE", f"/v1/opportunities/{made['id']}")
        await admin.ok("DELETE", f"/v1/customers/{body['customer_id']}")
        before = await everything(admin)
        refused = await admin.put(UPSERT, body)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert await everything(admin) == before

    async def test_a_deleted_product_is_nobody_s_choice(self, admin: Caller) -> None:
        """It stays where it was chosen before."""
        kept, gone = [await admin.ok("POST", "/v1/products", {"name": name}) for name in ("Press", "Lathe")]
        body = {"name": "A", "customer_id": (await admin.make_customer())["id"], "product_id": kept["id"]}
        path = f"/v1/opportunities/{(await admin.ok('PUT', UPSERT, body))['id']}"
        for each in (kept, gone):
            await admin.ok("DELETE", f"/v1/products/{each['id']}")
        wrong = {"product_id": gone["id"]}
        batch = {"operations": [{"kind": "update", "id": path[-36:], "body": wrong}]}
        for refused, pointer in (
            (await admin.patch(path, wrong), "/product_id"),
            (await admin.put(UPSERT, body | wrong), "/product_id"),
            (await admin.post("/v1/opportunities", body | wrong), "/product_id"),
            (await admin.post("/v1/opportunities:batch", batch), "/operations/0/body/product_id"),
        ):
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
        assert (await admin.patch(path, {"product_id": kept["id"]})).status_code == 200
        assert (await admin.ok("PUT", UPSERT, {**body, "name": "B"}))["product_id"] == kept["id"]
        assert (await admin.ok("PATCH", path, {"product_id": None}))["product_id"] is None


class TestLists:
    """Filters and sorts."""

    async def test_each_filter_finds_its_own(self, admin: Caller) -> None:
        for key, kind in (("area", "number"), ("region", "text")):
            definition = {"subject": "opportunity", "key": key, "kind": kind, "label": {"en": key}}
            await admin.ok("POST", "/v1/attributes", definition)
        product = await admin.ok("POST", "/v1/products", {"name": "Press"})
        a = await admin.make_opportunity(
            name="A", amount=money("100"), purchase_date="2027-01-01", source="fair", product_id=product["id"],
            attributes={"area": 10, "region": "north"},
        )  # fmt: skip
        long = {"line": "long", "line_reason": "later", "resume_on": "2028-01-01"}
        b = await admin.make_opportunity(
            name="B", amount=money("200.50"), purchase_date="2027-06-01", owner_id=str(admin.member_id), **long
        )
        await admin.transition(b["id"], "lose", reason="price")
        both, only_a, only_b = ["A", "B"], ["A"], ["B"]
        for params, found in (
            ({"amount_gte": "100"}, both), ({"amount_gte": "100.01"}, only_b), ({"amount_lte": "200.4999"}, only_a),
            ({"amount_gte": "100", "amount_lte": "100"}, only_a), ({"purchase_date_gte": "2027-01-02"}, only_b),
            ({"purchase_date_lte": "2027-01-01"}, only_a), ({"status": "lost"}, only_b), ({"line": "long"}, only_b),
            ({"owner_id": str(admin.member_id)}, only_b), ({"unassigned": True}, only_a), ({"source": "fair"}, only_a),
            ({"product_id": product["id"]}, only_a), ({"customer_id": a["customer_id"]}, only_a),
            ({"process_id": a["process_id"]}, both), ({"stage_id": a["stage_id"]}, both),
            ({"closed_after": "2020-01-01T00:00:00Z"}, only_b), ({"attribute": "area>=10"}, only_a),
            ({"attribute": ["area<=10", "region=north"]}, only_a), ({"attribute": "area>=11"}, []),
        ):  # fmt: skip
            assert await names(admin, **params) == found, params

    @pytest.mark.parametrize(
        "query", ["amount_gte=much", "amount_gte=NaN", "purchase_date_gte=2027-13-01", "status=a%00", "unassigned=2",
                  "attribute=area=1", "sort=-nothing", "owner_id=null"],
    )  # fmt: skip
    async def test_a_wrong_parameter_is_named(self, admin: Caller, query: str) -> None:
        response = await admin.get(f"/v1/opportunities?{query}")
        assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
        assert [error["pointer"] for error in response.json()["errors"]] == [f"?{query.partition('=')[0]}"]

    async def test_by_priority_page_by_page(self, admin: Caller, servers: Servers) -> None:
        rep = await admin.member("rep")
        for n in (3, 1, 5, 2, 4):
            made = await rep.make_opportunity(
                name=f"D{n}", amount=money(f"{n}00000"), margin_rate=0.3, purchase_date="2027-01-01"
            )
            await rep.transition(made["id"], "pass")
        lost = await rep.make_opportunity(name="Lost")
        await drain(servers, admin.workspace_id)
        await rep.transition(lost["id"], "lose", reason="price")
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            params = {"sort": "-priority", "limit": 2, "status": "open", **({"cursor": cursor} if cursor else {})}
            page = await rep.ok("GET", "/v1/opportunities", params=params)
            seen += [row["name"] for row in page["data"]]
            cursor = page["next_cursor"]
        assert seen == ["D5", "D4", "D3", "D2", "D1"]

    @pytest.mark.parametrize("value", ["' OR 1=1 --", "open'; DELETE FROM sales.opportunities; --", "%", "\\"])
    async def test_defect_19_a_filter_is_a_value_and_never_sql(self, admin: Caller, value: str) -> None:
        await admin.make_opportunity(name="A")
        for field in ("source", "external_source"):
            assert await names(admin, **{field: value}) == []
        for field in ("status", "line"):
            assert (await admin.get("/v1/opportunities", params={field: value})).status_code == 400
        assert (await admin.get("/v1/opportunities", params={"sort": value})).status_code == 400
        assert (await admin.get("/v1/opportunities", params={"attribute": f"{value}=1"})).status_code == 400
        assert await names(admin) == ["A"]


async def test_soft_deletion_and_restore(admin: Caller) -> None:
    made = await admin.make_opportunity()
    path = f"/v1/opportunities/{made['id']}"
    await admin.transition(made["id"], "pass")
    assert (await admin.delete(path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await admin.delete(path)).status_code == 204
    for call in (admin.get(path), admin.delete(path), admin.patch(path, {"name": "x"}), admin.get(f"{path}/score")):
        assert (await call).status_code == 404
    assert (await admin.transition(made["id"], "pass")).status_code == 404
    restored = await admin.ok("POST", f"{path}:restore")
    assert (restored["deleted_at"], restored["stage_position"], restored["version"]) == (None, 1, 4)


async def test_what_people_wrote_is_in_the_history_alone(admin: Caller) -> None:
    """Codes of the catalog are told; reasons in words and attributes enter neither events nor the audit."""
    words = "because of Ms. Wang's divorce"
    definition = {"subject": "opportunity", "key": "remark", "kind": "text", "label": {"en": "Remark"}}
    await admin.ok("POST", "/v1/attributes", definition)
    made = await admin.make_opportunity(attributes={"remark": words})
    path = f"/v1/opportunities/{made['id']}"
    await admin.ok("PATCH", path, {"attributes": {"remark": f"{words}!"}})
    await admin.ok("POST", f"{path}:reassign", {"owner_id": str(admin.member_id), "reason": words})
    for _ in range(6):
        await admin.transition(made["id"], "pass")
    await admin.transition(made["id"], "void", reason=words)
    await admin.transition(made["id"], "pass")
    await admin.transition(made["id"], "cancel", reason=words)
    await admin.ok("PATCH", path, {"name": "Cancelled"})
    history = await admin.ok("GET", f"{path}/transitions")
    assert [row["reason"] for row in history["data"] if row["reason"]] == [words, words]
    lost = await admin.make_opportunity(made["customer_id"])
    await admin.transition(lost["id"], "lose", reason="price")
    found = await traces(admin)
    told = [*found.events.values(), *found.audit.values()]
    assert [row for row in told if words in str(dict(row))] == []
    codes = [row["data"]["reason"] for row in found.events.values() if row["type"] == "opportunity.lost"]
    assert codes == ["price"]
    (audited,) = [row for row in found.audit.values() if row["action"] == "opportunity.lose"]
    assert audited["changes"]["reason"] == "price"


async def test_no_milestone_is_passed_before_its_opportunity_came_about(admin: Caller, state: State) -> None:
    now = datetime.now(UTC)
    soon = now + timedelta(minutes=3)
    made = await admin.make_opportunity(occurred_at=soon.isoformat())
    refused = await admin.transition(made["id"], "pass", occurred_at=now.isoformat())
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "out_of_order")
    assert (await admin.transition(made["id"], "pass")).status_code == 200
    (passage,) = (await admin.ok("GET", f"/v1/opportunities/{made['id']}/transitions"))["data"]
    assert datetime.fromisoformat(passage["occurred_at"]) == soon, "a fast clock's opportunity is followed at once"
    state.clock = FixedClock(now - timedelta(days=1))
    try:
        refused = await admin.transition(made["id"], "pass")
    finally:
        state.clock = SystemClock()
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "in_future")


async def test_going_back_to_a_stage_of_another_process_names_the_field(admin: Caller) -> None:
    made = await admin.make_opportunity()
    await admin.transition(made["id"], "pass")
    for action, field in (("pass", "stage_id"), ("back", "to_stage_id")):
        refused = await admin.transition(made["id"], action, **{field: str(new_id())})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"/{field}")


async def test_what_is_known_is_not_sent_again(admin: Caller) -> None:
    made = await admin.make_opportunity()
    path = f"/v1/opportunities/{made['id']}"
    assert (await admin.get(path, headers={"If-None-Match": '"1"'})).status_code == 304
    await admin.transition(made["id"], "pass")
    assert (await admin.get(path, headers={"If-None-Match": '"1"'})).status_code == 200
