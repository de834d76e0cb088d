"""Delta sync: an offline copy that follows its original, whatever is written at the same moment."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.auth.identity import FIND, TOUCH
from services.api.resources import Resource
from services.api.sync import FIRST_OVERLAP, OVERLAP, Since, _select_changes
from services.api.tasks.resource import TASKS
from shared.db import connect_arguments, sql
from shared.tenancy import Reach
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.statements import statements

IDENTITY = {FIND.sql, TOUCH.sql}
SYNCED = ("customers", "contacts", "opportunities", "interactions", "tasks", "products")
TOUCH_CUSTOMER = (
    "UPDATE sales.customers SET notes = $3, version = version + 1, updated_at = $4 WHERE workspace_id = $1 AND id = $2"
)


@dataclass
class Copy:
    """What a phone keeps: the rows it was told of, and where to go on."""

    caller: Caller
    resource: str
    limit: int = 200
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    cursor: str | None = None
    told: list[str] = field(default_factory=list)
    forgotten: dict[str, str] = field(default_factory=dict)

    async def follow(self) -> list[str]:
        """Reads all that is new; the ids of what came."""
        came: list[str] = []
        while True:
            more = await self.page()
            came += self.told
            if not more:
                return came

    async def page(self) -> bool:
        given = {"limit": self.limit, **({"cursor": self.cursor} if self.cursor else {})}
        body = await self.caller.ok("GET", f"/v1/{self.resource}:sync", params=given)
        self.told = [row["id"] for row in body["data"]]
        self.rows |= {row["id"]: row for row in body["data"]}
        for gone in body["deleted"]:
            self.rows.pop(gone["id"], None)
            self.forgotten[gone["id"]] = gone["reason"]
        self.cursor = body["next_cursor"]
        return bool(body["has_more"])


async def original(caller: Caller, resource: str) -> dict[str, int]:
    """Version by id of all rows there are."""
    found: dict[str, int] = {}
    cursor = ""
    while True:
        page = await caller.ok("GET", f"/v1/{resource}?limit=200{f'&cursor={cursor}' if cursor else ''}")
        found |= {row["id"]: row["version"] for row in page["data"]}
        if not page["has_more"]:
            return found
        cursor = page["next_cursor"]


def versions(copy: Copy) -> dict[str, int]:
    return {id_: row["version"] for id_, row in copy.rows.items()}


async def one_of_each(caller: Caller) -> dict[str, dict[str, Any]]:
    deal = await caller.make_opportunity()
    about = {"customer_id": deal["customer_id"]}
    made = {"customers": await caller.ok("GET", f"/v1/customers/{deal['customer_id']}"), "opportunities": deal}
    made["contacts"] = await caller.ok("POST", "/v1/contacts", {**about, "name": "Wang"})
    made["interactions"] = await caller.ok("POST", "/v1/interactions", {**about, "kind": "call"})
    made["tasks"] = await caller.ok("POST", "/v1/tasks", {**about, "title": "Draw"})
    made["products"] = await caller.ok("POST", "/v1/products", {"name": "Press"})
    return made


@pytest.mark.parametrize("resource", SYNCED)
async def test_changes_and_tombstones_of_every_resource(admin: Caller, resource: str) -> None:
    made = (await one_of_each(admin))[resource]
    copy = Copy(admin, resource)
    assert await copy.follow() == [made["id"]]
    assert copy.rows[made["id"]] == await admin.ok("GET", f"/v1/{resource}/{made['id']}")
    assert await copy.follow() == []
    path = f"/v1/{resource}/{made['id']}"
    change: dict[str, Any] = {"tasks": {"title": "B"}, "interactions": {"minutes": 4}}.get(resource, {"name": "B"})
    await admin.ok("PATCH", path, change)
    assert await copy.follow() == [made["id"]]
    assert versions(copy) == {made["id"]: 2}
    if resource == "customers":
        [deal] = (await admin.ok("GET", "/v1/opportunities"))["data"]
        await admin.delete(f"/v1/opportunities/{deal['id']}")
    await admin.delete(path)
    assert await copy.follow() == []
    assert (copy.rows, copy.forgotten) == ({}, {made["id"]: "deleted"})
    assert await copy.follow() == []
    await admin.ok("POST", f"{path}:restore")
    assert await copy.follow() == [made["id"]]
    # Who begins now hears nothing of what is gone.
    await admin.delete(path)
    assert await Copy(admin, resource).follow() == []


async def test_a_tombstone_says_what_and_when(admin: Caller) -> None:
    customer = await admin.make_customer()
    copy = Copy(admin, "customers")
    await copy.follow()
    await admin.delete(f"/v1/customers/{customer['id']}")
    body = await admin.ok("GET", "/v1/customers:sync", params={"cursor": copy.cursor, "fields": "name"})
    [gone] = body["deleted"]
    assert (body["data"], body["has_more"]) == ([], False)
    assert (gone["id"], gone["version"], gone["reason"]) == (customer["id"], 2, "deleted")
    assert datetime.fromisoformat(gone["deleted_at"]) <= datetime.now(UTC)


async def test_fewer_fields(admin: Caller) -> None:
    customer = await admin.make_customer()
    body = await admin.ok("GET", "/v1/customers:sync?fields=name")
    assert body["data"] == [{"id": customer["id"], "name": "Acme", "version": 1}]
    assert (await admin.get("/v1/customers:sync?fields=shoe")).status_code == 400


async def test_pages_while_rows_change(admin: Caller) -> None:
    """Between its pages everything is changed: in the end the copy is the original all the same."""
    made = [await admin.make_customer(f"C{n}") for n in range(9)]
    copy = Copy(admin, "customers", limit=2)
    for turn in range(4):
        assert await copy.page()
        await admin.ok("PATCH", f"/v1/customers/{made[turn * 2]['id']}", {"name": f"Changed {turn}"})
        await admin.make_customer(f"New {turn}")
    await copy.follow()
    await copy.follow()
    assert versions(copy) == await original(admin, "customers")


@pytest.mark.parametrize("nested", [False, True])
async def test_what_commits_late_is_not_left_out(admin: Caller, as_api: asyncpg.Connection, nested: bool) -> None:
    """A transaction that has taken its time and number before the reader came, and commits after it has left."""
    late, early = await admin.make_customer("Late"), await admin.make_customer("Early")
    copy = Copy(admin, "customers")
    await copy.follow()
    transaction = as_api.transaction()
    await transaction.start()
    await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
    change = (TOUCH_CUSTOMER, admin.workspace_id, late["id"], "late", datetime.now(UTC))
    if nested:
        # A savepoint has a number of its own, which no list of open transactions names.
        async with as_api.transaction():
            await as_api.execute(*change)
    else:
        await as_api.execute(*change)
    await admin.ok("PATCH", f"/v1/customers/{early['id']}", {"name": "Later in time, earlier to commit"})
    assert await copy.follow() == [early["id"]]
    await transaction.commit()
    assert late["id"] in await copy.follow()
    assert versions(copy) == await original(admin, "customers")


async def test_a_long_transaction_is_waited_for_over_many_syncs(admin: Caller, as_api: asyncpg.Connection) -> None:
    """It took its time long ago, as an import of hours does: as long as it is open, nothing of it is passed over."""
    customer = await admin.make_customer()
    copy = Copy(admin, "customers")
    transaction = as_api.transaction()
    await transaction.start()
    await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
    hours_ago = datetime.now(UTC) - timedelta(hours=5)
    await as_api.execute(TOUCH_CUSTOMER, admin.workspace_id, customer["id"], "long", hours_ago)
    for _ in range(4):
        await copy.follow()
    await transaction.commit()
    assert await copy.follow() == [customer["id"]]
    # Once it is over, what it wrote is told no more.
    for _ in range(2):
        await copy.follow()
    assert await copy.follow() == []
    assert versions(copy) == await original(admin, "customers")


async def test_many_writers_at_once_leave_no_gap(admin: Caller) -> None:
    """Writers that hold their transactions open at random, while copies follow: none misses the last of any row."""
    made = [await admin.make_customer(f"C{n}") for n in range(12)]
    dice = random.Random(16)
    copies = [Copy(admin, "customers", limit=limit) for limit in (3, 200)]
    done = asyncio.Event()

    async def writer(number: int) -> None:
        for turn in range(12):
            async with admin.state.database.transaction(admin.workspace_id) as tx:
                await asyncio.sleep(dice.uniform(0, 0.02))
                row = made[(number * 5 + turn) % len(made)]
                await tx.connection.execute(TOUCH_CUSTOMER, admin.workspace_id, row["id"], f"{number}", tx.now)
                await asyncio.sleep(dice.uniform(0, 0.03))

    async def reader(copy: Copy) -> None:
        while not done.is_set():
            await copy.page()

    readers = [asyncio.create_task(reader(copy)) for copy in copies]
    await asyncio.gather(*(writer(number) for number in range(6)))
    done.set()
    await asyncio.gather(*readers)
    expected = await original(admin, "customers")
    assert sum(expected.values()) == len(made) + 6 * 12
    for copy in copies:
        await copy.follow()
        assert versions(copy) == expected
        await copy.follow()
        assert await copy.follow() == []


class TestReach:
    """What comes within reach comes, what leaves it is to be forgotten."""

    async def test_a_handover_takes_with_it_what_belongs_to_the_customer(self, admin: Caller) -> None:
        old, new = await admin.member("rep"), await admin.member("rep")
        made = await one_of_each_of(old)
        before = {name: Copy(old, name) for name in made}
        after = {name: Copy(new, name) for name in made}
        for copy in (*before.values(), *after.values()):
            await copy.follow()
        assert {name: list(copy.rows) for name, copy in before.items()} == {n: [row["id"]] for n, row in made.items()}
        assert not any(copy.rows for copy in after.values())
        body = {"owner_id": str(new.member_id), "reason": "north", "with_opportunities": True}
        await admin.ok("POST", f"/v1/customers/{made['customers']['id']}:reassign", body)
        for name, row in made.items():
            assert await after[name].follow() == [row["id"]], name
            assert await before[name].follow() == []
        assert before["customers"].forgotten == {made["customers"]["id"]: "out_of_reach"}
        assert before["opportunities"].forgotten == {made["opportunities"]["id"]: "out_of_reach"}
        # It is told once.
        for name in made:
            assert await after[name].follow() == []

    async def test_a_shared_opportunity_brings_its_customer(self, admin: Caller) -> None:
        owner, helper = await admin.member("rep"), await admin.member("rep")
        made = await one_of_each_of(owner)
        copies = {name: Copy(helper, name) for name in made}
        for copy in copies.values():
            await copy.follow()
        path = f"/v1/opportunities/{made['opportunities']['id']}/members"
        await owner.ok("POST", path, {"member_id": str(helper.member_id)})
        for name, copy in copies.items():
            assert await copy.follow() == [made[name]["id"]], name
            assert await copy.follow() == [], name

    async def test_an_opportunity_given_to_a_rep_brings_its_customer(self, admin: Caller) -> None:
        owner, helper = await admin.member("rep"), await admin.member("rep")
        made = await one_of_each_of(owner)
        copy = Copy(helper, "contacts")
        await copy.follow()
        await admin.make_opportunity(made["customers"]["id"], owner_id=str(helper.member_id))
        assert await copy.follow() == [made["contacts"]["id"]]
        # The owner's own new deals bring nothing that they have had all along.
        mine = Copy(owner, "contacts")
        await mine.follow()
        await owner.make_opportunity(made["customers"]["id"])
        assert await mine.follow() == []

    async def test_what_others_change_is_not_told(self, admin: Caller) -> None:
        rep, colleague = await admin.member("rep"), await admin.member("rep")
        copy = Copy(rep, "customers")
        await copy.follow()
        theirs = await colleague.make_customer()
        await colleague.ok("PATCH", f"/v1/customers/{theirs['id']}", {"name": "B"})
        await colleague.delete(f"/v1/customers/{theirs['id']}")
        assert (await copy.follow(), copy.forgotten) == ([], {})

    async def test_a_manager_follows_the_team(self, admin: Caller) -> None:
        rep, stranger = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep)
        copy = Copy(manager, "customers")
        mine, unowned = await rep.make_customer("Ours"), await admin.make_customer("Nobody's", owner_id=None)
        await stranger.make_customer("Theirs")
        assert sorted(await copy.follow()) == sorted([mine["id"], unowned["id"]])
        body = {"owner_id": str(stranger.member_id), "reason": "south"}
        await admin.ok("POST", f"/v1/customers/{unowned['id']}:reassign", body)
        assert await copy.follow() == []
        assert copy.forgotten == {unowned["id"]: "out_of_reach"}

    async def test_a_team_that_changes_is_read_anew(self, admin: Caller) -> None:
        rep, second = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep)
        copy = Copy(manager, "customers")
        await copy.follow()
        [team] = (await admin.ok("GET", "/v1/teams"))["data"]
        await admin.ok("PATCH", f"/v1/teams/{team['id']}", {"member_ids": [str(rep.member_id), str(second.member_id)]})
        response = await manager.get("/v1/customers:sync", params={"cursor": copy.cursor})
        assert (response.status_code, response.json()["code"]) == (410, "sync_expired")


async def one_of_each_of(rep: Caller) -> dict[str, dict[str, Any]]:
    """One of each but products, which everybody sees and a rep does not make; all through the opportunity."""
    deal = await rep.make_opportunity()
    about = {"customer_id": deal["customer_id"], "opportunity_id": deal["id"]}
    return {
        "customers": await rep.ok("GET", f"/v1/customers/{deal['customer_id']}"),
        "opportunities": deal,
        "contacts": await rep.ok("POST", "/v1/contacts", {"customer_id": deal["customer_id"], "name": "Wang"}),
        "interactions": await rep.ok("POST", "/v1/interactions", {**about, "kind": "call"}),
        "tasks": await rep.ok("POST", "/v1/tasks", {**about, "title": "Draw", "assignee_id": None}),
    }


class TestCursors:
    """A cursor is of one reader and one resource, and says so."""

    async def test_of_another_it_is_refused(self, admin: Caller, other: Caller) -> None:
        colleague = await admin.member("admin")
        cursor = (await admin.ok("GET", "/v1/customers:sync"))["next_cursor"]
        assert (await admin.get("/v1/customers:sync", params={"cursor": cursor})).status_code == 200
        for caller, path, text in (
            (admin, "/v1/contacts:sync", cursor),
            (colleague, "/v1/customers:sync", cursor),
            (other, "/v1/customers:sync", cursor),
            (admin, "/v1/customers", cursor),
            (admin, "/v1/customers:sync", "nonsense"),
            (admin, "/v1/customers:sync", cursor[:-2]),
        ):
            response = await caller.get(path, params={"cursor": text})
            assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor"), path
        page = (await admin.ok("GET", "/v1/members?limit=1"))["next_cursor"]
        assert (await admin.get("/v1/customers:sync", params={"cursor": page})).status_code == 400

    async def test_of_another_database_it_has_expired(self, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        """Restored from a backup, a database counts its transactions from an earlier number again."""
        now = Since.next
        monkeypatch.setattr(Since, "next", lambda self, *given: self)
        cursor = (await admin.ok("GET", "/v1/customers:sync"))["next_cursor"]
        monkeypatch.setattr(Since, "next", now)
        monkeypatch.setattr("services.api.sync.SNAPSHOT", sql("SELECT 5::bigint AS oldest, 5::bigint AS following"))
        response = await admin.get("/v1/customers:sync", params={"cursor": cursor})
        assert (response.status_code, response.json()["code"]) == (410, "sync_expired")

    @pytest.mark.parametrize("query", ["limit=0", "colour=red", "sort=name", "include_deleted=true", "cursor=%00"])
    async def test_unknown_parameters_are_refused(self, admin: Caller, query: str) -> None:
        assert (await admin.get(f"/v1/customers:sync?{query}")).status_code == 400

    async def test_its_scope_is_the_resources(self, admin: Caller) -> None:
        key = await admin.ok("POST", "/v1/api-keys", {"name": "narrow", "scopes": ["contacts:read"]})
        caller = Caller(admin.http, admin.state, admin.workspace_id, admin.member_id, key["key"])
        assert (await caller.get("/v1/contacts:sync")).status_code == 200
        assert (await caller.get("/v1/customers:sync")).status_code == 403


class TestCost:
    """A constant number of statements, and an index."""

    @pytest.mark.parametrize("role", ["admin", "rep"])
    async def test_statements(self, admin: Caller, role: str) -> None:
        caller = admin if role == "admin" else await admin.member("rep")
        copy, costs = Copy(caller, "customers", limit=3), []
        for turn in range(3):
            for n in range(turn * 6 + 1):
                await caller.make_customer(f"C{n}")
            with statements() as seen:
                await copy.follow() if turn == 0 else await copy.page()
            costs.append(len([text for text in seen if text not in IDENTITY]))
            await copy.follow()
        assert costs == ([2, 2, 2] if role == "admin" else [2, 3, 3])

    async def test_changes_are_found_by_index(self, admin: Caller, servers: Servers) -> None:
        """Among twenty thousand rows the few that are new are found by the time of their change."""
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            await tx.connection.execute(
                "INSERT INTO sales.tasks (workspace_id, id, kind, title, occurred_at, recorded_at, updated_at)"
                " SELECT $1, gen_random_uuid(), 'other', 'x', now(), now(),"
                " now() - make_interval(mins => n) - interval '1 day' FROM generate_series(1, 20000) n",
                admin.workspace_id,
            )
        owner = await asyncpg.connect(**connect_arguments(servers.database_url, ""))
        await owner.execute("ANALYZE sales.tasks")
        await owner.close()
        query = _select_changes(TASKS, Reach.ALL, True, False, False)
        now = datetime.now(UTC)
        values = {"workspace_id": admin.workspace_id, "low": now, "horizon": 0, "page_limit": 201}
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            plan = await tx.connection.fetch(f"EXPLAIN {query.sql}", *query.values(values))
        text = "\n".join(row[0] for row in plan)
        assert "ix_tasks_updated" in text, text
        assert "Seq Scan" not in text, text

    def test_each_resource_has_its_index(self) -> None:
        for resource in _synced():
            names = {index.name for index in resource.table.indexes}
            assert f"ix_{resource.table.name}_updated" in names


def _synced() -> list[Resource]:
    from services.api.contacts.resource import CONTACTS
    from services.api.customers.resource import CUSTOMERS
    from services.api.interactions.resource import INTERACTIONS
    from services.api.opportunities.resource import OPPORTUNITIES
    from services.api.products.resource import PRODUCTS

    return [CONTACTS, CUSTOMERS, INTERACTIONS, OPPORTUNITIES, PRODUCTS, TASKS]


# One writer: when it looks at the clock, how long until its first write, how long until it commits; in minutes.
WRITERS = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 14), st.integers(0, 400)), min_size=1, max_size=25)
SYNCS = st.lists(st.integers(0, 300), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(WRITERS, SYNCS)
def test_no_course_of_transactions_leaves_a_gap(writers: list[tuple[int, int, int]], pauses: list[int]) -> None:
    """The rule of `Since` against a simulated clock: whatever becomes visible later is within the next search."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    writes = sorted((clock + until, clock, clock + until + lasts) for clock, until, lasts in writers)
    numbered = [(number + 1, clock, begun, ends) for number, (begun, clock, ends) in enumerate(writes)]

    def snapshot(at: int) -> tuple[int, int]:
        following = 1 + sum(begun <= at for _, _, begun, _ in numbered)
        still_open = [number for number, _, begun, ends in numbered if begun <= at < ends]
        return min(still_open, default=following), following

    since: Since | None = None
    seen: set[int] = set()
    at = 0
    for pause in [*pauses, 2000]:
        at += pause
        oldest, following = snapshot(at)
        now = start + timedelta(minutes=at)
        found = {
            number
            for number, clock, _, ends in numbered
            if ends <= at
            and (since is None or (number >= since.horizon and start + timedelta(minutes=clock) > since.low))
        }
        visible = {number for number, _, _, ends in numbered if ends <= at}
        assert visible - seen <= found
        seen |= found
        since = (
            Since(oldest, following, now, now - FIRST_OVERLAP) if since is None else since.next(oldest, following, now)
        )
    assert timedelta(minutes=15) <= OVERLAP
