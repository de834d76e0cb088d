"""A merge and its undoing leave everything as it was; what came in between stays where it belongs."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from services.api.jobs.housekeeping import Housekeeping
from shared.db import sql
from tests.contract.test_statements import cost
from tests.duplicates.test_merge import history, merge, refused
from tests.support.caller import Caller
from tests.support.flow import in_days
from tests.support.traces import traces

TABLES = (
    "customers", "contacts", "opportunities", "transitions", "interactions", "interaction_contacts", "tasks", "pins",
    "duplicate_keys", "opportunity_members",
)  # fmt: skip
BOOKKEEPING = "'{version,updated_at}'::text[]"
AGE = sql("UPDATE sales.merges SET recorded_at = recorded_at - CAST(:age AS interval) WHERE id = :id")


async def snapshot(caller: Caller) -> dict[str, list[str]]:
    """Every row of every table of facts, but for what counts its changes."""
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        found = {}
        for table in TABLES:
            query = f"SELECT (to_jsonb(t) - {BOOKKEEPING})::text AS row FROM sales.{table} t ORDER BY 1"
            found[table] = [row["row"] for row in await tx.rows(sql(query))]
    return found


async def undo(caller: Caller, merged: Any) -> dict[str, Any]:
    made: dict[str, Any] = await caller.ok("POST", f"/v1/merges/{merged['id']}:undo")
    return made


async def test_merge_and_undo_leave_everything_as_it_was(admin: Caller) -> None:
    rep = await admin.member("rep")
    owner = {"owner_id": str(rep.member_id)}
    into = await admin.make_customer("Acme", phone="010-65551234", **owner)
    from_ = await admin.make_customer("Acme Ltd", email="a@acme.example", notes="n", **owner)
    for customer in (into, from_):
        await history(admin, customer)
    pin = {"kind": "mute", "subject_type": "customer", "subject_id": from_["id"], "reason": "x"}
    await admin.ok("POST", "/v1/focus/pins", {**pin, "expires_at": in_days(3)})
    before = await snapshot(admin)
    merged = await merge(admin, into, from_, fields={"name": "from", "phone": "from"})
    assert await snapshot(admin) != before
    traced = await traces(admin)
    undone = await undo(admin, merged)
    assert await snapshot(admin) == before
    assert undone["undone_at"] is not None
    assert (undone["undone_by"], undone["kept_fields"], undone["undoable_until"]) == (str(admin.member_id), [], None)
    left = (await traces(admin)).since(traced)
    assert [row["type"] for row in left.events] == ["customer.restored", "customer.updated", "customer.unmerged"]
    assert left.events[-1]["data"]["moved"] == merged["moved"]
    assert set(left.marks) == {("customer", into["id"]), ("customer", from_["id"])}
    assert (await admin.get(f"/v1/customers/{from_['id']}")).status_code == 200
    # And once more from the beginning.
    await undo(admin, await merge(admin, into, from_))
    assert await snapshot(admin) == before


async def test_what_was_added_since_stays_with_the_survivor(admin: Caller) -> None:
    into, from_ = await admin.make_customer(), await admin.make_customer()
    made = await history(admin, from_)
    merged = await merge(admin, into, from_)
    since = await history(admin, into)
    deal = {"customer_id": into["id"], "opportunity_id": made["opportunities"]["id"]}
    call = await admin.ok("POST", "/v1/interactions", {**deal, "kind": "call"})
    task = await admin.ok("POST", "/v1/tasks", {"title": "Draw", "opportunity_id": deal["opportunity_id"]})
    # Recorded for the one, and since put to an opportunity of the other: it belongs there now.
    loose = await admin.ok("POST", "/v1/interactions", {"customer_id": into["id"], "kind": "call"})
    await admin.ok("PATCH", f"/v1/interactions/{loose['id']}", {"opportunity_id": since["opportunities"]["id"]})
    await undo(admin, merged)
    expected = {("interactions", call["id"]): from_["id"], ("interactions", loose["id"]): into["id"]}
    expected |= {(kind, row["id"]): from_["id"] for kind, row in made.items()}
    expected |= {(kind, row["id"]): into["id"] for kind, row in since.items()}
    for (kind, id_), customer_id in expected.items():
        assert (await admin.ok("GET", f"/v1/{kind}/{id_}"))["customer_id"] == customer_id, kind
    shown = await admin.ok("GET", f"/v1/tasks/{task['id']}")
    assert shown["customer_id"] in {None, from_["id"]}


async def test_fields_changed_since_are_left_alone(admin: Caller) -> None:
    into = await admin.make_customer("Acme")
    from_ = await admin.make_customer("Acme Ltd", phone="2", email="a@acme.example", notes="n")
    merged = await merge(admin, into, from_, fields={"name": "from"})
    await admin.ok("PATCH", f"/v1/customers/{into['id']}", {"phone": "3", "name": "Acme International"})
    undone = await undo(admin, merged)
    assert undone["kept_fields"] == ["name", "phone"]
    after = await admin.ok("GET", f"/v1/customers/{into['id']}")
    assert (after["name"], after["phone"], after["email"], after["notes"]) == ("Acme International", "3", None, None)


async def test_birthdays_and_other_values_come_back_as_they_were(admin: Caller) -> None:
    customer = await admin.make_customer()
    fields: list[dict[str, Any]] = [{"name": "Li", "birthday": "1980-02-29"}, {"name": "Li", "birthday": "1981-03-01"}]
    a, b = [await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], **each}) for each in fields]
    before = await snapshot(admin)
    merged = await merge(admin, a, b, "contacts", fields={"birthday": "from"})
    assert (await admin.ok("GET", f"/v1/contacts/{a['id']}"))["birthday"] == "1981-03-01"
    assert (await undo(admin, merged))["kept_fields"] == []
    assert await snapshot(admin) == before


class TestRefusals:
    """What can't be undone says why."""

    async def test_not_twice(self, admin: Caller) -> None:
        merged = await merge(admin, await admin.make_customer(), await admin.make_customer())
        await undo(admin, merged)
        again = await admin.post(f"/v1/merges/{merged['id']}:undo")
        assert await refused(again) == (409, "merge_not_undoable", None)

    @pytest.mark.parametrize(("age", "status"), [("29 days 23 hours", 200), ("30 days 1 minute", 409)])
    async def test_within_thirty_days(self, admin: Caller, age: str, status: int) -> None:
        merged = await merge(admin, await admin.make_customer(), await admin.make_customer())
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            days, _, rest = age.partition(" days ")
            amount, unit = rest.split(" ")
            aged = timedelta(days=int(days), **{f"{unit.rstrip('s')}s": int(amount)})
            await tx.run(AGE, age=aged, id=merged["id"])
        assert (await admin.post(f"/v1/merges/{merged['id']}:undo")).status_code == status

    async def test_a_version_that_is_no_more(self, admin: Caller) -> None:
        merged = await merge(admin, await admin.make_customer(), await admin.make_customer())
        path = f"/v1/merges/{merged['id']}:undo"
        assert (await admin.post(path, headers={"If-Match": '"2"'})).status_code == 412
        assert (await admin.post(path, headers={"If-Match": '"1"'})).status_code == 200

    async def test_who_no_longer_sees_both(self, admin: Caller) -> None:
        rep, viewer = await admin.member("rep"), await admin.member("viewer")
        first, second = [
            await merge(rep, await rep.make_customer(), await rep.make_customer(), "customers") for _ in range(2)
        ]
        assert (await viewer.post(f"/v1/merges/{first['id']}:undo")).status_code == 403
        assert (await rep.post(f"/v1/merges/{first['id']}:undo")).status_code == 200
        gone = {"owner_id": None, "reason": "on leave"}
        await admin.ok("POST", f"/v1/customers/{second['into_id']}:reassign", gone)
        assert await refused(await rep.post(f"/v1/merges/{second['id']}:undo")) == (403, "forbidden", None)
        assert (await admin.post(f"/v1/merges/{second['id']}:undo")).status_code == 200

    async def test_who_could_not_have_merged_them(self, admin: Caller) -> None:
        """An integration sees both customers and the merge, and decides neither."""
        integration, manager = await admin.member("integration"), await admin.member("manager")
        pair = [await admin.make_customer() for _ in range(2)]
        tried = await integration.post("/v1/customers:merge", {"into": pair[0]["id"], "from": pair[1]["id"]})
        assert tried.status_code == 403
        merged = await merge(admin, pair[0], pair[1])
        assert await refused(await integration.post(f"/v1/merges/{merged['id']}:undo")) == (403, "forbidden", None)
        assert (await manager.post(f"/v1/merges/{merged['id']}:undo")).status_code == 404
        assert (await admin.post(f"/v1/merges/{merged['id']}:undo")).status_code == 200

    async def test_of_contacts_by_whoever_may_merge_them(self, admin: Caller) -> None:
        integration, customer = await admin.member("integration"), await admin.make_customer()
        bodies = [{"customer_id": customer["id"], "name": name} for name in ("A", "B")]
        pair = [await admin.ok("POST", "/v1/contacts", body) for body in bodies]
        merged = await merge(integration, pair[0], pair[1], "contacts")
        assert (await undo(integration, merged))["undone_at"] is not None

    async def test_of_a_survivor_that_was_deleted(self, admin: Caller) -> None:
        """What was merged away comes back even so; the survivor stays deleted."""
        into, from_ = await admin.make_customer(), await admin.make_customer(phone="1")
        merged = await merge(admin, into, from_)
        await admin.ok("DELETE", f"/v1/customers/{into['id']}")
        await undo(admin, merged)
        assert [row["id"] for row in (await admin.ok("GET", "/v1/customers"))["data"]] == [from_["id"]]
        assert (await admin.ok("POST", f"/v1/customers/{into['id']}:restore"))["phone"] is None

    async def test_from_the_latest_back(self, admin: Caller) -> None:
        a, b, c = [await admin.make_customer(name) for name in "ABC"]
        for customer in (a, b, c):
            await history(admin, customer)
        start = await snapshot(admin)
        first = await merge(admin, b, a)
        between = await snapshot(admin)
        second = await merge(admin, c, b)
        answer = await admin.post(f"/v1/merges/{first['id']}:undo")
        assert await refused(answer) == (409, "merge_not_undoable", None)
        assert answer.json()["later_merge_id"] == second["id"]
        await undo(admin, second)
        assert await snapshot(admin) == between
        await undo(admin, first)
        assert await snapshot(admin) == start

    async def test_contacts_merged_across_come_apart_first(self, admin: Caller) -> None:
        a, b = await admin.make_customer("A"), await admin.make_customer("B")
        of_a, of_b = await history(admin, a), await history(admin, b)
        start = await snapshot(admin)
        customers = await merge(admin, b, a)
        contacts = await merge(admin, of_b["contacts"], of_a["contacts"], "contacts")
        answer = await admin.post(f"/v1/merges/{customers['id']}:undo")
        assert answer.json()["later_merge_id"] == contacts["id"]
        await undo(admin, contacts)
        await undo(admin, customers)
        assert await snapshot(admin) == start


async def _grow(admin: Caller, rng: random.Random, customers: list[Any]) -> None:
    for customer in customers:
        contacts = [
            await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": f"Person {n}"})
            for n in range(rng.randint(2, 3))
        ]
        deal = await admin.make_opportunity(customer["id"])
        for _ in range(rng.randint(0, 2)):
            await admin.transition(deal["id"], "pass")
        for _ in range(rng.randint(1, 3)):
            named = [each["id"] for each in rng.sample(contacts, rng.randint(0, len(contacts)))]
            body = {"customer_id": customer["id"], "kind": "call", "contact_ids": named}
            if rng.random() < 0.5:
                body["opportunity_id"] = deal["id"]
            await admin.ok("POST", "/v1/interactions", body)
        if rng.random() < 0.3:
            await admin.ok("DELETE", f"/v1/contacts/{contacts[0]['id']}")


@pytest.mark.parametrize("seed", range(4))
async def test_any_merges_undone_in_turn_are_as_though_they_had_not_been(admin: Caller, seed: int) -> None:
    """Random merges of customers and contacts over one another, then all undone from the latest back."""
    rng = random.Random(seed)
    customers = [await admin.make_customer(f"C{n}", phone=rng.choice([None, f"{n}"])) for n in range(5)]
    await _grow(admin, rng, customers)
    done: list[tuple[dict[str, Any], dict[str, list[str]]]] = []
    for _ in range(7):
        before = await snapshot(admin)
        kind = rng.choice(["customers", "contacts"])
        there = (await admin.ok("GET", f"/v1/{kind}?limit=200"))["data"]
        if kind == "contacts":
            customer_id = rng.choice(there)["customer_id"]
            there = [each for each in there if each["customer_id"] == customer_id]
        if len(there) < 2:
            continue
        into, from_ = rng.sample(there, 2)
        fields = {name: rng.choice(["into", "from"]) for name in ("name", "phone", "notes") if rng.random() < 0.5}
        done.append((await merge(admin, into, from_, kind, fields=fields), before))
    assert len(done) >= 3
    for merged, before in reversed(done):
        assert (await undo(admin, merged))["kept_fields"] == []
        assert await snapshot(admin) == before


async def test_a_large_undo_costs_no_more_statements(admin: Caller) -> None:
    counts = []
    for count in (1, 12):
        into, from_ = await admin.make_customer(), await admin.make_customer()
        for _ in range(count):
            await history(admin, from_)
        merged = await merge(admin, into, from_)
        counts.append(await cost(admin.post(f"/v1/merges/{merged['id']}:undo")))
    assert counts[0] == counts[1] <= 13


SECRETS = ("13800138000", "kanarienvogel")
JOURNALS = sql("SELECT fields::text AS fields FROM sales.merges WHERE workspace_id = :workspace_id ORDER BY id")


async def journals(caller: Caller) -> list[str]:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        return [row["fields"] for row in await tx.rows(JOURNALS)]


async def test_what_stood_in_a_field_is_forgotten_with_the_undoing(admin: Caller) -> None:
    into = await admin.make_customer("Acme")
    from_ = await admin.make_customer("Acme Ltd", phone=SECRETS[0], notes=SECRETS[1])
    merged = await merge(admin, into, from_)
    assert [secret in (await journals(admin))[0] for secret in SECRETS] == [True, True]
    undone = await undo(admin, merged)
    assert [secret in (await journals(admin))[0] for secret in SECRETS] == [False, False]
    assert undone["fields"] == merged["fields"] == ["notes", "phone"]


async def test_what_stood_in_a_field_is_forgotten_when_it_can_no_more_go_back(admin: Caller, other: Caller) -> None:
    """By the worker, in every workspace; merges that can be undone keep it."""
    made = []
    for caller in (admin, admin, other):
        into, from_ = await caller.make_customer("Acme"), await caller.make_customer("Acme Ltd", phone=SECRETS[0])
        made.append(await merge(caller, into, from_))
    for caller, merged in ((admin, made[0]), (other, made[2])):
        async with caller.state.database.transaction(caller.workspace_id) as tx:
            await tx.run(AGE, id=merged["id"], age=timedelta(days=31))
    housekeeping = Housekeeping(admin.state.database, event_days=30, idempotency_hours=24)
    assert not await housekeeping.forget_merges()
    assert [SECRETS[0] in each for each in await journals(admin)] == [False, True]
    assert [SECRETS[0] in each for each in await journals(other)] == [False]
    assert (await admin.ok("GET", f"/v1/merges/{made[0]['id']}"))["fields"] == ["phone"]
