"""What a request costs: its number of SQL statements is small, known, and the same however much there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.api.auth.identity import FIND, TOUCH
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.flow import in_days, money, own_stages, reads, working_day
from tests.support.scoring import drain
from tests.support.statements import statements

MANY = 50
# Who is calling is asked once in `identity_ttl` seconds, which tests set to 0: it is no part of a route's own cost.
IDENTITY = {FIND.sql, TOUCH.sql}


async def cost(call: Awaitable[httpx.Response]) -> int:
    """Statements of a request that must succeed, without BEGIN, COMMIT and identity."""
    with statements() as seen:
        response = await call
    assert response.is_success, response.text
    return len([sql for sql in seen if sql not in IDENTITY])


async def in_turns(calls: list[Awaitable[Any]], at_once: int = 8) -> None:
    for start in range(0, len(calls), at_once):
        await asyncio.gather(*calls[start : start + at_once])


async def fill(admin: Caller, made: dict[str, Any]) -> None:
    """Fifty more of everything, around the customer and the opportunity of the working day."""
    ok, customer, deal = admin.ok, made["customer"]["id"], made["opportunity"]["id"]
    rep = made["rep"]["id"]
    label = {"en": "More"}
    calls: list[Awaitable[Any]] = []
    for n in range(MANY):
        contact = {"customer_id": customer, "name": f"Contact {n}"}
        touch = {
            "customer_id": customer,
            "opportunity_id": deal,
            "kind": "call",
            "contact_ids": [made["contact"]["id"]],
        }
        task = {"title": f"Task {n}", "opportunity_id": deal}
        opportunity = {"name": f"Deal {n}", "customer_id": customer, "owner_id": rep, "amount": money(f"{n + 1}000")}
        attribute = {"subject": "customer", "key": f"more_{n}", "kind": "text", "label": label}
        calls += [
            ok("POST", "/v1/customers", {"name": f"Customer {n}", "owner_id": rep}),
            ok("POST", "/v1/contacts", contact),
            ok("POST", "/v1/interactions", touch),
            ok("POST", "/v1/tasks", task),
            ok("POST", "/v1/opportunities", opportunity),
            ok("POST", "/v1/products", {"name": f"Product {n}"}),
            ok("POST", "/v1/attributes", attribute),
            ok("POST", "/v1/teams", {"name": f"Team {n}", "member_ids": [rep]}),
            ok("POST", "/v1/api-keys", {"member_id": rep, "name": f"Key {n}"}),
        ]
    await in_turns(calls)
    for n in range(12):
        member = await ok("POST", "/v1/members", {"name": f"Member {n}", "role": "rep"})
        await ok("POST", "/v1/processes", {"key": f"more_{n}", "name": label, "stages": own_stages(4)})
        await ok("POST", f"/v1/opportunities/{deal}/members", {"member_id": member["id"]})
        for action in ({"action": "pass"}, {"action": "void", "reason": "mistaken"}):
            await ok("POST", f"/v1/opportunities/{deal}/transitions", action)
    opportunities = (await ok("GET", "/v1/opportunities", params={"limit": 20}))["data"]
    for each in opportunities:
        mute = {"kind": "mute", "subject_type": "opportunity", "subject_id": each["id"], "reason": "full"}
        if each["id"] != deal and each["owner_id"] and each["status"] == "open":
            await ok("POST", "/v1/focus/pins", {**mute, "expires_at": in_days(3)})


def creates(made: dict[str, Any], turn: str) -> dict[str, tuple[str, Any]]:
    """Operation → path and body of every create route; `turn` keeps unique names apart."""
    customer, rep = made["customer"]["id"], made["rep"]["id"]
    deal = made["opportunity"]["id"]
    label = {"en": "More"}
    return {
        "createCustomer": ("/v1/customers", {"name": "One more"}),
        "createContact": ("/v1/contacts", {"customer_id": customer, "name": "One more"}),
        "createOpportunity": ("/v1/opportunities", {"customer_id": customer, "name": "One more"}),
        "createInteraction": ("/v1/interactions", {"customer_id": customer, "kind": "call"}),
        "createTask": ("/v1/tasks", {"title": "One more", "customer_id": customer}),
        "createProduct": ("/v1/products", {"name": "One more"}),
        "createMember": ("/v1/members", {"name": "One more", "role": "viewer"}),
        "createTeam": ("/v1/teams", {"name": f"One more {turn}"}),
        "createExport": ("/v1/exports", {"kind": "customers", "format": "csv"}),
        "createStreamTicket": ("/v1/stream-tickets", None),
        "createApiKey": ("/v1/api-keys", {"name": "One more", "member_id": rep}),
        "createAttribute": (
            "/v1/attributes",
            {"subject": "opportunity", "key": f"one_{turn}", "kind": "text", "label": label},
        ),
        "createProcess": ("/v1/processes", {"key": f"one_{turn}", "name": label, "stages": own_stages(2)}),
        "createWebhookEndpoint": (
            "/v1/webhook-endpoints",
            {"url": "https://hooks.example.com/more", "event_types": ["*"], "opportunity_ids": [deal]},
        ),
        "transitionOpportunity": (f"/v1/opportunities/{deal}/transitions", {"action": "pass"}),
    }


async def test_no_request_costs_more_where_there_is_more(app: FastAPI, admin: Caller, servers: Servers) -> None:
    """Every read, list and create: the same number of statements over one row and over fifty, and a small one."""
    made = await working_day(admin)
    await drain(servers, admin.workspace_id)
    few = {path: await cost(admin.get(path)) for path in reads(made)}
    few |= {name: await cost(admin.post(*given)) for name, given in creates(made, "a").items()}
    await fill(admin, made)
    await drain(servers, admin.workspace_id)
    many = {path: await cost(admin.get(path)) for path in reads(made)}
    many |= {name: await cost(admin.post(*given)) for name, given in creates(made, "b").items()}
    assert {place: (few[place], many[place]) for place in few if few[place] != many[place]} == {}
    assert {place: count for place, count in many.items() if count > 8} == {}
    posts = {route.operation_id for route in app.state.routes if (route.operation_id or "").startswith("create")}
    # A pin stands once a subject, an upload is not JSON: both are counted where they are tested.
    assert posts - set(creates(made, "c")) == {"createPin", "createImport"}


async def test_what_a_body_holds_costs_no_statement_each(admin: Caller) -> None:
    customer = await admin.make_customer()
    contacts = [
        (await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": f"C{n}"}))["id"]
        for n in range(8)
    ]
    reps = [str((await admin.member("rep")).member_id) for _ in range(4)]

    def interaction(count: int) -> tuple[str, Any]:
        promises = [{"title": f"Promise {n}"} for n in range(count)]
        body = {"customer_id": customer["id"], "kind": "call", "contact_ids": contacts[:count], "promises": promises}
        return "/v1/interactions", body

    def process(count: int) -> tuple[str, Any]:
        return "/v1/processes", {"key": f"of_{count}", "name": {"en": "P"}, "stages": own_stages(count)}

    def team(count: int) -> tuple[str, Any]:
        return "/v1/teams", {"name": f"Of {count}", "member_ids": reps[:count]}

    for body in (interaction, process, team):
        one, several = await cost(admin.post(*body(1))), await cost(admin.post(*body(4)))
        assert one == several, body.__name__


async def test_a_handover_of_many_costs_as_much_as_one(admin: Caller) -> None:
    rep = str((await admin.member("rep")).member_id)
    counts = []
    for count in (1, 10):
        customer = await admin.make_customer(owner_id=rep)
        for _ in range(count):
            await admin.make_opportunity(customer["id"])
        body = {"owner_id": None, "reason": "on leave", "with_opportunities": True}
        counts.append(await cost(admin.post(f"/v1/customers/{customer['id']}:reassign", body)))
    assert counts[0] == counts[1]


Hot = Callable[[Caller, dict[str, Any]], Awaitable[httpx.Response]]
HOT: dict[str, tuple[int, Hot]] = {
    "read one": (1, lambda c, m: c.get(f"/v1/opportunities/{m['id']}")),
    "list": (1, lambda c, m: c.get("/v1/opportunities?limit=50&sort=-amount&status=open")),
    "list by priority": (1, lambda c, m: c.get("/v1/opportunities?limit=50&sort=-priority")),
    "create": (
        2,
        lambda c, m: c.post(
            "/v1/opportunities", {"name": "x", "customer_id": m["customer_id"]}, headers={"Idempotency-Key": "k"}
        ),
    ),
    "pass": (2, lambda c, m: c.post(f"/v1/opportunities/{m['id']}/transitions", {"action": "pass"})),
    "patch": (3, lambda c, m: c.patch(f"/v1/opportunities/{m['id']}", {"interest": "firm"})),
    "read customer": (1, lambda c, m: c.get(f"/v1/customers/{m['customer_id']}")),
    "list customers": (1, lambda c, m: c.get("/v1/customers?limit=50&name_prefix=a")),
}


@pytest.mark.parametrize("name", list(HOT))
@pytest.mark.parametrize("role", ["admin", "rep"])
async def test_the_hot_paths_cost_what_they_are_known_to_cost(admin: Caller, name: str, role: str) -> None:
    caller = admin if role == "admin" else await admin.member("rep")
    made = await caller.make_opportunity()
    expected, call = HOT[name]
    assert await cost(call(caller, made)) == expected


async def test_focus_costs_the_same_for_one_seat_and_for_many(admin: Caller, servers: Servers) -> None:
    rep = await admin.member("rep")
    counts = []
    for more in (1, 20):
        for _ in range(more):
            await rep.make_opportunity()
        await drain(servers, admin.workspace_id)
        counts.append(await cost(rep.get("/v1/focus?within=monitor&limit=200")))
    assert counts[0] == counts[1] <= 3


async def test_a_repeated_request_is_answered_from_its_key(admin: Caller) -> None:
    made = await admin.make_opportunity()
    path, headers = f"/v1/opportunities/{made['id']}/transitions", {"Idempotency-Key": "k"}
    first = await admin.post(path, {"action": "pass"}, headers=headers)
    with statements() as seen:
        again = await admin.post(path, {"action": "pass"}, headers=headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert len([sql for sql in seen if sql not in IDENTITY]) <= 6
