"""A fact and what follows from it are one transaction: event, audit entry and marks, all of them or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from shared.db import Query, Tx
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.flow import in_days, money, recording, undoing, working_day
from tests.support.traces import end_backend, everything, traces

# What is written there says nothing of anybody's selling, and is gone in half a minute.
NO_FACTS = {"/v1/stream-tickets", "/v1/customers:search-duplicates", "/v1/contacts:search-duplicates"}
CANARY = "kanarienvogel"


async def test_every_write_leaves_event_audit_and_marks_in_its_own_transaction(admin: Caller) -> None:
    """Every successful write of a working day: what it left came from one transaction, and is never half of it."""
    wrong: list[str] = []
    request = Caller.request

    async def checked(caller: Caller, method: str, path: str, **given: Any) -> httpx.Response:
        before = await traces(caller)
        response = await request(caller, method, path, **given)
        left = (await traces(caller)).since(before)
        place = f"{method} {path} {response.status_code}"
        if method == "GET":
            # Who has seen a secret is on record.
            if path.endswith("/secret"):
                assert [each["action"] for each in left.audit] == ["endpoint.secret_read"]
            elif left.events or left.audit or left.marks:
                wrong.append(f"{place}: reading wrote {left}")
        elif path in NO_FACTS:
            assert (left.events, left.audit, left.marks) == ([], [], {})
        elif len(left.transactions) != 1:
            wrong.append(f"{place}: {len(left.transactions)} transactions")
        elif path.endswith(":test"):
            # A sample is no fact, and goes to one endpoint alone.
            assert (left.events, len(left.audit)) == ([], 1)
        elif not (left.events and left.audit):
            wrong.append(f"{place}: {len(left.events)} events, {len(left.audit)} audit entries")
        return response

    with patch.object(Caller, "request", checked):
        await undoing(admin, await working_day(admin))
    assert not wrong, "\n".join(wrong)


Write = Callable[["Scene"], Awaitable[httpx.Response]]


class Scene:
    """A workspace with one of each thing, for a write to happen in."""

    def __init__(self, admin: Caller, rep: Caller, customer: Any, opportunity: Any) -> None:
        self.admin, self.rep, self.customer, self.opportunity = admin, rep, customer, opportunity

    def post(self, path: str, body: Any) -> Awaitable[httpx.Response]:
        return self.admin.post(path, body, headers={"Idempotency-Key": "once"})

    @property
    def deal(self) -> str:
        return f"/v1/opportunities/{self.opportunity['id']}"

    @property
    def buyer(self) -> str:
        return f"/v1/customers/{self.customer['id']}"


async def make_scene(admin: Caller) -> Scene:
    rep = await admin.member("rep")
    customer = await admin.make_customer(owner_id=str(rep.member_id))
    opportunity = await admin.make_opportunity(customer["id"])
    return Scene(admin, rep, customer, opportunity)


def _give_away(scene: Scene) -> dict[str, Any]:
    return {"owner_id": None, "reason": "on leave"}


WRITES: dict[str, tuple[Write, list[str], set[str]]] = {
    "create_customer": (lambda s: s.post("/v1/customers", {"name": "New"}), ["customer.created"], {"customer"}),
    "patch_customer": (lambda s: s.admin.patch(s.buyer, {"name": "New"}), ["customer.updated"], {"customer"}),
    "create_opportunity": (
        lambda s: s.post("/v1/opportunities", {"name": "New", "customer_id": s.customer["id"]}),
        ["opportunity.created"],
        {"customer", "opportunity"},
    ),
    "patch_opportunity": (
        lambda s: s.admin.patch(s.deal, {"amount": money("5.00")}),
        ["opportunity.updated"],
        {"customer", "opportunity"},
    ),
    "delete_opportunity": (
        lambda s: s.admin.delete(s.deal),
        ["opportunity.deleted"],
        {"customer", "opportunity"},
    ),
    "pass": (
        lambda s: s.post(f"{s.deal}/transitions", {"action": "pass"}),
        ["opportunity.milestone_passed"],
        {"customer", "opportunity"},
    ),
    "lose": (
        lambda s: s.post(f"{s.deal}/transitions", {"action": "lose", "reason": "price"}),
        ["opportunity.lost"],
        {"customer", "opportunity"},
    ),
    "reassign_opportunity": (
        lambda s: s.post(f"{s.deal}:reassign", _give_away(s)),
        ["opportunity.reassigned"],
        {"customer", "opportunity", "owner"},
    ),
    "reassign_customer": (
        lambda s: s.post(f"{s.buyer}:reassign", {**_give_away(s), "with_opportunities": True}),
        ["customer.reassigned", "opportunity.reassigned"],
        {"customer", "opportunity", "owner"},
    ),
    "interaction": (
        lambda s: s.post(
            "/v1/interactions",
            {
                "customer_id": s.customer["id"],
                "opportunity_id": s.opportunity["id"],
                "kind": "visit",
                "promises": [{"title": "Call"}],
                "next_step": {"title": "Visit", "due_on": "2030-01-01"},
            },
        ),
        ["interaction.created", "task.created", "task.created"],
        {"opportunity"},
    ),
    "pin": (
        lambda s: s.post(
            "/v1/focus/pins",
            {
                "kind": "pin",
                "subject_type": "opportunity",
                "subject_id": s.opportunity["id"],
                "band": "track",
                "reason": "x",
                "expires_at": in_days(3),
            },
        ),
        ["focus.pinned"],
        {"owner"},
    ),
    "batch": (
        lambda s: s.post(
            "/v1/opportunities:batch",
            {
                "operations": [
                    {"kind": "create", "body": {"name": "New", "customer_id": s.customer["id"]}},
                    {"kind": "transition", "id": s.opportunity["id"], "body": {"action": "pass"}},
                ]
            },
        ),
        ["opportunity.created", "opportunity.milestone_passed"],
        {"customer", "opportunity"},
    ),
}


@pytest.mark.parametrize("name", list(WRITES))
async def test_a_write_leaves_exactly_its_effects(admin: Caller, name: str) -> None:
    write, types, marked = WRITES[name]
    scene = await make_scene(admin)
    before = await traces(admin)
    response = await write(scene)
    assert response.is_success, response.text
    left = (await traces(admin)).since(before)
    assert Counter(row["type"] for row in left.events) == Counter(types)
    assert {kind for kind, _ in left.marks} == marked
    assert len(left.audit) == len(types)
    assert len(left.transactions) == 1
    caused = {row["cause"].get("event_id") for row in left.marks.values()}
    assert caused <= {str(row["id"]) for row in left.events}


@pytest.mark.parametrize("name", ["create_customer", "patch_opportunity", "pass", "reassign_customer", "batch"])
async def test_what_is_repeated_or_refused_leaves_nothing(admin: Caller, name: str) -> None:
    write = WRITES[name][0]
    scene = await make_scene(admin)
    await write(scene)
    before = await everything(admin)
    again = await write(scene)
    assert again.is_success or again.status_code == 409
    assert await everything(admin) == before


@contextmanager
def after_statement(place: int, do: Callable[[Tx], Awaitable[None]]) -> Iterator[list[str]]:
    """Does something to a request when its statement number `place` (identity not counted) has run."""
    seen: list[str] = []

    def counting(name: str) -> Any:
        original = getattr(Tx, name)

        async def run(tx: Tx, query: Query, **given: Any) -> Any:
            done = await original(tx, query, **given)
            if "sales.api_keys" not in query.sql:
                seen.append(query.sql)
                if len(seen) == place:
                    await do(tx)
            return done

        return patch.object(Tx, name, run)

    with counting("rows"), counting("row"), counting("value"), counting("run"):
        yield seen


async def statements_of(admin: Caller, name: str) -> int:
    """How many statements a write has, tried in a scene of its own."""
    scene = await make_scene(admin)
    with after_statement(-1, _nothing) as seen, patch.object(Tx, "commit", autospec=True, side_effect=Tx.commit) as end:
        assert (await WRITES[name][0](scene)).is_success
    assert "events.write_effects" in end.await_args.args[1], "effects come last, with the COMMIT"
    return len(seen)


async def _nothing(_: Tx) -> None:
    return None


@pytest.mark.parametrize("name", [name for name in WRITES if name not in {"lose", "delete_opportunity"}])
async def test_a_server_lost_at_any_statement_leaves_nothing_and_can_be_repeated(
    admin: Caller, other: Caller, servers: Servers, name: str
) -> None:
    """The server process ends after each statement in turn; after the last one the effects and the COMMIT fail."""
    write = WRITES[name][0]
    scene = await make_scene(admin)
    before = await everything(admin)
    count = await statements_of(other, name)

    async def lose_server(tx: Tx) -> None:
        await end_backend(servers.database_url, tx.connection.get_server_pid())

    for place in range(1, count + 1):
        with after_statement(place, lose_server):
            response = await write(scene)
        assert (response.status_code, response.json()["code"]) == (503, "unavailable"), f"{name} {place}"
        assert await everything(admin) == before, f"{name}: something stayed after statement {place}"
    assert (await write(scene)).is_success
    assert await everything(admin) != before


@pytest.mark.parametrize("name", ["create_opportunity", "pass", "reassign_customer", "interaction"])
async def test_a_caller_who_leaves_at_any_statement_leaves_nothing(admin: Caller, other: Caller, name: str) -> None:
    write = WRITES[name][0]
    scene = await make_scene(admin)
    before = await everything(admin)
    pool = admin.state.database._pool
    idle = pool.get_size() - pool.get_idle_size()

    async def leave(_: Tx) -> None:
        present = asyncio.current_task()
        assert present is not None
        present.cancel()
        await asyncio.sleep(0)

    for place in range(1, await statements_of(other, name) + 1):
        with after_statement(place, leave), pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(write(scene))
        assert await everything(admin) == before, f"{name}: something stayed after statement {place}"
    assert pool.get_size() - pool.get_idle_size() == idle, "a connection was not given back"
    assert (await write(scene)).is_success


@pytest.mark.parametrize("name", ["create_customer", "pass"])
async def test_effects_that_can_not_be_written_take_the_fact_with_them(admin: Caller, name: str) -> None:
    scene = await make_scene(admin)
    before = await everything(admin)
    with patch("shared.outbox.new_id", side_effect=ValueError("no more ids")):
        failed = await WRITES[name][0](scene)
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    assert await everything(admin) == before


class Captured(logging.Handler):
    """Keeps every line that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.__dict__}")


async def _sing(admin: Caller) -> None:
    """Writes the canary into every personal field there is, by create, patch, upsert, and by what is refused."""
    note = f"{CANARY} of a person"
    person = {"phone": note, "email": f"{CANARY}@example.com", "address": note, "notes": note}
    household = {"name": note, "kind": "household", "website": note, "attributes": {"remark": note}}
    label = {"en": "Remark"}
    await admin.ok("POST", "/v1/attributes", {"subject": "customer", "key": "remark", "kind": "text", "label": label})
    customer = await admin.make_customer("Acme", **person)
    home = await admin.ok("POST", "/v1/customers", {**household, **person})
    await admin.ok("PUT", "/v1/customers/by-external-id/erp/1", {**household, **person})
    for path in (f"/v1/customers/{customer['id']}", f"/v1/customers/{home['id']}"):
        await admin.ok("PATCH", path, {name: f"{value}.again" for name, value in person.items()})
        await admin.ok("PATCH", path, {"clear": ["phone", "email", "address"]})
    contact_fields = {
        "name": note, "title": "Director", "personality": "owl", "phone": note, "email": f"{CANARY}@example.com",
        "birthday": "1971-02-03", "notes": note,
    }  # fmt: skip
    contact = await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], **contact_fields})
    await admin.ok("PATCH", f"/v1/contacts/{contact['id']}", {"name": f"{note} again", "notes": None})
    words = {"need": note, "pain": note, "notes": note, "line": "long", "line_reason": note, "resume_on": "2030-01-01"}
    deal = await admin.make_opportunity(customer["id"], owner_id=str(admin.member_id), **words)
    path = f"/v1/opportunities/{deal['id']}"
    await admin.ok("PATCH", path, {"need": f"{note} again", "pain": None, "line_reason": f"{note} again"})
    evidence = {"action": "pass", "note": note, "evidence": {"said": note}}
    await admin.ok("POST", f"{path}/transitions", evidence)
    touch = {"purpose": note, "summary": note, "place": note, "foreseen": note}
    body = {"customer_id": customer["id"], "opportunity_id": deal["id"], "kind": "call", **touch}
    step = {"next_step": {"title": note, "due_on": "2030-01-01"}, "promises": [{"title": note}]}
    touched = await admin.ok("POST", "/v1/interactions", {**body, **step, "contact_ids": [contact["id"]]})
    await admin.ok("PATCH", f"/v1/interactions/{touched['id']}", dict.fromkeys(touch, f"{note} again"))
    task = await admin.ok("POST", "/v1/tasks", {"title": note, "notes": note, "opportunity_id": deal["id"]})
    await admin.ok("PATCH", f"/v1/tasks/{task['id']}", {"title": f"{note} again"})
    await admin.ok("POST", f"/v1/tasks/{task['id']}:complete", {})
    pin = {"kind": "mute", "subject_type": "opportunity", "subject_id": deal["id"], "reason": note}
    await admin.ok("POST", "/v1/focus/pins", {**pin, "expires_at": in_days(3)})
    # A household that turns out to be an organisation: what it was called before is still a person's name.
    became = {"kind": "organisation", "name": "Home Ltd", "website": None, "attributes": {"remark": None}}
    await admin.ok("PATCH", f"/v1/customers/{home['id']}", became)
    for kind, id_ in (("tasks", task), ("interactions", touched), ("opportunities", deal), ("contacts", contact)):
        await admin.ok("DELETE", f"/v1/{kind}/{id_['id']}")
        await admin.ok("POST", f"/v1/{kind}/{id_['id']}:restore")


async def _sing_out_of_tune(admin: Caller) -> None:
    """The same in requests that are refused, some of them only by the database."""
    wrong: list[tuple[str, Any]] = [
        ("/v1/customers", {"name": CANARY, "phone": [CANARY]}),
        ("/v1/customers", {"name": CANARY, "attributes": {"remark": f"{CANARY}\x00"}}),
        ("/v1/customers", {"name": CANARY, "owner_id": CANARY}),
        ("/v1/contacts", {"name": CANARY, "customer_id": "0198c0de-0000-7000-8000-000000000000"}),
        ("/v1/customers", {"name": CANARY, "external_source": CANARY}),
    ]
    for path, body in wrong:
        assert (await admin.post(path, body)).status_code in {400, 404, 409, 422}


async def test_personal_values_enter_neither_events_nor_audit_nor_logs(
    admin: Caller, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root, captured = logging.getLogger(), Captured()
    level = root.level
    root.addHandler(captured)
    root.setLevel(logging.DEBUG)
    try:
        await _sing(admin)
        await _sing_out_of_tune(admin)
    finally:
        root.removeHandler(captured)
        root.setLevel(level)
    found = await traces(admin)
    assert len(found.events) > 20
    for row in [*found.events.values(), *found.audit.values(), *found.marks.values()]:
        assert CANARY not in str(dict(row)), dict(row)
        assert "1971-02-03" not in str(dict(row)), dict(row)
    lines = [*captured.lines, capsys.readouterr().out, caplog.text]
    assert [line for line in lines if CANARY in line] == []
    assert any('"event":"request"' in line for line in lines)


async def test_the_audit_names_changed_personal_fields_and_hides_their_values(admin: Caller) -> None:
    made = await admin.make_customer("Acme", phone="010")
    async with recording(admin) as seen:
        await admin.ok("PATCH", f"/v1/customers/{made['id']}", {"phone": "020", "industry": "steel"})
    entry = list((await traces(admin)).audit.values())[-1]
    assert entry["changes"] == {"phone": None, "industry": [None, "steel"]}
    assert len(seen) == 1
