"""A working day over HTTP: nearly every operation there is, called once with a body that means something."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.exports.support import ask, content, exported
from tests.support.caller import Caller
from tests.support.webhooks import webhook_day, webhook_reads

STAGE: dict[str, Any] = {
    "milestone": {"en": "Done", "zh_hans": "完成"},
    "irreversible": False,
    "typical_days": 5,
    "typical_hours": 2,
    "base_win_rate": 0.5,
}
MAPPING = {"kind": "customers", "source": "flow", "fields": {"external_id": "id", "name": "name"}}


def money(amount: str, currency: str = "CNY") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


def own_stages(count: int) -> list[dict[str, Any]]:
    """Stages of a process of one's own; the last one wins."""
    return [{**STAGE, "key": f"s{n}", "name": {"en": f"S{n}"}, "wins": n == count - 1} for n in range(count)]


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


@asynccontextmanager
async def recording(caller: Caller) -> AsyncIterator[list[httpx.Response]]:
    """Gathers every response that the callers' client gets while the block runs."""
    seen: list[httpx.Response] = []

    async def keep(response: httpx.Response) -> None:
        await response.aread()
        seen.append(response)

    hooks = caller.http.event_hooks
    caller.http.event_hooks = {**hooks, "response": [*hooks["response"], keep]}
    try:
        yield seen
    finally:
        caller.http.event_hooks = hooks


async def people(admin: Caller) -> dict[str, Any]:
    """Members, a team, a key, definitions of attributes, the policy, a process: what a workspace is made of."""
    ok = admin.ok
    rep = await ok("POST", "/v1/members", {"name": "Li Na", "role": "rep", "email": "li@example.com"})
    mate = await ok("PUT", "/v1/members/by-external-id/hr/7", {"name": "Wang Wu", "role": "rep"})
    await ok("PATCH", f"/v1/members/{mate['id']}", {"engage_capacity": 8})
    team = await ok("POST", "/v1/teams", {"name": "North", "member_ids": [rep["id"]]})
    await ok("PATCH", f"/v1/teams/{team['id']}", {"member_ids": [rep["id"], mate["id"]]})
    key = await ok("POST", "/v1/api-keys", {"member_id": rep["id"], "name": "phone"})
    label = {"en": "Region", "zh_hans": "地区"}
    kinds: dict[str, Any] = {"kind": "category", "categories": ["north", "south"]}
    attribute = await ok("POST", "/v1/attributes", {"subject": "customer", "key": "region", "label": label, **kinds})
    await ok("PATCH", f"/v1/attributes/{attribute['id']}", {"categories": ["north", "south", "west"]})
    await ok("POST", "/v1/attributes", {"subject": "opportunity", "key": "area", "kind": "number", "label": label})
    process = await ok("POST", "/v1/processes", {"key": "own", "name": label, "stages": own_stages(3)})
    await ok("PATCH", f"/v1/processes/{process['id']}", {"active": False})
    await ok("PATCH", "/v1/policy", {"pin_limit": 2, "rates": {"USD": "7.12"}})
    policy = await ok("GET", "/v1/policy")
    document = {name: policy[name] for name in policy if name not in {"version", "updated_at"}}
    await ok("PUT", "/v1/policy", {**document, "pin_limit": 3})
    await ok("PATCH", "/v1/workspace", {"name": "North branch"})
    return {"rep": rep, "mate": mate, "team": team, "key": key, "attribute": attribute, "process": process}


async def customer_facts(admin: Caller, rep_id: str) -> dict[str, Any]:
    """A customer with contacts and a product."""
    ok = admin.ok
    customer = await ok(
        "POST",
        "/v1/customers",
        {"name": "北方重工", "owner_id": rep_id, "tier": "key", "attributes": {"region": "north"}, "phone": "010"},
    )
    known = await ok("PUT", "/v1/customers/by-external-id/erp/1", {"name": "Household Li", "kind": "household"})
    await ok("PATCH", f"/v1/customers/{known['id']}", {"email": "li@example.com"})
    contact = await ok(
        "POST", "/v1/contacts", {"customer_id": customer["id"], "name": "Wang", "level": "executive", "is_coach": True}
    )
    await ok("PUT", "/v1/contacts/by-external-id/erp/2", {"customer_id": customer["id"], "name": "Zhao"})
    await ok("PATCH", f"/v1/contacts/{contact['id']}", {"birthday": "1980-02-29"})
    product = await ok("POST", "/v1/products", {"name": "Press", "list_price": money("120000.00")})
    await ok("PUT", "/v1/products/by-external-id/erp/3", {"name": "Lathe"})
    await ok("PATCH", f"/v1/products/{product['id']}", {"margin_rate": 0.4})
    return {"customer": customer, "known": known, "contact": contact, "product": product}


async def selling(admin: Caller, new_owner_id: str, facts: dict[str, Any]) -> dict[str, Any]:
    """An opportunity through much of its life, with interactions and tasks."""
    ok = admin.ok
    body = {
        "name": "Press line 3", "customer_id": facts["customer"]["id"], "product_id": facts["product"]["id"],
        "amount": money("125000.50"), "budget": money("130000"), "margin_rate": 0.3, "purchase_date": "2027-03-01",
        "need": "more pressure", "attributes": {"area": 12.5},
    }  # fmt: skip
    made = await ok("POST", "/v1/opportunities", body)
    path = f"/v1/opportunities/{made['id']}"
    await ok("PATCH", path, {"fit_score": 0.7})
    upserted = await ok(
        "PUT", "/v1/opportunities/by-external-id/erp/4", {"name": "Spare parts", "customer_id": facts["customer"]["id"]}
    )
    await ok("POST", f"{path}/members", {"member_id": str(admin.member_id), "role": "specialist"})
    touched = await ok(
        "POST",
        "/v1/interactions",
        {
            "customer_id": facts["customer"]["id"], "opportunity_id": made["id"], "kind": "visit",
            "contact_ids": [facts["contact"]["id"]], "signals": ["asks_questions"], "cost": money("12.50"),
            "next_step": {"title": "Send drawings", "due_on": "2030-01-01"}, "promises": [{"title": "Call back"}],
        },
    )  # fmt: skip
    await ok("PATCH", f"/v1/interactions/{touched['id']}", {"minutes": 40})
    call = {"customer_id": facts["customer"]["id"], "kind": "call"}
    await ok("PUT", "/v1/interactions/by-external-id/erp/5", call)
    task = await ok("POST", "/v1/tasks", {"title": "Draw", "kind": "promise", "opportunity_id": made["id"]})
    await ok("PATCH", f"/v1/tasks/{task['id']}", {"notes": "by hand"})
    await ok("POST", f"/v1/tasks/{task['id']}:snooze", {"due_on": "2031-01-01"})
    await ok("POST", f"/v1/tasks/{task['id']}:complete", {})
    other = await ok(
        "PUT", "/v1/tasks/by-external-id/erp/6", {"title": "Greet", "customer_id": facts["customer"]["id"]}
    )
    await ok("POST", f"/v1/tasks/{other['id']}:cancel")
    for action in ({"action": "pass"}, {"action": "void", "reason": "mistaken"}, {"action": "pass"}):
        await ok("POST", f"{path}/transitions", action)
    await ok("POST", f"{path}:reassign", {"owner_id": new_owner_id, "reason": "a better fit"})
    operations = [
        {"kind": "update", "id": made["id"], "body": {"interest": "firm"}},
        {"kind": "transition", "id": upserted["id"], "body": {"action": "lose", "reason": "price"}},
    ]
    await ok("POST", "/v1/opportunities:batch", {"operations": operations})
    return {"opportunity": made, "interaction": touched, "task": task}


async def triage(admin: Caller, rep_id: str, opportunity_id: str) -> dict[str, Any]:
    """A pin and a capacity of one's own."""
    pin = {
        "kind": "pin", "subject_type": "opportunity", "subject_id": opportunity_id, "band": "track",
        "reason": "the board asked", "expires_at": in_days(10),
    }  # fmt: skip
    made = await admin.ok("POST", "/v1/focus/pins", pin)
    capacity = {"engage": 4, "track": 20, "monitor": 40}
    await admin.ok("PUT", "/v1/focus/capacity", capacity, params={"owner_id": rep_id})
    return {"pin": made}


async def importing(admin: Caller) -> dict[str, Any]:
    """A small file, queued and then cancelled."""
    response = await admin.request(
        "POST",
        "/v1/imports",
        files={"file": ("small.csv", b"id,name\n1,Acme\n")},
        data={"mapping": json.dumps(MAPPING)},
        headers={"Idempotency-Key": "flow"},
    )
    assert response.status_code == 202, response.text
    made: dict[str, Any] = response.json()
    await admin.ok("POST", f"/v1/imports/{made['id']}:cancel")
    return {"import": made}


async def exporting(admin: Caller) -> dict[str, Any]:
    """A file that is made and fetched, and another that is cancelled."""
    done = await exported(admin, "customers")
    await content(admin, done)
    await admin.ok("POST", f"/v1/exports/{(await ask(admin, 'contacts'))['id']}:cancel")
    return {"export": done}


async def tidying(admin: Caller, customer_id: str, contact_id: str) -> dict[str, Any]:
    """Twins that are looked for, merged, and parted again."""
    ok = admin.ok
    twin = await ok("POST", "/v1/customers", {"name": "北方重工有限公司"})
    namesake = await ok("POST", "/v1/contacts", {"customer_id": customer_id, "name": "Wang"})
    await ok("POST", "/v1/customers:search-duplicates", {"name": "北方重工（上海）有限公司"})
    await ok("POST", "/v1/contacts:search-duplicates", {"name": "Wang", "customer_id": customer_id})
    people = await ok("POST", "/v1/contacts:merge", {"into": contact_id, "from": namesake["id"]})
    await ok("POST", f"/v1/merges/{people['id']}:undo")
    firms = await ok("POST", "/v1/customers:merge", {"into": customer_id, "from": twin["id"]})
    await ok("POST", f"/v1/merges/{firms['id']}:undo")
    return {"merge": firms}


async def working_day(admin: Caller) -> dict[str, Any]:
    """All of it; what was made, by name."""
    made = await people(admin)
    made |= await customer_facts(admin, made["rep"]["id"])
    made |= await selling(admin, made["mate"]["id"], made)
    made |= await triage(admin, made["rep"]["id"], made["opportunity"]["id"])
    made |= await tidying(admin, made["customer"]["id"], made["contact"]["id"])
    made |= await webhook_day(admin)
    made["event"] = (await admin.ok("GET", "/v1/events"))["data"][0]
    await admin.ok("POST", "/v1/stream-tickets")
    made |= await exporting(admin)
    return made | await importing(admin) | {"partner_id": str(admin.member_id)}


def reads(made: dict[str, Any]) -> list[str]:
    """Every path that can be read, of what `working_day` made."""
    rep, opportunity = made["rep"]["id"], made["opportunity"]["id"]
    by_resource = {
        "customers": "customer", "opportunities": "opportunity", "contacts": "contact", "products": "product",
        "interactions": "interaction", "tasks": "task", "members": "rep", "teams": "team", "attributes": "attribute",
        "processes": "process", "api-keys": "key", "imports": "import", "exports": "export", "focus/pins": "pin",
        "merges": "merge",
    }  # fmt: skip
    paths = [f"/v1/{resource}" for resource in by_resource]
    paths += [f"/v1/{resource}/{made[name]['id']}" for resource, name in by_resource.items()]
    synced = ("customers", "contacts", "opportunities", "interactions", "tasks", "products")
    paths += [f"/v1/{resource}:sync" for resource in synced]
    paths += [
        f"/v1/customers/{made['customer']['id']}?expand=owner,opportunities,contacts,next_task,latest_interaction",
        f"/v1/opportunities/{opportunity}?expand=customer,owner,score,next_task,process,contacts,latest_interaction",
        f"/v1/focus?owner_id={made['mate']['id']}&expand=opportunity,customer,owner,score,next_task",
        "/v1/tasks?expand=customer,opportunity,assignee",
        "/v1/interactions?expand=contacts,customer,opportunity,member",
    ]
    paths += [f"/v1/opportunities/{opportunity}/{part}" for part in ("transitions", "members", "score")]
    paths.append(f"/v1/opportunities/{opportunity}/members/{made['partner_id']}")
    paths += [f"/v1/{path}?owner_id={rep}" for path in ("focus", "focus/moves", "focus/capacity")]
    paths.append(f"/v1/exports/{made['export']['id']}/mapping")
    paths += [f"/v1/imports/{made['import']['id']}/errors", "/v1/imports/mapping-schema", "/v1/processes/templates"]
    paths += [f"/v1/{each}s/{made[each]['id']}/duplicates" for each in ("customer", "contact")]
    paths += ["/v1/duplicates", *webhook_reads(made)]
    paths += ["/v1/events", f"/v1/events/{made['event']['id']}", "/v1/event-types", "/v1/event-types/customer.created"]
    return [*paths, "/v1/focus/overview", "/v1/me", "/v1/workspace", "/v1/policy", "/v1/catalog", "/v1/audit"]


async def undoing(admin: Caller, made: dict[str, Any]) -> None:
    """Deletes what can be deleted, and restores what can be restored."""
    await admin.ok("DELETE", f"/v1/focus/pins/{made['pin']['id']}")
    opportunity, member = made["opportunity"]["id"], admin.member_id
    await admin.ok("DELETE", f"/v1/opportunities/{opportunity}/members/{member}")
    for resource, name in (
        ("tasks", "task"),
        ("interactions", "interaction"),
        ("opportunities", "opportunity"),
        ("contacts", "contact"),
        ("customers", "customer"),
        ("products", "product"),
    ):
        await admin.ok("DELETE", f"/v1/{resource}/{made[name]['id']}")
    for resource, name in (
        ("products", "product"),
        ("customers", "customer"),
        ("contacts", "contact"),
        ("opportunities", "opportunity"),
        ("interactions", "interaction"),
        ("tasks", "task"),
    ):
        await admin.ok("POST", f"/v1/{resource}/{made[name]['id']}:restore")
    body = {"owner_id": None, "reason": "on leave", "with_opportunities": True}
    await admin.ok("POST", f"/v1/customers/{made['customer']['id']}:reassign", body)
    await admin.ok("DELETE", f"/v1/api-keys/{made['key']['id']}")
    await admin.ok("DELETE", f"/v1/teams/{made['team']['id']}")
    await admin.ok("DELETE", f"/v1/webhook-endpoints/{made['endpoint']['id']}")
