"""Two records become one with both histories: what is moved, what answers afterwards, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from shared.db import sql
from shared.ids import new_id
from tests.conftest import Servers
from tests.contract.test_statements import cost
from tests.support.caller import Caller
from tests.support.scoring import drain
from tests.support.traces import traces

REFERENCES = sql(
    "SELECT c.conrelid::regclass::text AS child, a.attname AS column FROM pg_constraint c"
    " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[2]"
    " WHERE c.contype = 'f' AND c.confrelid = CAST(:parent AS regclass) ORDER BY 1"
)
TRANSITIONS = sql("SELECT * FROM sales.transitions WHERE workspace_id = :workspace_id ORDER BY id")
STANDING = sql(
    "SELECT id, status, stage_id, stage_position, stage_entered_at, won_at FROM sales.opportunities"
    " WHERE workspace_id = :workspace_id ORDER BY id"
)


async def merge(caller: Caller, into: Any, from_: Any, kind: str = "customers", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = await caller.ok(
        "POST", f"/v1/{kind}:merge", {"into": into["id"], "from": from_["id"], **more}
    )
    return made


async def refused(response: httpx.Response) -> tuple[int, str, str | None]:
    body = response.json()
    return response.status_code, body["code"], body["errors"][0]["pointer"] if body["errors"] else None


async def history(admin: Caller, customer: Any) -> dict[str, Any]:
    """A customer's contact, opportunity two milestones on, interaction and task."""
    contact = await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": "Wang"})
    deal = await admin.make_opportunity(customer["id"])
    for _ in range(2):
        assert (await admin.transition(deal["id"], "pass")).is_success
    touch = {
        "customer_id": customer["id"], "opportunity_id": deal["id"], "kind": "visit", "contact_ids": [contact["id"]],
    }  # fmt: skip
    interaction = await admin.ok("POST", "/v1/interactions", touch)
    task = await admin.ok("POST", "/v1/tasks", {"title": "Call", "customer_id": customer["id"]})
    return {"contacts": contact, "opportunities": deal, "interactions": interaction, "tasks": task}


async def test_both_histories_are_the_survivors(admin: Caller) -> None:
    into, from_ = await admin.make_customer("Acme"), await admin.make_customer("Acme Ltd", phone="010-65551234")
    made = await history(admin, from_)
    await history(admin, into)
    before = await traces(admin)
    response = await admin.post("/v1/customers:merge", {"into": into["id"], "from": from_["id"]})
    merged = response.json()
    assert (response.status_code, response.headers["location"]) == (201, f"/v1/merges/{merged['id']}")
    assert response.headers["etag"] == '"1"'
    assert merged["moved"] == {"contacts": 1, "opportunities": 1, "interactions": 1, "tasks": 1}
    assert merged["fields"] == ["phone"]
    for kind, row in made.items():
        shown = await admin.ok("GET", f"/v1/{kind}/{row['id']}")
        assert shown["customer_id"] == into["id"]
        assert shown["version"] > row["version"]
        assert len((await admin.ok("GET", f"/v1/{kind}?customer_id={into['id']}"))["data"]) == 2
    left = (await traces(admin)).since(before)
    assert len(left.transactions) == 1
    assert [row["type"] for row in left.events] == ["customer.deleted", "customer.updated", "customer.merged"]
    assert left.events[-1]["data"]["from_id"] == from_["id"]
    assert left.events[-1]["data"]["moved"] == merged["moved"]
    assert set(left.marks) == {("customer", into["id"]), ("customer", from_["id"])}


async def test_milestones_are_as_they_were(admin: Caller, as_api: asyncpg.Connection) -> None:
    """Nothing about a transition changes: neither its rows nor what follows from them."""
    into, from_ = await admin.make_customer(), await admin.make_customer()
    made = await history(admin, from_)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        passed, stood = await tx.rows(TRANSITIONS), await tx.rows(STANDING)
    await merge(admin, into, from_)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        assert await tx.rows(TRANSITIONS) == passed
        assert await tx.rows(STANDING) == stood
    again = await admin.transition(made["opportunities"]["id"], "pass")
    assert again.is_success
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        for statement, state in (
            ("UPDATE sales.transitions SET note = 'x' WHERE workspace_id = $1", "42501"),
            ("DELETE FROM sales.transitions WHERE workspace_id = $1", "42501"),
            (f"UPDATE sales.opportunities SET customer_id = '{from_['id']}' WHERE workspace_id = $1", "SX012"),
            ("UPDATE sales.customers SET deleted_at = NULL WHERE workspace_id = $1", "SX013"),
        ):
            with pytest.raises(asyncpg.PostgresError) as caught:
                async with as_api.transaction():
                    await as_api.execute(statement, admin.workspace_id)
            assert caught.value.sqlstate == state, statement


async def test_what_was_merged_says_where_it_went(admin: Caller) -> None:
    a, b, c = [await admin.make_customer(name) for name in ("A", "B", "C")]
    await merge(admin, b, a)
    await merge(admin, c, b)
    for gone in (a, b):
        for method in ("GET", "PATCH", "DELETE"):
            body = {"name": "x"} if method == "PATCH" else None
            response = await admin.request(method, f"/v1/customers/{gone['id']}", json=body)
            problem = response.json()
            assert (response.status_code, problem["code"]) == (410, "merged")
            assert problem["merged_into"] == {"type": "customer", "id": c["id"]}
            assert response.headers["location"] == f"/v1/customers/{c['id']}"
        restored = await admin.post(f"/v1/customers/{gone['id']}:restore")
        assert await refused(restored) == (409, "already_merged", None)
    listed = (await admin.ok("GET", "/v1/customers"))["data"]
    assert [row["id"] for row in listed] == [c["id"]]
    unknown = await admin.post("/v1/contacts", {"customer_id": a["id"], "name": "Li"})
    assert await refused(unknown) == (422, "invalid", "/customer_id")


async def test_an_external_id_of_the_merged_leads_to_the_survivor(admin: Caller) -> None:
    path = "/v1/customers/by-external-id/erp"
    a, b, c = [await admin.ok("PUT", f"{path}/{n}", {"name": f"N{n}"}) for n in (1, 2, 3)]
    await merge(admin, b, a)
    await merge(admin, c, b)
    found = await admin.put(f"{path}/1", {"name": "Renamed"})
    assert (found.status_code, found.json()["id"], found.json()["external_id"]) == (200, c["id"], "3")
    assert len((await admin.ok("GET", "/v1/customers"))["data"]) == 1
    contacts = "/v1/contacts/by-external-id/erp"
    one, two = [await admin.ok("PUT", f"{contacts}/{n}", {"name": "W", "customer_id": c["id"]}) for n in (1, 2)]
    await merge(admin, two, one, "contacts")
    again = await admin.ok("PUT", f"{contacts}/1", {"name": "Wang", "customer_id": c["id"]})
    assert again["id"] == two["id"]


async def test_whose_values_fields_take(admin: Caller) -> None:
    label = {"en": "x"}
    for key in ("region", "size"):
        await admin.ok("POST", "/v1/attributes", {"subject": "customer", "key": key, "kind": "text", "label": label})
    into = await admin.make_customer("Acme", phone="1", email="a@acme.example", attributes={"region": "north"})
    from_ = await admin.make_customer(
        "Acme Ltd", phone="2", website="acme.example", notes="n", attributes={"region": "south", "size": "big"}
    )
    chosen = {"name": "from", "phone": "from", "email": "from", "website": "into"}
    merged = await merge(admin, into, from_, fields=chosen)
    after = await admin.ok("GET", f"/v1/customers/{into['id']}")
    assert (after["name"], after["phone"], after["email"]) == ("Acme Ltd", "2", None)
    assert (after["website"], after["notes"]) == (None, "n")
    assert after["attributes"] == {"region": "north", "size": "big"}
    assert merged["fields"] == ["attributes", "email", "name", "notes", "phone"]
    found = await admin.ok("GET", "/v1/customers?name_prefix=acme ltd")
    assert [row["id"] for row in found["data"]] == [into["id"]]


async def test_contacts_of_one_customer(admin: Caller) -> None:
    customer = await admin.make_customer()
    a, b = [
        await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": name, "is_coach": coach})
        for name, coach in (("Wang Fang", True), ("Fang Wang", False))
    ]
    calls = [
        await admin.ok(
            "POST",
            "/v1/interactions",
            {"customer_id": customer["id"], "kind": "call", "contact_ids": [each["id"] for each in named]},
        )
        for named in ([a], [a, b], [b])
    ]
    merged = await merge(admin, b, a, "contacts", fields={"is_coach": "from"})
    assert merged["moved"] == {"interactions": 2}
    for call in calls:
        assert (await admin.ok("GET", f"/v1/interactions/{call['id']}"))["contact_ids"] == [b["id"]]
    assert (await admin.ok("GET", f"/v1/contacts/{b['id']}"))["is_coach"] is True
    gone = await admin.get(f"/v1/contacts/{a['id']}")
    assert (gone.status_code, gone.json()["merged_into"]["id"]) == (410, b["id"])
    await admin.ok("POST", f"/v1/merges/{merged['id']}:undo")
    shown = [sorted((await admin.ok("GET", f"/v1/interactions/{call['id']}"))["contact_ids"]) for call in calls]
    assert shown == [[a["id"]], sorted([a["id"], b["id"]]), [b["id"]]]
    assert (await admin.ok("GET", f"/v1/contacts/{b['id']}"))["is_coach"] is False
    elsewhere = await admin.make_customer()
    c = await admin.ok("POST", "/v1/contacts", {"customer_id": elsewhere["id"], "name": "Wang"})
    answer = await admin.post("/v1/contacts:merge", {"into": a["id"], "from": c["id"]})
    assert await refused(answer) == (422, "invalid", "/from")


class TestRefusals:
    """What can't be merged says why."""

    async def test_what_is_not_two_records(self, admin: Caller, other: Caller) -> None:
        a, b, gone = [await admin.make_customer() for _ in range(3)]
        theirs = await other.make_customer()
        await admin.delete(f"/v1/customers/{gone['id']}")
        for into, from_, pointer in (
            (a["id"], a["id"], "/from"),
            (a["id"], str(new_id()), "/from"),
            (theirs["id"], a["id"], "/into"),
            (a["id"], gone["id"], "/from"),
        ):
            answer = await admin.post("/v1/customers:merge", {"into": into, "from": from_})
            assert await refused(answer) == (422, "invalid", pointer)
        body = {"into": a["id"], "from": b["id"]}
        for more, pointer in (
            ({"fields": {"owner_id": "from"}}, "/fields/owner_id"),
            ({"fields": {"name": "both"}}, "/fields/name"),
            ({"colour": "red"}, "/colour"),
        ):
            assert await refused(await admin.post("/v1/customers:merge", body | more)) == (422, "invalid", pointer)

    async def test_what_was_merged_already(self, admin: Caller) -> None:
        a, b, c = [await admin.make_customer() for _ in range(3)]
        await merge(admin, b, a)
        for into, from_ in ((c, a), (a, c)):
            answer = await admin.post("/v1/customers:merge", {"into": into["id"], "from": from_["id"]})
            assert await refused(answer) == (409, "already_merged", None)
            assert answer.json()["merged_into"]["id"] == b["id"]

    async def test_versions_of_both_are_guarded(self, admin: Caller) -> None:
        a, b = await admin.make_customer(), await admin.make_customer()
        body = {"into": a["id"], "from": b["id"]}
        stale = await admin.post("/v1/customers:merge", body, headers={"If-Match": '"7"'})
        assert await refused(stale) == (412, "precondition_failed", None)
        stale = await admin.post("/v1/customers:merge", {**body, "from_version": 7})
        assert (stale.status_code, stale.json()["current_version"]) == (412, 1)
        good = await admin.post("/v1/customers:merge", {**body, "from_version": 1}, headers={"If-Match": '"1"'})
        assert good.status_code == 201

    async def test_who_may(self, admin: Caller) -> None:
        rep, mate, stranger = [await admin.member("rep") for _ in range(3)]
        manager, viewer = await admin.manager_of(rep, mate), await admin.member("viewer")
        own = [await rep.make_customer() for _ in range(2)]
        theirs, strange = await mate.make_customer(), await stranger.make_customer()

        async def tried(caller: Caller, into: Any, from_: Any) -> int:
            return (await caller.post("/v1/customers:merge", {"into": into["id"], "from": from_["id"]})).status_code

        assert await tried(viewer, *own) == 403
        assert await tried(rep, own[0], theirs) == 422
        assert await tried(manager, own[0], strange) == 422
        deal = await mate.make_opportunity(theirs["id"])
        await mate.ok("POST", f"/v1/opportunities/{deal['id']}/members", {"member_id": str(rep.member_id)})
        assert await tried(rep, own[0], theirs) == 403
        assert await tried(rep, *own) == 201
        assert await tried(manager, own[0], theirs) == 201
        assert await tried(admin, own[0], strange) == 201
        seen = [len((await each.ok("GET", "/v1/merges"))["data"]) for each in (admin, manager, rep, stranger)]
        assert seen == [3, 2, 1, 0]
        latest = (await admin.ok("GET", "/v1/merges?limit=1"))["data"][0]
        assert (await manager.get(f"/v1/merges/{latest['id']}")).status_code == 404
        assert (await manager.post(f"/v1/merges/{latest['id']}:undo")).status_code == 404


async def test_a_repeated_merge_is_answered_again(admin: Caller) -> None:
    a, b = await admin.make_customer(), await admin.make_customer()
    headers = {"Idempotency-Key": "m"}
    body = {"into": a["id"], "from": b["id"]}
    first = await admin.post("/v1/customers:merge", body, headers=headers)
    again = await admin.post("/v1/customers:merge", body, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)


async def test_of_two_merges_at_once_one_is_made(admin: Caller) -> None:
    a, b = await admin.make_customer(), await admin.make_customer()
    bodies = [{"into": a["id"], "from": b["id"]}, {"into": b["id"], "from": a["id"]}] * 3
    answers = await asyncio.gather(*(admin.post("/v1/customers:merge", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 5]


async def test_what_is_recorded_during_a_merge_is_not_lost(admin: Caller) -> None:
    """Requests that looked at the customer before it was merged are refused or are moved; none is left behind."""
    into, from_ = await admin.make_customer(), await admin.make_customer()
    body = {"customer_id": from_["id"]}
    calls = [admin.post("/v1/interactions", {**body, "kind": "call"}) for _ in range(6)]
    calls += [admin.post("/v1/contacts", {**body, "name": "Li"}) for _ in range(6)]
    calls += [admin.post("/v1/opportunities", {**body, "name": "Deal"}) for _ in range(6)]
    calls += [admin.post("/v1/tasks", {**body, "title": "Call"}) for _ in range(6)]
    calls.insert(10, admin.post("/v1/customers:merge", {"into": into["id"], "from": from_["id"]}))
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} <= {201, 409, 410, 422}
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        for table in ("interactions", "contacts", "opportunities", "tasks"):
            query = sql(f"SELECT count(*) FROM sales.{table} WHERE workspace_id = :workspace_id AND customer_id = :id")
            assert await tx.value(query, id=from_["id"]) == 0, table


async def test_an_interaction_recorded_during_a_merge_names_no_merged_contact(
    admin: Caller, as_api: asyncpg.Connection
) -> None:
    customer = await admin.make_customer()
    a, b = [await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": name}) for name in "AB"]
    body = {"customer_id": customer["id"], "kind": "call", "contact_ids": [a["id"]]}
    calls = [admin.post("/v1/interactions", body) for _ in range(12)]
    calls.insert(6, admin.post("/v1/contacts:merge", {"into": b["id"], "from": a["id"]}))
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} <= {201, 409, 422}
    count = sql("SELECT count(*) FROM sales.interaction_contacts WHERE contact_id = :id")
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        assert await tx.value(count, id=a["id"]) == 0
    call = await admin.ok("POST", "/v1/interactions", {**body, "contact_ids": []})
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        with pytest.raises(asyncpg.PostgresError) as caught:
            async with as_api.transaction():
                await as_api.execute(
                    "INSERT INTO sales.interaction_contacts VALUES ($1, $2, $3)",
                    admin.workspace_id,
                    call["id"],
                    a["id"],
                )
        assert caught.value.sqlstate == "SX013"


async def test_everything_that_names_a_customer_or_a_contact_is_thought_of(admin: Caller) -> None:
    """A table that comes to refer to either must be moved by a merge too."""
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        of_customers = {(row["child"], row["column"]) for row in await tx.rows(REFERENCES, parent="sales.customers")}
        of_contacts = {(row["child"], row["column"]) for row in await tx.rows(REFERENCES, parent="sales.contacts")}
    tables = ("contacts", "opportunities", "interactions", "tasks")
    assert of_customers == {(f"sales.{table}", "customer_id") for table in tables}
    assert of_contacts == {("sales.interaction_contacts", "contact_id")}


async def test_a_large_merge_costs_no_more_statements(admin: Caller) -> None:
    counts = []
    for count in (1, 12):
        into, from_ = await admin.make_customer(), await admin.make_customer()
        for _ in range(count):
            await history(admin, from_)
        counts.append(await cost(admin.post("/v1/customers:merge", {"into": into["id"], "from": from_["id"]})))
    assert counts[0] == counts[1] <= 12


async def test_opportunities_are_judged_with_their_new_customer(admin: Caller, servers: Servers) -> None:
    rep = str((await admin.member("rep")).member_id)
    into, from_ = await admin.make_customer("Into", owner_id=rep), await admin.make_customer("From", owner_id=rep)
    made = await history(admin, from_)
    await drain(servers, admin.workspace_id)
    merged = await merge(admin, into, from_)
    for customer in (into, from_):
        await drain(servers, admin.workspace_id)
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            scored = await tx.rows(sql("SELECT opportunity_id, customer_id FROM scoring.scores"))
            seated = await tx.rows(sql("SELECT subject_id, customer_id FROM scoring.seats"))
        assert [(str(row["opportunity_id"]), str(row["customer_id"])) for row in scored] == [
            (made["opportunities"]["id"], customer["id"])
        ]
        subjects = {str(row["subject_id"]): str(row["customer_id"]) for row in seated}
        assert subjects[made["opportunities"]["id"]] == customer["id"]
        # Merged away it has no seat; parted, the one has nothing open and is a subject itself.
        others = set(subjects) - {made["opportunities"]["id"]}
        assert others == (set() if customer is into else {into["id"]})
        if customer is into:
            await admin.ok("POST", f"/v1/merges/{merged['id']}:undo")
