"""The feed: its pages, its places, its filters, and who sees what."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI

from services.api.events.places import Places
from services.api.events.queries import _page, read_page
from services.api.events.stream import EventStream
from services.api.jobs.housekeeping import Housekeeping
from services.api.state import State
from shared.clock import FixedClock
from shared.events import EVENT_TYPES
from shared.feed import BEGINNING, Position
from shared.ids import new_id
from tests.conftest import Servers
from tests.events.support import streaming
from tests.support.caller import Caller
from tests.support.flow import working_day
from tests.support.scoring import drain
from tests.support.statements import statements


async def feed(caller: Caller, **params: Any) -> list[dict[str, Any]]:
    """All that the feed has for a caller, page by page."""
    found: list[dict[str, Any]] = []
    cursor = None
    for _ in range(200):
        page = await caller.ok("GET", "/v1/events", params={**params, **({"cursor": cursor} if cursor else {})})
        found += page["data"]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return found
    raise AssertionError("the feed does not end")


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_everything_is_there_once_in_order(admin: Caller, servers: Servers) -> None:
    await working_day(admin)
    await drain(servers, admin.workspace_id)
    whole = await feed(admin, limit=200)
    assert len(whole) > 45
    by_few = await feed(admin, limit=7)
    assert by_few == whole
    assert len({event["id"] for event in whole}) == len(whole)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        batch = await read_page(tx, BEGINNING, 1000)
    assert [str(row["id"]) for row in batch.rows] == [event["id"] for event in whole]
    assert not batch.more


async def test_the_last_page_says_where_to_go_on(admin: Caller) -> None:
    end = await admin.ok("GET", "/v1/events", params={"limit": 200})
    assert not end["has_more"]
    again = await admin.ok("GET", "/v1/events", params={"cursor": end["next_cursor"]})
    assert (again["data"], again["has_more"]) == ([], False)
    made = await admin.make_customer()
    for place in (end["next_cursor"], again["next_cursor"]):
        page = await admin.ok("GET", "/v1/events", params={"after": place})
        assert [event["subject"]["id"] for event in page["data"]] == [made["id"]]


async def test_an_event_has_the_envelope(admin: Caller) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Request-Id": "r-1", "traceparent": trace}
    made = (await admin.post("/v1/products", {"name": "Press"}, headers=headers)).json()
    event = (await feed(admin, type="product.created"))[0]
    assert event.pop("data")["name"] == "Press"
    assert datetime.fromisoformat(event.pop("recorded_at")) == datetime.fromisoformat(event.pop("timestamp"))
    assert event.pop("id")
    assert event == {
        "type": "product.created",
        "version": 1,
        "workspace_id": str(admin.workspace_id),
        "subject": {"type": "product", "id": made["id"]},
        "resource_version": 1,
        "owner_id": None,
        "actor_id": str(admin.member_id),
        "request_id": "r-1",
        "traceparent": trace,
    }


async def test_an_event_is_read_by_its_id_and_followed_by_those_after_it(admin: Caller, other: Caller) -> None:
    for name in ("A", "B", "C"):
        await admin.make_customer(name)
    a, b, c = await feed(admin, type="customer.created")
    assert await admin.ok("GET", f"/v1/events/{b['id']}") == b
    page = await admin.ok("GET", "/v1/events", params={"after": a["id"]})
    assert page["data"] == [b, c]
    assert (await other.get(f"/v1/events/{b['id']}")).status_code == 404
    assert (await admin.get(f"/v1/events/{new_id()}")).status_code == 404
    assert await feed(other, after=(await feed(other))[-1]["id"]) == []


async def test_filters(admin: Caller) -> None:
    rep = await admin.member("rep")
    deal = await admin.make_opportunity(owner_id=str(rep.member_id))
    await admin.transition(deal["id"], "pass")
    everything = await feed(admin)
    assert names(await feed(admin, type="opportunity.milestone_passed")) == ["opportunity.milestone_passed"]
    some = await feed(admin, type=["opportunity.*", "customer.created"])
    assert set(names(some)) == {"opportunity.created", "opportunity.milestone_passed", "customer.created"}
    assert await feed(admin, type="*") == everything
    about = await feed(admin, subject_id=deal["id"])
    assert names(about) == ["opportunity.created", "opportunity.milestone_passed"]
    assert await feed(admin, subject_type="opportunity") == about
    assert await feed(admin, owner_id=str(rep.member_id)) == about
    assert await feed(admin, subject_id=str(new_id())) == []
    assert await feed(admin, since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
    assert await feed(admin, since=(datetime.now(UTC) - timedelta(hours=1)).isoformat()) == everything


@pytest.mark.parametrize(
    ("params", "pointer", "code"),
    [
        ({"type": "opportunity.exploded"}, "?type", "unknown_code"),
        ({"type": ["task.*", "nothing.*"]}, "?type", "unknown_code"),
        ({"after": "nonsense"}, "?after", "invalid_cursor"),
        ({"cursor": "nonsense"}, "?cursor", "invalid_cursor"),
        ({"after": str(new_id())}, "?after", "invalid_cursor"),
        ({"after": "a", "cursor": "b"}, "?after", "contradiction"),
        ({"colour": "red"}, "?colour", "unknown_field"),
        ({"subject_id": "x"}, "?subject_id", "uuid_parsing"),
        ({"since": "yesterday"}, "?since", "datetime_from_date_parsing"),
        ({"limit": 0}, "?limit", "greater_than_equal"),
    ],
)
async def test_what_is_wrong_is_named(admin: Caller, params: dict[str, Any], pointer: str, code: str) -> None:
    response = await admin.get("/v1/events", params=params)
    assert response.status_code == 400, response.text
    assert [(each["pointer"], each["code"]) for each in response.json()["errors"]] == [(pointer, code)]


async def test_a_cursor_is_of_its_workspace_alone(admin: Caller, other: Caller) -> None:
    mine = (await admin.ok("GET", "/v1/events"))["next_cursor"]
    response = await other.get("/v1/events", params={"after": mine})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")


async def test_a_place_beyond_what_is_kept_is_gone(app: FastAPI, admin: Caller, state: State) -> None:
    places = state.hub.places(admin.workspace_id)
    now = datetime.now(UTC)
    elsewhere = Places(app.state.cursors, admin.workspace_id, state.settings.event_days, cluster=1)
    fresh = places.cursor(BEGINNING, now - timedelta(days=29))
    old = places.cursor(BEGINNING, now - timedelta(days=31))
    assert (await admin.get("/v1/events", params={"after": fresh})).status_code == 200
    old_id = new_id(int((now - timedelta(days=40)).timestamp() * 1000))
    for gone in (old, str(old_id), elsewhere.cursor(BEGINNING, now)):
        for path in ("/v1/events", "/v1/events/stream"):
            response = await admin.get(path, params={"after": gone})
            assert (response.status_code, response.json()["code"]) == (410, "cursor_expired"), response.text
            assert response.json()["errors"][0]["pointer"] == "?after"


async def test_a_cursor_that_is_used_stays_fresh(app: FastAPI, admin: Caller, state: State) -> None:
    """Whoever polls for months, with nothing new, still has a place that is good."""
    cursor = (await admin.ok("GET", "/v1/events"))["next_cursor"]
    clock, state.clock = state.clock, FixedClock(datetime.now(UTC) + timedelta(days=20))
    try:
        later = (await admin.ok("GET", "/v1/events", params={"cursor": cursor}))["next_cursor"]
        state.clock = FixedClock(datetime.now(UTC) + timedelta(days=40))
        assert (await admin.get("/v1/events", params={"cursor": cursor})).status_code == 410
        assert (await admin.get("/v1/events", params={"cursor": later})).status_code == 200
    finally:
        state.clock = clock


class TestWhoSeesWhat:
    """A rep sees the events of records they may see, and what they did; a manager the team's; a viewer all."""

    async def test_a_rep_sees_own_and_shared(self, admin: Caller) -> None:
        rep, stranger = await admin.member("rep"), await admin.member("rep")
        own = await rep.make_customer("Own")
        theirs = await stranger.make_customer("Theirs")
        shared = await stranger.make_opportunity(theirs["id"])
        contact = await admin.ok("POST", "/v1/contacts", {"customer_id": own["id"], "name": "Wang"})
        task = {"title": "Call", "customer_id": theirs["id"], "assignee_id": str(rep.member_id)}
        given = await admin.ok("POST", "/v1/tasks", task)
        hidden = await stranger.make_customer("Hidden")
        product = await admin.ok("POST", "/v1/products", {"name": "Press"})
        before = {event["subject"]["id"] for event in await feed(rep)}
        assert {own["id"], contact["id"], given["id"], product["id"]} <= before
        assert not before & {shared["id"], theirs["id"], hidden["id"]}
        await admin.ok("POST", f"/v1/opportunities/{shared['id']}/members", {"member_id": str(rep.member_id)})
        after = {event["subject"]["id"] for event in await feed(rep)}
        assert {shared["id"], theirs["id"]} <= after
        assert hidden["id"] not in after

    async def test_it_is_the_same_as_what_the_records_say(self, admin: Caller) -> None:
        """Every event of a rep is about a record they may read, or was caused by them, or befell their own."""
        rep = await admin.member("rep")
        made = await working_day(admin)
        await admin.ok("POST", f"/v1/opportunities/{made['opportunity']['id']}/members", {
            "member_id": str(rep.member_id)})  # fmt: skip
        paths = {"customer": "customers", "opportunity": "opportunities", "contact": "contacts", "task": "tasks",
                 "interaction": "interactions"}  # fmt: skip
        seen = {(event["subject"]["type"], event["subject"]["id"]) for event in await feed(rep)}
        all_of_them = {(event["subject"]["type"], event["subject"]["id"]) for event in await feed(admin)}
        checked = 0
        for kind, id_ in all_of_them:
            if kind not in paths or (await admin.get(f"/v1/{paths[kind]}/{id_}")).status_code != 200:
                continue
            readable = (await rep.get(f"/v1/{paths[kind]}/{id_}")).status_code == 200
            assert readable == ((kind, id_) in seen), (kind, id_)
            checked += readable
        assert checked > 3

    async def test_what_was_theirs_when_it_happened_stays_theirs_to_see(self, admin: Caller) -> None:
        rep, heir = await admin.member("rep"), await admin.member("rep")
        deal = await rep.make_opportunity()
        await admin.ok("POST", f"/v1/opportunities/{deal['id']}:reassign", {
            "owner_id": str(heir.member_id), "reason": "leave"})  # fmt: skip
        await heir.ok("PATCH", f"/v1/opportunities/{deal['id']}", {"fit_score": 0.5})
        about = {"subject_id": deal["id"]}
        assert names(await feed(rep, **about)) == ["opportunity.created"]
        assert names(await feed(heir, **about)) == [
            "opportunity.created", "opportunity.reassigned", "opportunity.updated",
        ]  # fmt: skip

    async def test_a_manager_sees_the_team_and_what_nobody_owns(self, admin: Caller) -> None:
        rep, stranger = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep)
        team, alien = await rep.make_customer(), await stranger.make_customer()
        unowned = await admin.make_customer(owner_id=None)
        seen = {event["subject"]["id"] for event in await feed(manager)}
        assert {team["id"], unowned["id"]} <= seen
        assert alien["id"] not in seen

    async def test_keys_and_imports_are_told_to_those_who_may_read_them(self, admin: Caller) -> None:
        rep, viewer = await admin.member("rep"), await admin.member("viewer")
        mine = await rep.ok("POST", "/v1/api-keys", {"name": "phone"})
        theirs = await admin.ok("POST", "/v1/api-keys", {"name": "laptop"})
        assert [event["subject"]["id"] for event in await feed(rep, type="api_key.*")] == [mine["id"]]
        assert {mine["id"], theirs["id"]} <= {event["subject"]["id"] for event in await feed(admin, type="api_key.*")}
        assert await feed(viewer, type="api_key.*") == []
        key = (await feed(admin, type="api_key.created"))[0]
        assert (await viewer.get(f"/v1/events/{key['id']}")).status_code == 404
        assert len(await feed(viewer)) > 0

    async def test_the_scope_opens_it(self, admin: Caller) -> None:
        narrow = await admin.ok("POST", "/v1/api-keys", {"name": "n", "scopes": ["customers:read"]})
        wide = await admin.ok("POST", "/v1/api-keys", {"name": "w", "scopes": ["events:read"]})
        for key, status in ((narrow, 403), (wide, 200)):
            for path in ("/v1/events", f"/v1/events?after={new_id()}") if status == 403 else ("/v1/events",):
                response = await admin.get(path, headers={"Authorization": f"Bearer {key['key']}"})
                assert response.status_code == status

    async def test_a_narrowed_key_is_told_of_what_it_may_read_alone(
        self, app: FastAPI, admin: Caller, state: State
    ) -> None:
        """In the feed, by an event's id, and over the stream; what the role may do besides opens nothing."""
        scopes = ["events:read", "products:read"]
        key = await admin.ok("POST", "/v1/api-keys", {"name": "n", "scopes": scopes})
        authorized = {"Authorization": f"Bearer {key['key']}"}
        async with (
            streaming(app, None, headers=authorized) as live,
            streaming(
                app,
                None,
                headers=authorized,
                after=state.hub.places(admin.workspace_id).cursor(BEGINNING, datetime.now(UTC)),
            ) as resumed,
        ):
            hidden = await admin.make_customer()
            product = await admin.ok("POST", "/v1/products", {"name": "Press"})
            # Making a member has the stream ask again who listens.
            await admin.member("rep")
            await admin.make_customer()
            second = await admin.ok("POST", "/v1/products", {"name": "Drill"})
            for stream in (live, resumed):
                told = [message.data["subject"]["id"] for message in await stream.take(2)]
                assert told == [product["id"], second["id"]]
        page = await admin.ok("GET", "/v1/events", headers=authorized)
        assert [event["subject"]["id"] for event in page["data"]] == [product["id"], second["id"]]
        event = (await feed(admin, subject_id=hidden["id"]))[0]
        assert (await admin.get(f"/v1/events/{event['id']}", headers=authorized)).status_code == 404
        assert (await admin.get(f"/v1/events/{page['data'][0]['id']}", headers=authorized)).status_code == 200


async def test_a_stream_that_never_begins_holds_no_place(app: FastAPI, admin: Caller, state: State) -> None:
    """The client was gone before its answer began, and the server did not so much as call it."""

    class Gone(Exception):
        pass

    async def never(*_: Any) -> None:
        raise Gone

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventStream, "__call__", never)
        with suppress(Gone):
            async with asyncio.timeout(5), streaming(app, admin) as failed:
                assert failed.status == 500
    assert state.hub.streams == 0
    async with streaming(app, admin) as stream:
        assert (stream.status, state.hub.streams) == (200, 1)
    assert state.hub.streams == 0


async def test_a_page_costs_as_much_whatever_is_asked_for(admin: Caller) -> None:
    rep = await admin.member("rep")
    for _ in range(30):
        await rep.make_opportunity()
    asked: list[tuple[Caller, dict[str, Any]]] = [
        (admin, {}), (admin, {"limit": 5}), (admin, {"type": "opportunity.*"}), (rep, {}), (rep, {"limit": 5}),
        (rep, {"type": "customer.created", "subject_type": "customer"}),
    ]  # fmt: skip
    for caller, params in asked:
        with statements() as seen:
            await caller.ok("GET", "/v1/events", params=params)
        assert len([sql for sql in seen if "events.outbox" in sql]) == 1
        assert len(seen) == 4  # two of them ask who is calling


async def test_a_page_looks_no_further_than_its_window(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few are wanted a page may be empty, and the pages together still have all of them."""
    monkeypatch.setattr("services.api.events.queries.WINDOW", 4)
    rep = await admin.member("rep")
    first = await rep.make_customer()
    for _ in range(10):
        await admin.make_customer(owner_id=None)
    last = await rep.make_customer()
    page = await rep.ok("GET", "/v1/events", params={"after": (await feed(rep))[-1]["id"]})
    assert page["data"] == []
    assert [event["subject"]["id"] for event in await feed(rep, type="customer.created")] == [first["id"], last["id"]]
    assert len(await feed(admin, type="customer.created")) == 12


@pytest.mark.parametrize("given", [(), ("types",), ("subject_id",), ("since",), ("owner_id", "subject_type")])
@pytest.mark.parametrize("everything", [True, False])
async def test_no_page_scans_the_table(admin: Caller, given: tuple[str, ...], everything: bool) -> None:
    """The outbox is reached through its indexes alone, and read in their order."""
    await admin.make_customer()
    values: dict[str, Any] = {
        "types": ["customer.created"], "subject_id": new_id(), "since": datetime.now(UTC), "owner_id": new_id(),
        "subject_type": "customer", "me": admin.member_id, "mine": [admin.member_id], "common": ["product"],
        "most": 51, "window": 1000, "xid": 0, "id": UUID(int=0),
    }  # fmt: skip
    query = _page(given, everything, audience=False)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        # The test's tables are all but empty, where a scan is the cheapest: whether an index serves is the question.
        await tx.connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        arguments = query.values({**values, "workspace_id": admin.workspace_id})
        plan = "\n".join(row[0] for row in await tx.connection.fetch(f"EXPLAIN {query.sql}", *arguments))
    assert "Seq Scan on outbox" not in plan, plan
    if "subject_id" not in given:
        assert "ix_outbox_order" in plan or "outbox_2" in plan
    assert "Merge Append" in plan or "Index Scan" in plan, plan


async def test_places_are_ordered_as_the_database_orders_them(admin: Caller) -> None:
    """By whole numbers of transactions, then by id: text or floats would go wrong."""
    low, high = UUID(int=1), UUID(int=2**127)
    assert Position(9, high) < Position(10, low) < Position(10, high)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        row = await tx.connection.fetchrow(
            "SELECT ('9'::xid8, $2::uuid) < ('10'::xid8, $1::uuid) AND ('10'::xid8, $1::uuid) < ('10'::xid8, $2::uuid)",
            low, high,
        )  # fmt: skip
    assert row is not None
    assert row[0]


async def test_every_type_is_documented(admin: Caller) -> None:
    listed = await admin.ok("GET", "/v1/event-types", headers={"Accept-Language": "zh-Hans"})
    assert {each["type"] for each in listed["data"]} == set(EVENT_TYPES)
    one = await admin.ok("GET", "/v1/event-types/opportunity.won")
    assert (one["label"], one["version"], one["subject_types"]) == ("Opportunity won", 1, ["opportunity"])
    assert one["example"]["type"] == "opportunity.won"
    assert one["data_schema"]["$schema"].endswith("2020-12/schema")
    assert (await admin.get("/v1/event-types/nothing.here")).status_code == 404
    catalog = await admin.ok("GET", "/v1/catalog")
    assert {each["code"] for each in catalog["enums"]["event_types"]} == set(EVENT_TYPES)


async def test_one_trace_links_a_request_and_what_follows_from_it(admin: Caller, servers: Servers) -> None:
    """The event of the request, and those of the judging that it set off."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    customer = await admin.make_customer(owner_id=str(admin.member_id))
    await drain(servers, admin.workspace_id)
    start = (await feed(admin))[-1]["id"]
    body = {"name": "Deal", "customer_id": customer["id"], "owner_id": str(admin.member_id)}
    await admin.post("/v1/opportunities", body, headers={"traceparent": trace, "X-Request-Id": "r-7"})
    await drain(servers, admin.workspace_id)
    followed = await feed(admin, after=start)
    assert {"opportunity.created", "opportunity.scored", "focus.moved"} <= set(names(followed))
    assert {(event["traceparent"], event["request_id"]) for event in followed} == {(trace, "r-7")}


async def test_events_of_a_backup_from_another_cluster_are_seen(admin: Caller, servers: Servers) -> None:
    """Their transactions' numbers lie in the future here; they are given one of the present, and nothing else is."""
    before = await feed(admin)
    made = [await admin.make_customer(name) for name in ("A", "B")]
    housekeeping = Housekeeping(admin.state.database, 30, 24)
    superuser = await asyncpg.connect(servers.superuser_url())
    await superuser.execute(
        "UPDATE events.outbox SET xid = (xid::text::bigint + 1000000000)::text::xid8"
        " WHERE workspace_id = $1 AND type = 'customer.created'",
        admin.workspace_id,
    )
    await superuser.close()
    assert await feed(admin) == before
    await housekeeping.settle()
    whole = await feed(admin)
    assert whole[: len(before)] == before
    assert [event["subject"]["id"] for event in whole[len(before) :]] == [each["id"] for each in made]
    await housekeeping.settle()
    assert await feed(admin) == whole


async def test_a_type_of_subject_that_there_is_not_is_refused_with_those_there_are(admin: Caller) -> None:
    response = await admin.get("/v1/events?subject_type=x")
    error = response.json()["errors"][0]
    assert (response.status_code, error["pointer"], error["code"]) == (400, "?subject_type", "unknown_code")
    assert "opportunity" in error["message"]
