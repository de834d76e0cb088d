"""Delta sync for who does not see everything; whose a cursor is; what a sync costs."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from services.api import sync
from services.api.auth.identity import FIND, TOUCH
from services.api.resources import Resource
from services.api.sync import Since
from services.api.sync_queries import select_changes
from services.api.tasks.resource import TASKS
from shared.db import connect_arguments, sql
from shared.tenancy import Reach
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.statements import statements
from tests.support.synced import Copy, one_of_each_of

IDENTITY = {FIND.sql, TOUCH.sql}

# The same cluster, set back in time.
OF_EARLIER = (
    "SELECT 5::bigint AS oldest, 5::bigint AS following, system_identifier::text AS cluster FROM pg_control_system()"
)


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
            assert await after[name].at_rest()

    @pytest.mark.parametrize(("handed_over", "told"), [(4, True), (5, False)])
    async def test_more_than_a_page_can_name_is_read_anew(
        self, admin: Caller, monkeypatch: pytest.MonkeyPatch, handed_over: int, told: bool
    ) -> None:
        """A sync stays bounded whatever is handed over at once; who begins again is told of everything, once."""
        monkeypatch.setattr(sync, "MOST_ARRIVALS", 4)
        old, new = await admin.member("rep"), await admin.member("rep")
        made = [(await old.make_customer(f"Customer {number}"))["id"] for number in range(handed_over)]
        copy = Copy(new, "customers", limit=2)
        assert await copy.follow() == []
        for customer_id in made:
            body = {"owner_id": str(new.member_id), "reason": "north"}
            await admin.ok("POST", f"/v1/customers/{customer_id}:reassign", body)
        if not told:
            answer = await new.get("/v1/customers:sync", params={"cursor": copy.cursor})
            assert (answer.status_code, answer.json()["code"]) == (410, "sync_expired")
            copy.cursor = None
        assert sorted(await copy.follow()) == sorted(made)
        assert await copy.at_rest()

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
            assert await copy.at_rest(), name

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
        monkeypatch.setattr("services.api.sync.SNAPSHOT", sql(OF_EARLIER))
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
        query = select_changes(TASKS, Reach.ALL, True, False, False)
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
