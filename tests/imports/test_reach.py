"""How far an import reaches: as far as who began it does when it runs, and no further."""

from __future__ import annotations

from typing import Any

from tests.imports.support import SIMPLE, errors_of, finish, imported, table, upload
from tests.imports.test_rows import ROW
from tests.imports.test_uploads import changed, without
from tests.support.caller import Caller

BY_ID = {"external_id": "customer", "missing": "refuse"}
CUSTOMERS: dict[str, Any] = {
    "kind": "customers", "source": "test", "fields": {"external_id": "id", "name": "name"}, "owner": {"name": "owner"},
}  # fmt: skip
CONTACTS: dict[str, Any] = {
    "kind": "contacts", "source": "test", "customer": BY_ID, "fields": {"external_id": "id", "name": "name"},
}  # fmt: skip
TOUCHES: dict[str, Any] = {
    "kind": "interactions", "source": "test", "customer": BY_ID,
    "opportunity": {"external_id": "deal"},
    "fields": {"external_id": "id", "kind": {"constant": "call"}, "occurred_at": "at", "minutes": "minutes"},
}  # fmt: skip
DEALS: dict[str, Any] = {
    **without(SIMPLE, "process", "stages"), "customer": BY_ID, "owner": {"name": "agent"},
}  # fmt: skip
DEAL_HEADER = "id,name,customer,agent,amount,stage,talked,closed"


async def two_teams(admin: Caller) -> Caller:
    """The manager of Ann Lee; Bob Far is in another team. Each has a customer, a contact, a deal and a call."""
    ann = await admin.member("rep", "Ann Lee")
    await admin.member("rep", "Bob Far")
    manager = await admin.manager_of(ann)
    await imported(admin, table("C1,Acme,Ann Lee", "C2,Beta,Bob Far", header="id,name,owner"), CUSTOMERS)
    await imported(admin, table("P1,C1,Li", "P2,C2,Wu", header="id,customer,name"), CONTACTS)
    deals = ("D1,Deal,C1,Ann Lee,1,Talk,,", "D2,Deal,C2,Bob Far,1,Talk,,")
    done = await imported(admin, table(*deals, header=DEAL_HEADER), changed(SIMPLE, BY_ID, "customer"))
    assert done["status"] == "succeeded", await errors_of(admin, done)
    calls = ("I1,C1,D1,2026-01-05,5", "I2,C2,D2,2026-01-05,5")
    done = await imported(admin, table(*calls, header="id,customer,deal,at,minutes"), TOUCHES)
    assert done["status"] == "succeeded", await errors_of(admin, done)
    return manager


async def refused(caller: Caller, file: bytes, mapping: dict[str, Any]) -> set[tuple[int, str]]:
    """(row, code) of what could not be imported."""
    done = await imported(caller, file, mapping)
    assert done["problem"] is None, done
    return {(row, code) for row, _, code in await errors_of(caller, done)}


async def test_a_manager_changes_nothing_of_another_team(admin: Caller) -> None:
    manager = await two_teams(admin)
    outside = {(2, "out_of_reach")}
    renamed = table("C1,Acme 2,", "C2,Beta 2,", header="id,name,owner")
    assert await refused(manager, renamed, CUSTOMERS) == outside
    assert await refused(manager, table("P1,C1,Li 2", "P2,C2,Wu 2", header="id,customer,name"), CONTACTS) == outside
    calls = ("I1,C1,D1,2026-01-05,6", "I2,C2,D2,2026-01-05,6")
    assert await refused(manager, table(*calls, header="id,customer,deal,at,minutes"), TOUCHES) == outside
    deals = ("D1,Deal 2,C1,Ann Lee,1,Talk,,", "D2,Deal 2,C2,,1,Talk,,")
    assert await refused(manager, table(*deals, header=DEAL_HEADER), DEALS) == outside
    for path, field, known in (
        ("customers", "name", {"Acme 2", "Beta"}),
        ("contacts", "name", {"Li 2", "Wu"}),
        ("interactions", "minutes", {6, 5}),
        ("opportunities", "name", {"Deal 2", "Deal"}),
    ):
        rows = (await admin.ok("GET", f"/v1/{path}"))["data"]
        assert {row[field] for row in rows} == known


async def test_new_rows_name_no_customer_and_no_deal_of_another_team(admin: Caller) -> None:
    manager = await two_teams(admin)
    contacts = table("P3,C1,New", "P4,C2,New", header="id,customer,name")
    assert await refused(manager, contacts, CONTACTS) == {(2, "out_of_reach")}
    deals = ("D3,Deal,C1,Ann Lee,1,Talk,,", "D4,Deal,C2,Ann Lee,1,Talk,,")
    assert await refused(manager, table(*deals, header=DEAL_HEADER), DEALS) == {(2, "out_of_reach")}
    calls = ("I3,C1,D1,2026-01-05,6", "I4,C1,D2,2026-01-05,6")
    outside = await refused(manager, table(*calls, header="id,customer,deal,at,minutes"), TOUCHES)
    assert outside == {(2, "out_of_reach")}


async def test_a_name_finds_no_customer_of_another_team(admin: Caller) -> None:
    manager = await two_teams(admin)
    by_name = {**CONTACTS, "source": "card box", "customer": {"name": "customer", "missing": "refuse"}}
    contacts = table("P3,Acme,New", "P4,Beta,New", header="id,customer,name")
    assert await refused(manager, contacts, by_name) == {(2, "unknown_reference")}
    assert await refused(admin, contacts, by_name) == set()


async def test_an_interaction_counts_for_no_deal_of_another_customer(admin: Caller) -> None:
    await two_teams(admin)
    calls = ("I3,C1,D1,2026-01-05,6", "I4,C1,D2,2026-01-05,6")
    assert await refused(admin, table(*calls, header="id,customer,deal,at,minutes"), TOUCHES) == {(2, "other_customer")}


async def test_who_may_no_longer_import_imports_nothing_more(admin: Caller) -> None:
    manager = await two_teams(admin)
    for change in ({"role": "rep"}, {"role": "manager", "active": False}):
        response = await upload(manager, table(ROW), changed(DEALS, {"name": "account"}, "customer"))
        assert response.status_code == 202, response.text
        import_id = response.json()["id"]
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            for column, value in change.items():
                await tx.connection.execute(
                    f"UPDATE sales.members SET {column} = $2 WHERE id = $1", manager.member_id, value
                )
        done = await finish(admin, import_id)
        assert (done["status"], done["problem"]["code"], done["rows_read"]) == ("failed", "forbidden", 0)
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            await tx.connection.execute(
                "UPDATE sales.members SET role = 'manager', active = true WHERE id = $1", manager.member_id
            )
    assert len((await admin.ok("GET", "/v1/opportunities"))["data"]) == 2


async def test_a_refused_row_makes_no_customer_for_somebody_elses_salesperson(admin: Caller) -> None:
    manager = await two_teams(admin)
    rows = ("D3,Deal,Gamma,Bob Far,1,Talk,,", "D4,Deal,Delta,Bob Far,1,Talk,,", "D5,Deal,Delta,Ann Lee,1,Talk,,")
    mapping = changed(DEALS, {"name": "customer"}, "customer")
    outside = await refused(manager, table(*rows, header=DEAL_HEADER), mapping)
    assert outside == {(1, "out_of_reach"), (2, "out_of_reach")}
    names = {row["name"] for row in (await admin.ok("GET", "/v1/customers"))["data"]}
    assert names == {"Acme", "Beta", "Delta"}
