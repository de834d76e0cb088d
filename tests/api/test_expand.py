"""Neighbours sent along with a resource: each main screen is one request of a known number of statements."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.auth.identity import FIND, TOUCH
from services.api.contacts.schemas import Contact
from services.api.customers.schemas import Customer
from services.api.customers.views import MOST_CONTACTS, MOST_OPPORTUNITIES, CustomerView
from services.api.focus.views import FocusViewPage
from services.api.interactions.views import InteractionView
from services.api.members.schemas import Member
from services.api.opportunities.schemas import Opportunity
from services.api.opportunities.views import OpportunityView
from services.api.processes.schemas import Process
from services.api.scores.schemas import Score
from services.api.tasks.schemas import Task
from services.api.tasks.views import TaskView
from shared.catalog.people import ROLE_SCOPES
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.scoring import drain
from tests.support.statements import statements

IDENTITY = {FIND.sql, TOUCH.sql}
OPPORTUNITY_PAGE = "customer,owner,score,next_task,process,contacts,latest_interaction"
CUSTOMER_PAGE = "owner,opportunities,contacts,next_task,latest_interaction"


async def counted(caller: Caller, path: str) -> tuple[Any, int]:
    """The answer, and what it cost without who is calling."""
    with statements() as seen:
        body = await caller.ok("GET", path)
    return body, len([sql for sql in seen if sql not in IDENTITY])


async def seller(admin: Caller, deals: int = 1) -> tuple[Caller, list[dict[str, Any]]]:
    """A rep with customers of all that a screen shows, one deal each."""
    rep = await admin.member("rep", "Li Na")
    made = []
    for n in range(deals):
        customer = await rep.make_customer(f"Customer {n:02}")
        deal = await rep.make_opportunity(customer["id"], name=f"Deal {n:02}")
        for contact in ("Wang", "Zhao"):
            await rep.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": contact})
        task = {"title": f"Task {n}", "opportunity_id": deal["id"], "due_on": f"2031-01-{n % 28 + 1:02}"}
        await rep.ok("POST", "/v1/tasks", task)
        touch = {"customer_id": customer["id"], "opportunity_id": deal["id"], "kind": "call"}
        await rep.ok("POST", "/v1/interactions", touch)
        made.append(deal)
    return rep, made


class TestScreens:
    """What each main screen shows comes with one request; its cost does not grow with what it shows."""

    async def test_the_focus_list(self, admin: Caller, servers: Servers) -> None:
        rep, _ = await seller(admin, 12)
        await drain(servers, admin.workspace_id)
        path = "/v1/focus?expand=opportunity,customer,owner,score,next_task&limit="
        few, cost_of_few = await counted(rep, f"{path}1")
        page, cost = await counted(rep, f"{path}200")
        FocusViewPage.model_validate(page)
        assert (len(few["data"]), len(page["data"])) == (1, 12)
        assert cost_of_few == cost == 2 + 5
        for seat in page["data"]:
            beside = seat["expanded"]
            assert beside["opportunity"]["id"] == seat["subject"]["id"] == beside["score"]["opportunity_id"]
            assert beside["customer"]["name"] == seat["customer"]["name"]
            assert beside["owner"]["name"] == "Li Na"
            assert beside["next_task"]["title"] == seat["next_step"]["title"]
            assert beside["score"]["probability"] == seat["probability"]

    async def test_the_page_of_an_opportunity(self, admin: Caller, servers: Servers) -> None:
        rep, [deal] = await seller(admin)
        await drain(servers, admin.workspace_id)
        path = f"/v1/opportunities/{deal['id']}?expand={OPPORTUNITY_PAGE}"
        body, cost = await counted(rep, path)
        shown = OpportunityView.model_validate(body).expanded
        assert cost == 1 + 7
        assert shown is not None
        assert shown.customer is not None
        assert shown.customer.name == "Customer 00"
        assert shown.owner is not None
        assert shown.owner.id == rep.member_id
        assert shown.next_task is not None
        assert shown.next_task.title == "Task 0"
        assert shown.process is not None
        assert body["stage_id"] in {str(stage.id) for stage in shown.process.stages}
        assert shown.contacts is not None
        assert [contact.name for contact in shown.contacts.data] == ["Wang", "Zhao"]
        assert shown.latest_interaction is not None
        # As the routes of each answer alone.
        assert body["expanded"]["score"] == await rep.ok("GET", f"/v1/opportunities/{deal['id']}/score")
        assert body["expanded"]["customer"] == await rep.ok("GET", f"/v1/customers/{deal['customer_id']}")
        assert body["expanded"]["process"] == await rep.ok("GET", f"/v1/processes/{deal['process_id']}")

    async def test_the_page_of_a_customer(self, admin: Caller) -> None:
        rep, [deal] = await seller(admin)
        body, cost = await counted(rep, f"/v1/customers/{deal['customer_id']}?expand={CUSTOMER_PAGE}")
        shown = CustomerView.model_validate(body).expanded
        assert cost == 1 + 5
        assert shown is not None
        assert shown.owner is not None
        assert shown.opportunities is not None
        assert [each.name for each in shown.opportunities.data] == ["Deal 00"]
        assert shown.contacts is not None
        assert [each.name for each in shown.contacts.data] == ["Wang", "Zhao"]
        assert shown.next_task is not None
        assert shown.latest_interaction is not None
        assert shown.latest_interaction.opportunity_id == shown.opportunities.data[0].id

    async def test_the_agenda(self, admin: Caller) -> None:
        rep, deals = await seller(admin, 12)
        path = f"/v1/tasks?assignee_id={rep.member_id}&status=open&sort=due_on&expand=customer,opportunity&limit="
        _, cost_of_few = await counted(rep, f"{path}1")
        page, cost = await counted(rep, f"{path}50")
        assert cost_of_few == cost == 1 + 2
        assert [row["due_on"] for row in page["data"]] == sorted(row["due_on"] for row in page["data"])
        assert {row["expanded"]["opportunity"]["name"] for row in page["data"]} == {deal["name"] for deal in deals}
        assert all(TaskView.model_validate(row).expanded.customer for row in page["data"])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/customers", CUSTOMER_PAGE),
        ("/v1/opportunities", f"{OPPORTUNITY_PAGE},product"),
        ("/v1/contacts", "customer"),
        ("/v1/interactions", "contacts,customer,opportunity,member"),
        ("/v1/tasks", "customer,opportunity,assignee"),
    ],
)
async def test_each_neighbour_is_one_statement_for_any_number_of_rows(
    admin: Caller, servers: Servers, path: str, names: str
) -> None:
    rep, deals = await seller(admin, 6)
    product = await admin.ok("POST", "/v1/products", {"name": "Press"})
    for deal in deals:
        await rep.ok("PATCH", f"/v1/opportunities/{deal['id']}", {"product_id": product["id"]})
    contact = (await rep.ok("GET", f"/v1/contacts?customer_id={deals[0]['customer_id']}"))["data"][0]
    touch = {"customer_id": deals[0]["customer_id"], "opportunity_id": deals[0]["id"], "kind": "visit"}
    await rep.ok("POST", "/v1/interactions", {**touch, "contact_ids": [contact["id"]]})
    await drain(servers, admin.workspace_id)
    costs = {}
    for limit in (1, 3, 50):
        page, costs[limit] = await counted(rep, f"{path}?limit={limit}&expand={names}")
        assert all(sorted(row["expanded"]) == sorted(names.split(",")) for row in page["data"])
    assert set(costs.values()) == {1 + len(names.split(","))}
    # Alone, without neighbours, a list is what it was.
    page, cost = await counted(rep, f"{path}?limit=50")
    assert cost == 1
    assert not any("expanded" in row for row in page["data"])


async def test_what_there_is_more_of_is_bounded_and_says_so(admin: Caller) -> None:
    customer, other = await admin.make_customer("A"), await admin.make_customer("B")
    for n in range(MOST_CONTACTS + 1):
        await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": f"C{n:02}"})
        await admin.make_opportunity(customer["id"], purchase_date=f"2031-01-{n + 1:02}")
    lost = await admin.make_opportunity(customer["id"], purchase_date="2030-01-01")
    await admin.transition(lost["id"], "lose", reason="price")
    page = await admin.ok("GET", "/v1/customers?sort=name&expand=contacts,opportunities")
    first, second = page["data"]
    assert [row["name"] for row in first["expanded"]["contacts"]["data"]] == [f"C{n:02}" for n in range(MOST_CONTACTS)]
    deals = first["expanded"]["opportunities"]["data"]
    assert [row["purchase_date"] for row in deals] == [f"2031-01-{n + 1:02}" for n in range(MOST_OPPORTUNITIES)]
    assert first["expanded"]["contacts"]["has_more"] is first["expanded"]["opportunities"]["has_more"] is True
    assert second["id"] == other["id"]
    empty = {"data": [], "has_more": False}
    assert second["expanded"] == {"contacts": empty, "opportunities": empty}


async def test_the_next_task_is_the_one_that_is_due_first(admin: Caller) -> None:
    deal = await admin.make_opportunity()
    path = f"/v1/opportunities/{deal['id']}?expand=next_task"
    assert (await admin.ok("GET", path))["expanded"] == {"next_task": None}

    async def task(title: str, **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = await admin.ok("POST", "/v1/tasks", {"title": title, **fields})
        return made

    await task("greeting", kind="greeting", opportunity_id=deal["id"], due_on="2030-01-01")
    await task("undated", opportunity_id=deal["id"])
    done = await task("done", opportunity_id=deal["id"], due_on="2030-01-01")
    await admin.ok("POST", f"/v1/tasks/{done['id']}:complete", {})
    gone = await task("gone", opportunity_id=deal["id"], due_on="2030-01-01")
    await admin.delete(f"/v1/tasks/{gone['id']}")
    other = await admin.make_opportunity(deal["customer_id"])
    await task("of another deal", opportunity_id=other["id"], due_on="2030-01-02")
    await task("later", opportunity_id=deal["id"], due_on="2031-02-01")
    await task("of the customer", customer_id=deal["customer_id"], due_on="2031-01-01")
    assert (await admin.ok("GET", path))["expanded"]["next_task"]["title"] == "of the customer"
    customer = await admin.ok("GET", f"/v1/customers/{deal['customer_id']}?expand=next_task")
    assert customer["expanded"]["next_task"]["title"] == "of another deal"


class TestReach:
    """A neighbour is what its own route would answer: null where that were 404 or 403."""

    async def test_out_of_reach_is_null(self, admin: Caller) -> None:
        owner, helper = await admin.member("rep"), await admin.member("rep")
        customer = await owner.make_customer()
        mine = await owner.make_opportunity(customer["id"])
        await owner.make_opportunity(customer["id"], name="Hidden")
        await owner.ok("POST", f"/v1/opportunities/{mine['id']}/members", {"member_id": str(helper.member_id)})
        task = {"title": "For you", "customer_id": (await owner.make_customer("Foreign"))["id"]}
        await owner.ok("POST", "/v1/tasks", {**task, "assignee_id": str(helper.member_id)})
        found = await helper.ok("GET", f"/v1/customers/{customer['id']}?expand=opportunities")
        assert [row["id"] for row in found["expanded"]["opportunities"]["data"]] == [mine["id"]]
        [agenda] = (await helper.ok("GET", "/v1/tasks?expand=customer,opportunity"))["data"]
        assert agenda["expanded"] == {"customer": None, "opportunity": None}

    async def test_deleted_is_null(self, admin: Caller) -> None:
        product = await admin.ok("POST", "/v1/products", {"name": "Press"})
        deal = await admin.make_opportunity(product_id=product["id"])
        path = f"/v1/opportunities/{deal['id']}?expand=product"
        assert (await admin.ok("GET", path))["expanded"]["product"]["name"] == "Press"
        await admin.delete(f"/v1/products/{product['id']}")
        assert (await admin.ok("GET", path))["expanded"] == {"product": None}

    async def test_beyond_the_keys_scopes_is_null(self, admin: Caller) -> None:
        deal = await admin.make_opportunity()
        narrow = sorted(ROLE_SCOPES["admin"] - {"customers:read", "contacts:read"})
        key = await admin.ok("POST", "/v1/api-keys", {"name": "narrow", "scopes": narrow})
        caller = Caller(admin.http, admin.state, admin.workspace_id, admin.member_id, key["key"])
        body = await caller.ok("GET", f"/v1/opportunities/{deal['id']}?expand=customer,contacts,process")
        assert (body["expanded"]["customer"], body["expanded"]["contacts"]) == (None, None)
        assert body["expanded"]["process"] is not None

    async def test_of_another_workspace_nothing_is_seen(self, admin: Caller, other: Caller) -> None:
        await seller(other)
        deal = await admin.make_opportunity()
        body = await admin.ok("GET", f"/v1/opportunities/{deal['id']}?expand={OPPORTUNITY_PAGE}")
        assert body["expanded"]["contacts"] == {"data": [], "has_more": False}
        assert body["expanded"]["latest_interaction"] is None


@pytest.mark.parametrize(
    ("path", "query", "pointer", "says"),
    [
        ("/v1/customers", "expand=owner,shoe", "?expand", "'next_task'"),
        ("/v1/customers", "expand=", "?expand", "'owner'"),
        ("/v1/focus", "expand=contacts", "?expand", "'score'"),
        ("/v1/products", "expand=owner", "?expand", "not known"),
        ("/v1/customers/0198c0de-0000-7000-8000-000000000000", "expand=customer", "?expand", "'owner'"),
        ("/v1/customers", "expand=owner%00", "?expand", "NUL"),
        ("/v1/tasks", "expand=customer.owner", "?expand", "'customer'"),
    ],
)
async def test_an_unknown_neighbour_is_refused_with_those_there_are(
    admin: Caller, path: str, query: str, pointer: str, says: str
) -> None:
    response = await admin.get(f"{path}?{query}")
    body = response.json()
    assert (response.status_code, body["code"]) == (400, "invalid_parameter")
    assert body["errors"][0]["pointer"] == pointer
    assert says in body["errors"][0]["message"]


async def test_names_may_be_given_apart_or_together_and_twice(admin: Caller) -> None:
    customer = await admin.make_customer()
    path = f"/v1/customers/{customer['id']}"
    bodies = [
        await admin.ok("GET", f"{path}?{query}")
        for query in ("expand=owner,contacts", "expand=owner&expand=contacts", "expand=owner,contacts,%20owner")
    ]
    assert bodies[0] == bodies[1] == bodies[2]
    too_many = ",".join(["owner"] * 11)
    assert (await admin.get(f"{path}?expand={too_many}")).status_code == 200
    assert (await admin.get(f"{path}?fields={','.join(f'f{n}' for n in range(81))}")).status_code == 400


async def test_score_is_told_in_the_readers_language(admin: Caller, servers: Servers) -> None:
    rep, [deal] = await seller(admin)
    await drain(servers, admin.workspace_id)
    path = f"/v1/opportunities/{deal['id']}?expand=score"
    chinese = await rep.get(path, headers={"Accept-Language": "zh-Hans"})
    english = await rep.get(path)
    assert (chinese.headers["content-language"], english.headers["content-language"]) == ("zh-Hans", "en")
    assert "Accept-Language" in english.headers["vary"]
    assert not chinese.json()["expanded"]["score"]["criteria"][0]["label"].isascii()
    assert "content-language" not in (await rep.get(f"/v1/opportunities/{deal['id']}?expand=owner")).headers


def test_neighbours_are_of_the_types_their_own_routes_have() -> None:
    for expanded, types in (
        (CustomerView, {Member, Contact, Task, Opportunity}),
        (OpportunityView, {Customer, Member, Score, Task, Process, Contact}),
        (InteractionView, {Contact, Customer, Opportunity, Member}),
    ):
        document = expanded.model_json_schema()
        assert "expanded" not in document["required"]
        assert {kind.__name__ for kind in types} <= document["$defs"].keys()
