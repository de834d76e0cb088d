"""Customers: owners, handover, upsert, soft deletion, names in two scripts, filters and their bad input."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from shared.db import sql
from shared.ids import new_id
from tests.support.caller import Caller
from tests.support.flow import in_days, money
from tests.support.traces import everything, traces

UPSERT = "/v1/customers/by-external-id/erp/1"
LOCK_CUSTOMER = sql("SELECT FROM sales.customers WHERE workspace_id = :workspace_id AND id = :id FOR UPDATE")
DELETE_CUSTOMER = sql("UPDATE sales.customers SET deleted_at = now() WHERE workspace_id = :workspace_id AND id = :id")


async def names(caller: Caller, **params: Any) -> list[str]:
    page = await caller.ok("GET", "/v1/customers", params={"sort": "name", **params})
    return [row["name"] for row in page["data"]]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": "a\x07b"}, "/name"),
        ({"kind": "club"}, "/kind"),
        ({"tier": "gold"}, "/tier"),
        ({"email": "nobody"}, "/email"),
        ({"owner_id": "me"}, "/owner_id"),
        ({"owner_id": str(new_id())}, "/owner_id"),
        ({"occurred_at": "2026-01-01"}, "/occurred_at"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "/occurred_at"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "/occurred_at"),
        ({"attributes": {"colour": "red"}}, "/attributes/colour"),
        ({"attributes": []}, "/attributes"),
        ({"id": "0198"}, "/id"),
        ({"version": 3}, "/version"),
        ({"notes": "n" * 20_001}, "/notes"),
    ],
)
async def test_a_wrong_field_is_named(admin: Caller, fields: dict[str, Any], pointer: str) -> None:
    before = await everything(admin)
    response = await admin.post("/v1/customers", {"name": "Acme", **fields})
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert await everything(admin) == before


class TestOwners:
    """A rep records for themselves; others record for whom they name, or for the queue (DOMAIN §14, owners)."""

    async def test_the_owner_by_default(self, admin: Caller) -> None:
        rep = await admin.member("rep")
        assert (await rep.make_customer())["owner_id"] == str(rep.member_id)
        assert (await admin.make_customer())["owner_id"] is None
        assert (await admin.make_customer(owner_id=str(rep.member_id)))["owner_id"] == str(rep.member_id)
        for owner_id in (None, str(admin.member_id)):
            refused = await rep.post("/v1/customers", {"name": "x", "owner_id": owner_id})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")

    @pytest.mark.parametrize("role", ["viewer", "integration"])
    async def test_who_does_not_sell_owns_nothing(self, admin: Caller, role: str) -> None:
        member_id = str((await admin.member(role)).member_id)
        refused = await admin.post("/v1/customers", {"name": "x", "owner_id": member_id})
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/owner_id"]
        made = await admin.make_customer()
        body = {"owner_id": member_id, "reason": "x"}
        refused = await admin.post(f"/v1/customers/{made['id']}:reassign", body)
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/owner_id"]

    async def test_defect_16_only_my_own_shows_nothing_unassigned(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep)
        await rep.make_customer("Mine")
        await mate.make_customer("A mate's")
        queued = await admin.make_customer("Queued")
        assert await names(rep) == ["Mine"]
        assert await names(rep, unassigned=True) == []
        assert await names(rep, owner_id=str(mate.member_id)) == []
        assert await names(manager) == ["Mine", "Queued"]
        assert await names(manager, owner_id=str(rep.member_id)) == ["Mine"]
        for method in ("GET", "PATCH", "DELETE"):
            body = {"name": "Taken"} if method == "PATCH" else None
            assert (await rep.request(method, f"/v1/customers/{queued['id']}", json=body)).status_code == 404

    async def test_a_handover_ranks_both_reps_and_drops_pins(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep, mate)
        made = await rep.make_customer()
        mute = {"kind": "mute", "subject_type": "customer", "subject_id": made["id"], "reason": "later"}
        await rep.ok("POST", "/v1/focus/pins", {**mute, "expires_at": in_days(5)})
        before = await traces(admin)
        body = {"owner_id": str(mate.member_id), "reason": "a better fit"}
        after = await manager.ok("POST", f"/v1/customers/{made['id']}:reassign", body)
        assert (after["owner_id"], after["version"]) == (str(mate.member_id), 2)
        left = (await traces(admin)).since(before)
        assert {row["type"] for row in left.events} == {"customer.reassigned"}
        assert left.events[0]["data"]["from_owner_id"] == str(rep.member_id)
        assert "a better fit" not in str([*left.events, *left.audit]), "a manager's own words"
        assert {key for key in left.marks if key[0] == "owner"} == {
            ("owner", str(rep.member_id)),
            ("owner", str(mate.member_id)),
        }
        pins = await admin.ok("GET", "/v1/focus/pins", params={"active": True, "owner_id": str(rep.member_id)})
        assert pins["data"] == []
        assert (await rep.get(f"/v1/customers/{made['id']}")).status_code == 404

    async def test_a_handover_with_opportunities_takes_the_open_ones_of_the_old_owner(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        customer = await admin.make_customer(owner_id=str(rep.member_id))
        own = await admin.make_opportunity(customer["id"], name="Open")
        await admin.transition(own["id"], "pass")
        closed = await admin.make_opportunity(customer["id"], name="Closed")
        await admin.transition(closed["id"], "lose", reason="price")
        theirs = await admin.make_opportunity(customer["id"], name="Other's", owner_id=str(admin.member_id))
        body = {"owner_id": str(mate.member_id), "reason": "on leave", "with_opportunities": True}
        await admin.ok("POST", f"/v1/customers/{customer['id']}:reassign", body)
        found = {row["name"]: row for row in (await admin.ok("GET", "/v1/opportunities"))["data"]}
        assert found["Open"]["owner_id"] == str(mate.member_id)
        assert (found["Open"]["stage_position"], found["Open"]["status"]) == (1, "open")
        assert found["Closed"]["owner_id"] == str(rep.member_id)
        assert found["Other's"]["owner_id"] == theirs["owner_id"]

    async def test_a_handover_to_the_same_owner_changes_nothing(self, admin: Caller) -> None:
        rep = await admin.member("rep")
        customer = await admin.make_customer(owner_id=str(rep.member_id))
        await admin.make_opportunity(customer["id"])
        before = await everything(admin)
        body = {"owner_id": str(rep.member_id), "reason": "x", "with_opportunities": True}
        after = await admin.ok("POST", f"/v1/customers/{customer['id']}:reassign", body)
        assert after["version"] == 1
        assert await everything(admin) == before

    async def test_a_handover_says_why_and_of_which_version(self, admin: Caller) -> None:
        made = await admin.make_customer()
        path = f"/v1/customers/{made['id']}:reassign"
        for body, pointer in (({"owner_id": None}, "/reason"), ({"reason": "x"}, "/owner_id")):
            assert [e["pointer"] for e in (await admin.post(path, body)).json()["errors"]] == [pointer]
        stale = await admin.post(path, {"owner_id": None, "reason": "x"}, headers={"If-Match": '"9"'})
        assert stale.status_code == 412


class TestUpsert:
    """`PUT` by external id replaces all that it may say (FIELD, defect 14)."""

    async def test_it_replaces_what_is_not_given(self, admin: Caller) -> None:
        label = {"en": "Region"}
        await admin.ok(
            "POST", "/v1/attributes", {"subject": "customer", "key": "region", "kind": "text", "label": label}
        )
        first = await admin.ok("PUT", UPSERT, {"name": "A", "phone": "010", "attributes": {"region": "north"}})
        assert (first["external_source"], first["external_id"]) == ("erp", "1")
        second = await admin.ok("PUT", UPSERT, {"name": "B", "industry": "steel"})
        assert (second["id"], second["version"]) == (first["id"], 2)
        assert (second["name"], second["phone"], second["industry"]) == ("B", None, "steel")
        assert second["attributes"] == {}
        third = await admin.put(UPSERT, {"name": "B", "industry": "steel"})
        assert (third.status_code, third.headers["etag"]) == (200, '"2"')

    async def test_defect_14_create_and_upsert_agree_on_what_is_one(self, admin: Caller, other: Caller) -> None:
        made = await admin.make_customer(external_source="erp", external_id="1")
        assert (await admin.ok("PUT", UPSERT, {"name": "Same"}))["id"] == made["id"]
        taken = await admin.post("/v1/customers", {"name": "x", "external_source": "erp", "external_id": "1"})
        assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "/external_id")
        assert (await other.ok("PUT", UPSERT, {"name": "Theirs"}))["id"] != made["id"]
        parallel = await asyncio.gather(*(admin.put(UPSERT, {"name": f"N{n}"}) for n in range(12)))
        assert Counter(answer.status_code for answer in parallel) == {200: 12}
        assert len(await names(admin)) == 1

    async def test_what_was_deleted_comes_back_as_itself(self, admin: Caller) -> None:
        made = await admin.ok("PUT", UPSERT, {"name": "A"})
        await admin.ok("DELETE", f"/v1/customers/{made['id']}")
        again = await admin.put(UPSERT, {"name": "A"})
        assert (again.status_code, again.json()["id"], again.json()["deleted_at"]) == (200, made["id"], None)

    async def test_a_rep_can_not_take_over_by_upsert(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        made = await mate.ok("PUT", UPSERT, {"name": "A mate's"})
        assert (await rep.put(UPSERT, {"name": "Mine"})).status_code == 404
        refused = await mate.put(UPSERT, {"name": "A mate's", "owner_id": str(rep.member_id)})
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "immutable")
        assert (await admin.ok("GET", f"/v1/customers/{made['id']}"))["owner_id"] == str(mate.member_id)

    async def test_the_owner_is_changed_by_a_handover_alone(self, admin: Caller) -> None:
        """A handover has a reason; another system's nightly run has none."""
        rep, mate = await admin.member("rep"), await admin.member("rep")
        made = await rep.ok("PUT", UPSERT, {"name": "A"})
        before = await everything(admin)
        for owner_id in (str(mate.member_id), None):
            refused = await admin.put(UPSERT, {"name": "B", "owner_id": owner_id})
            errors = refused.json()["errors"]
            assert (refused.status_code, errors[0]["pointer"], errors[0]["code"]) == (422, "/owner_id", "immutable")
        assert await everything(admin) == before
        same = await admin.ok("PUT", UPSERT, {"name": "B", "owner_id": made["owner_id"]})
        assert (same["name"], same["owner_id"]) == ("B", made["owner_id"])

    async def test_a_replacement_needs_what_a_new_one_needs(self, admin: Caller) -> None:
        """What is required can't be lost by replacing (FIELD, defect 18)."""
        await admin.ok("PUT", UPSERT, {"name": "A"})
        definition = {"subject": "customer", "key": "region", "kind": "text", "label": {"en": "R"}, "required": True}
        await admin.ok("POST", "/v1/attributes", definition)
        refused = await admin.put(UPSERT, {"name": "A"})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/attributes/region")
        assert (await admin.put(UPSERT, {"name": "A", "attributes": {"region": "north"}})).status_code == 200

    @pytest.mark.parametrize("path", ["/v1/customers/by-external-id/erp/%00", "/v1/customers/by-external-id/erp/%20"])
    async def test_an_external_id_that_is_none_is_refused_by_its_place(self, admin: Caller, path: str) -> None:
        response = await admin.put(path, {"name": "A"})
        assert response.status_code == 400
        assert [error["pointer"] for error in response.json()["errors"]] == ["path:external_id"]


class TestDeletion:
    """Soft, with restore, and never under an open opportunity."""

    async def test_a_customer_with_an_open_opportunity_stays(self, admin: Caller) -> None:
        deal = await admin.make_opportunity()
        path = f"/v1/customers/{deal['customer_id']}"
        refused = await admin.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        await admin.transition(deal["id"], "abandon", reason="budget")
        assert (await admin.delete(path)).status_code == 204
        assert (await admin.get(path)).status_code == 404
        assert (await admin.delete(path)).status_code == 404
        refused = await admin.post("/v1/opportunities", {"name": "x", "customer_id": deal["customer_id"]})
        assert refused.json()["errors"][0]["pointer"] == "/customer_id"

    async def test_no_opportunity_is_open_at_a_deleted_customer(self, admin: Caller) -> None:
        lost, gone = await admin.make_opportunity(), None
        customer = lost["customer_id"]
        gone = await admin.make_opportunity(customer)
        await admin.transition(lost["id"], "lose", reason="price")
        await admin.ok("DELETE", f"/v1/opportunities/{gone['id']}")
        await admin.ok("DELETE", f"/v1/customers/{customer}")
        reopened = await admin.transition(lost["id"], "reopen")
        assert (reopened.status_code, reopened.json()["code"]) == (409, "conflict")
        restored = await admin.post(f"/v1/opportunities/{gone['id']}:restore")
        assert (restored.status_code, restored.json()["code"]) == (409, "conflict")
        await admin.ok("POST", f"/v1/customers/{customer}:restore")
        assert (await admin.transition(lost["id"], "reopen")).status_code == 200
        assert (await admin.post(f"/v1/opportunities/{gone['id']}:restore")).status_code == 200

    async def test_a_win_is_not_voided_at_a_deleted_customer(self, admin: Caller) -> None:
        won = await admin.make_opportunity()
        for _ in range(6):
            await admin.transition(won["id"], "pass")
        await admin.ok("DELETE", f"/v1/customers/{won['customer_id']}")
        refused = await admin.transition(won["id"], "void", reason="the wrong deal")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        await admin.ok("POST", f"/v1/customers/{won['customer_id']}:restore")
        assert (await admin.transition(won["id"], "void", reason="the wrong deal")).status_code == 200

    @pytest.mark.parametrize("attributes", [{}, {"area": 3}])
    async def test_nothing_is_opened_while_its_customer_is_being_deleted(
        self, admin: Caller, attributes: dict[str, Any]
    ) -> None:
        """An opportunity made at the same time waits for the deletion, by whichever way it is checked."""
        definition = {"subject": "opportunity", "key": "area", "kind": "number", "label": {"en": "Area"}}
        await admin.ok("POST", "/v1/attributes", definition)
        customer = UUID((await admin.make_customer())["id"])
        body = {"name": "x", "customer_id": str(customer), "attributes": attributes}
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            await tx.run(LOCK_CUSTOMER, id=customer)
            await tx.run(DELETE_CUSTOMER, id=customer)
            made = asyncio.create_task(admin.post("/v1/opportunities", body))
            await asyncio.sleep(0.3)
            assert not made.done()
        refused = await made
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/customer_id")

    async def test_a_deletion_waits_for_an_opportunity_that_is_being_made(self, admin: Caller) -> None:
        statuses = []
        for _ in range(10):
            customer = (await admin.make_customer())["id"]
            made, gone = await asyncio.gather(
                admin.post("/v1/opportunities", {"name": "x", "customer_id": customer}),
                admin.delete(f"/v1/customers/{customer}"),
            )
            statuses.append((made.status_code, gone.status_code))
        assert set(statuses) <= {(201, 409), (422, 204)}

    async def test_restoring_what_is_there_changes_nothing(self, admin: Caller) -> None:
        made = await admin.make_customer()
        restored = await admin.post(f"/v1/customers/{made['id']}:restore")
        assert (restored.status_code, restored.json()["version"]) == (200, 1)

    async def test_deletion_honours_the_version(self, admin: Caller) -> None:
        made = await admin.make_customer()
        path = f"/v1/customers/{made['id']}"
        assert (await admin.delete(path, headers={"If-Match": '"2"'})).status_code == 412
        assert (await admin.delete(path, headers={"If-Match": "nonsense"})).status_code == 400
        assert (await admin.delete(path, headers={"If-Match": '"1"'})).status_code == 204


class TestLists:
    """Names in two scripts, filters, and what a filter must never do."""

    async def test_names_sort_by_pinyin_among_latin_ones(self, admin: Caller) -> None:
        for name in ("王五", "Zeta", "北京重工", "acme", "Miller", "李娜", "Élan"):
            await admin.make_customer(name)
        assert await names(admin) == ["acme", "北京重工", "Élan", "李娜", "Miller", "王五", "Zeta"]
        assert await names(admin, name_prefix="北京") == ["北京重工"]
        assert await names(admin, name_prefix="BEI") == ["北京重工"]
        assert await names(admin, name_prefix="el") == ["Élan"]
        assert await names(admin, name_prefix="%") == []

    @pytest.mark.parametrize(
        "params",
        [
            {"source": "' OR '1'='1"},
            {"industry": "x'; DROP TABLE sales.customers; --"},
            {"name_prefix": "' OR true --"},
            {"external_source": "\\"},
        ],
    )
    async def test_defect_19_a_filter_is_a_value_and_never_sql(self, admin: Caller, params: dict[str, str]) -> None:
        await admin.make_customer("Acme", source="web")
        assert await names(admin, **params) == []
        assert await names(admin) == ["Acme"]

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("sort=name;drop", "?sort"),
            ("sort=workspace_id", "?sort"),
            ("limit=ten", "?limit"),
            ("owner_id=1 OR 1=1", "?owner_id"),
            ("unassigned=perhaps", "?unassigned"),
            ("attribute=a'b=1", "?attribute"),
            ("updated_after=yesterday", "?updated_after"),
            ("workspace_id=0198c0de-0000-7000-8000-000000000000", "?workspace_id"),
            ("source=a%00b", "?source"),
            ("tier=core' UNION SELECT * FROM sales.api_keys --", "?tier"),
        ],
    )
    async def test_a_wrong_parameter_is_named(self, admin: Caller, query: str, pointer: str) -> None:
        response = await admin.get(f"/v1/customers?{query}")
        assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]

    async def test_each_filter_finds_its_own(self, admin: Caller) -> None:
        rep = await admin.member("rep")
        await admin.make_customer("A", kind="household", source="fair", owner_id=str(rep.member_id))
        await admin.make_customer("B", tier="core", industry="steel", external_source="erp", external_id="1")
        filters = {
            "kind": ("household", ["A"]), "source": ("fair", ["A"]), "owner_id": (str(rep.member_id), ["A"]),
            "tier": ("core", ["B"]), "industry": ("steel", ["B"]), "external_source": ("erp", ["B"]),
            "unassigned": ("true", ["B"]), "updated_after": ("2020-01-01T00:00:00Z", ["A", "B"]),
        }  # fmt: skip
        for name, (value, found) in filters.items():
            assert await names(admin, **{name: value}) == found, name
        assert await names(admin, unassigned=False) == ["A"]

    async def test_delta_sync_meets_changes_and_tombstones(self, admin: Caller) -> None:
        first, second = await admin.make_customer("A"), await admin.make_customer("B")
        await admin.ok("DELETE", f"/v1/customers/{first['id']}")
        params = {"updated_after": second["updated_at"], "include_deleted": True, "sort": "updated_at"}
        page = await admin.ok("GET", "/v1/customers", params=params)
        assert [(row["name"], row["deleted_at"] is not None) for row in page["data"]] == [("A", True)]


async def test_a_patch_of_null_clears_attributes(admin: Caller) -> None:
    for key in ("region", "size"):
        definition = {"subject": "customer", "key": key, "kind": "text", "label": {"en": key}}
        await admin.ok("POST", "/v1/attributes", definition)
    made = await admin.make_customer(attributes={"region": "north", "size": "big"})
    path = f"/v1/customers/{made['id']}"
    assert (await admin.ok("PATCH", path, {"attributes": {"size": None}}))["attributes"] == {"region": "north"}
    assert (await admin.ok("PATCH", path, {"attributes": None}))["attributes"] == {}


async def test_what_is_known_is_not_sent_again(admin: Caller) -> None:
    made = await admin.make_customer()
    path = f"/v1/customers/{made['id']}"
    for known, status in (('"1"', 304), ('W/"1"', 304), ("*", 304), ('"0", "1"', 304), ('"2"', 200), ("1", 200)):
        response = await admin.get(path, headers={"If-None-Match": known})
        assert (response.status_code, response.headers["etag"]) == (status, '"1"'), known
    await admin.ok("PATCH", path, {"tier": "core"})
    assert (await admin.get(path, headers={"If-None-Match": '"1"'})).status_code == 200


async def test_a_customer_and_an_opportunity_may_have_different_owners(admin: Caller) -> None:
    rep, mate = await admin.member("rep"), await admin.member("rep")
    customer = await admin.make_customer(owner_id=str(rep.member_id))
    deal = await admin.make_opportunity(customer["id"], owner_id=str(mate.member_id), amount=money("10.00"))
    assert (await mate.ok("GET", f"/v1/customers/{customer['id']}"))["owner_id"] == str(rep.member_id)
    assert (await rep.get(f"/v1/opportunities/{deal['id']}")).status_code == 404
