"""The live stream: what it tells, from where it resumes, when it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from services.api.events.queries import read_page
from services.api.state import State
from shared.db import Database, open_database
from shared.feed import BEGINNING
from shared.ids import new_id
from tests.conftest import Servers
from tests.events.support import PATIENCE, Message, streaming
from tests.events.writing import crowd, write
from tests.support.caller import Caller
from tests.support.scoring import drain
from tests.support.statements import statements


@pytest.fixture
async def writers(servers: Servers) -> AsyncIterator[Database]:
    """Another process that writes."""
    database = await open_database(servers.database_url, "sixteen_api", size=12)
    yield database
    await database.close()


def subjects(messages: list[Message]) -> list[str]:
    return [message.data["subject"]["id"] for message in messages]


async def test_what_happens_is_told_at_once(app: FastAPI, admin: Caller) -> None:
    async with streaming(app, admin) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        made = await admin.make_customer()
        message = await stream.next(1)
    assert (message.event, message.data["subject"]) == ("customer.created", {"type": "customer", "id": made["id"]})
    assert message.data == (await admin.ok("GET", f"/v1/events/{message.data['id']}"))


async def test_a_move_of_the_focus_is_told(app: FastAPI, admin: Caller, servers: Servers) -> None:
    rep = await admin.member("rep")
    async with streaming(app, rep, type="focus.*") as stream:
        made = await rep.make_opportunity()
        await drain(servers, admin.workspace_id)
        message = await stream.next()
    assert message.event == "focus.moved"
    assert message.data["subject"] == {"type": "opportunity", "id": made["id"]}
    assert message.data["data"]["to"] is not None


async def test_filters(app: FastAPI, admin: Caller) -> None:
    one, two = await admin.make_customer("One"), await admin.make_customer("Two")
    async with (
        streaming(app, admin, type=["customer.updated", "task.*"]) as typed,
        streaming(app, admin, subject_id=two["id"]) as about,
        streaming(app, admin, subject_type="task") as tasks,
    ):
        await admin.ok("PATCH", f"/v1/customers/{one['id']}", {"industry": "steel"})
        await admin.ok("PATCH", f"/v1/customers/{two['id']}", {"industry": "steel"})
        task = await admin.ok("POST", "/v1/tasks", {"title": "Call", "customer_id": one["id"]})
        assert subjects(await typed.take(3)) == [one["id"], two["id"], task["id"]]
        assert subjects(await about.take(1)) == [two["id"]]
        assert subjects(await tasks.take(1)) == [task["id"]]
        assert about.messages.empty()
        assert tasks.messages.empty()


async def test_a_rep_hears_of_their_own_records_alone(app: FastAPI, admin: Caller) -> None:
    rep, stranger = await admin.member("rep"), await admin.member("rep")
    async with streaming(app, rep, type="customer.*") as stream:
        await stranger.make_customer("Hidden")
        contact = await stranger.make_customer("Handed over")
        body = {"owner_id": str(rep.member_id), "reason": "yours now"}
        await admin.ok("POST", f"/v1/customers/{contact['id']}:reassign", body)
        own = await rep.make_customer("Own")
        # The creation of what was handed over may or may not have been told before it was theirs.
        heard = subjects(await stream.take(2))
        assert (heard[0], heard[-1]) == (contact["id"], own["id"])


async def test_other_workspaces_are_not_heard(app: FastAPI, admin: Caller, other: Caller) -> None:
    async with streaming(app, admin) as mine, streaming(app, other) as theirs:
        a, b = await admin.make_customer(), await other.make_customer()
        assert subjects(await mine.take(1)) == [a["id"]]
        assert subjects(await theirs.take(1)) == [b["id"]]
        assert mine.messages.empty()
        assert theirs.messages.empty()


class TestResuming:
    """`Last-Event-ID`, or `after`: what came while nobody listened is told first."""

    async def test_from_the_last_message(self, app: FastAPI, admin: Caller) -> None:
        async with streaming(app, admin) as stream:
            await admin.make_customer("A")
            seen = await stream.next()
        missed = [(await admin.make_customer(name))["id"] for name in ("B", "C")]
        for place in ({"headers": {"Last-Event-ID": seen.id}}, {"after": seen.id}, {"after": seen.data["id"]}):
            async with streaming(app, admin, **place) as stream:
                assert subjects(await stream.take(2)) == missed

    async def test_before_the_first_message(self, app: FastAPI, admin: Caller) -> None:
        async with streaming(app, admin) as stream:
            place = stream.last_id
        made = await admin.make_customer()
        async with streaming(app, admin, headers={"Last-Event-ID": place}) as stream:
            assert subjects(await stream.take(1)) == [made["id"]]

    async def test_from_a_cursor_of_the_feed_and_back(self, app: FastAPI, admin: Caller) -> None:
        cursor = (await admin.ok("GET", "/v1/events"))["next_cursor"]
        made = [(await admin.make_customer(str(n)))["id"] for n in range(3)]
        async with streaming(app, admin, after=cursor) as stream:
            told = await stream.take(3)
        assert subjects(told) == made
        rest = await admin.ok("GET", "/v1/events", params={"after": told[0].id})
        assert [event["subject"]["id"] for event in rest["data"]] == made[1:]

    async def test_far_behind(self, app: FastAPI, admin: Caller, writers: Database) -> None:
        """More than a page, and more than is kept in memory."""
        made = await write(writers, admin.workspace_id, count=700)
        async with streaming(app, admin, after=_beginning(app, admin), type="member.created") as stream:
            assert [message.data["id"] for message in await stream.take(700)] == [str(each) for each in made]
            more = await write(writers, admin.workspace_id)
            assert (await stream.next()).data["id"] == str(more[0])

    async def test_a_broken_place_is_refused(self, app: FastAPI, admin: Caller, other: Caller) -> None:
        foreign = (await other.ok("GET", "/v1/events"))["next_cursor"]
        for place in ("nonsense", foreign):
            async with streaming(app, admin, headers={"Last-Event-ID": place}) as stream:
                assert stream.status == 400
                assert b"invalid_cursor" in stream.body

    @pytest.mark.parametrize("seed", [4, 5])
    async def test_connections_that_break_at_random_miss_nothing(
        self, app: FastAPI, admin: Caller, writers: Database, seed: int
    ) -> None:
        """A client that is cut off again and again while many write: every committed event, in order, none twice."""
        chance = random.Random(seed)
        seen: list[str] = []
        place = _beginning(app, admin)
        over = asyncio.Event()

        async def listen() -> None:
            nonlocal place
            while not over.is_set():
                async with streaming(app, admin, headers={"Last-Event-ID": place}, type="member.created") as stream:
                    patience = chance.choice((0.0, 0.01, 0.05, 0.2))
                    ending = asyncio.get_running_loop().time() + patience
                    while (left := ending - asyncio.get_running_loop().time()) > 0:
                        try:
                            message = await stream.next(left)
                        except TimeoutError:
                            break
                        seen.append(message.data["id"])
                        place = message.id

        listening = asyncio.create_task(listen())
        committed = await crowd(writers, admin.workspace_id, writers=10, turns=10, seed=seed)
        over.set()
        await listening
        expected = {str(each) for each in committed}
        async with streaming(app, admin, headers={"Last-Event-ID": place}, type="member.created") as stream:
            while len(seen) < len(expected):
                seen.append((await stream.next()).data["id"])
        assert len(seen) == len(set(seen))
        assert set(seen) == expected
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            rows = (await read_page(tx, BEGINNING, 10_000)).rows
        assert seen == [str(row["id"]) for row in rows if row["type"] == "member.created"]


def _beginning(app: FastAPI, caller: Caller) -> str:
    places = caller.state.hub.places(caller.workspace_id)
    return places.cursor(BEGINNING, caller.state.clock.now())


class TestEnding:
    """A stream ends with the rights of whoever holds it, with its process, and with a client that can't keep up."""

    async def test_a_key_that_is_revoked_hears_no_more(self, app: FastAPI, admin: Caller) -> None:
        made = await admin.ok("POST", "/v1/api-keys", {"name": "phone"})
        holder = Caller(admin.http, admin.state, admin.workspace_id, admin.member_id, made["key"])
        async with streaming(app, holder) as stream, streaming(app, admin) as mine:
            await admin.ok("DELETE", f"/v1/api-keys/{made['id']}")
            await stream.end()
            assert (await mine.next()).event == "api_key.revoked"
            assert not mine.ended.is_set()

    async def test_a_member_who_is_shut_out_hears_no_more(self, app: FastAPI, admin: Caller) -> None:
        rep = await admin.member("rep")
        async with streaming(app, rep) as stream:
            await admin.ok("PATCH", f"/v1/members/{rep.member_id}", {"active": False})
            await stream.end()
            assert stream.messages.empty()

    async def test_rights_that_change_hold_at_once(self, app: FastAPI, admin: Caller) -> None:
        rep = await admin.member("rep")
        async with streaming(app, rep, type="customer.created") as stream:
            await admin.make_customer("Hidden", owner_id=None)
            own = await rep.make_customer("Own")
            assert subjects(await stream.take(1)) == [own["id"]]
            await admin.ok("PATCH", f"/v1/members/{rep.member_id}", {"role": "admin"})
            seen = await admin.make_customer("Seen", owner_id=None)
            assert subjects(await stream.take(1)) == [seen["id"]]

    async def test_a_key_that_expires_hears_no_more(
        self, app: FastAPI, admin: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.api.events.stream.HEARTBEAT_SECONDS", 0.1)
        made = await admin.ok("POST", "/v1/api-keys", {"name": "phone"})
        holder = Caller(admin.http, admin.state, admin.workspace_id, admin.member_id, made["key"])
        async with streaming(app, holder) as stream:
            async with admin.state.database.transaction(admin.workspace_id) as tx:
                await tx.connection.execute(
                    "UPDATE sales.api_keys SET expires_at = now() WHERE workspace_id = $1 AND id = $2",
                    admin.workspace_id, made["id"],
                )  # fmt: skip
            await stream.end()
            await admin.make_customer()
            assert stream.messages.empty()

    async def test_quiet_times_have_heartbeats_that_move_the_place(
        self, app: FastAPI, admin: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.api.events.stream.HEARTBEAT_SECONDS", 0.05)
        async with streaming(app, admin, type="task.*") as stream:
            begun = stream.last_id
            await admin.make_customer()
            async with asyncio.timeout(PATIENCE):
                while (await admin.ok("GET", "/v1/events", params={"after": stream.last_id}))["data"]:
                    await asyncio.sleep(0.02)
            assert stream.comments.count("heartbeat") >= 1
            assert stream.messages.empty()
            assert stream.last_id != begun

    async def test_a_client_that_takes_nothing_is_let_go(
        self, app: FastAPI, admin: Caller, writers: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It fills no memory: it is let go, and has everything when it comes again."""
        monkeypatch.setattr("services.api.events.hub.KEPT", 20)
        stall = asyncio.Event()
        async with (
            streaming(app, admin, type="member.created", stall=stall) as stream,
            streaming(app, admin, type="member.created") as quick,
        ):
            made = await write(writers, admin.workspace_id)
            told = [(await stream.next()).data["id"]]
            stall.set()
            # What the quick one has been told has been read, and the oldest of it let go.
            for count in (1, 15, 15, 15, 15):
                made += await write(writers, admin.workspace_id, count=count)
                while quick.told < len(made):
                    await quick.next()
            stall.clear()
            await stream.end()
            while not stream.messages.empty():
                told.append(stream.messages.get_nowait().data["id"])
            place = stream.last_id
        assert len(told) < len(made)
        async with streaming(app, admin, headers={"Last-Event-ID": place}, type="member.created") as stream:
            told += [message.data["id"] for message in await stream.take(len(made) - len(told))]
        assert told == [str(each) for each in made]

    async def test_a_client_that_hangs_is_let_go(
        self, app: FastAPI, admin: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.api.events.stream.STALLED_SECONDS", 0.1)
        stall = asyncio.Event()
        async with streaming(app, admin, stall=stall) as stream:
            stall.set()
            await admin.make_customer()
            await stream.end()
        assert admin.state.hub.streams == 0

    async def test_the_process_stops_with_streams_open(self, app: FastAPI, admin: Caller, state: State) -> None:
        hub = state.hub
        async with streaming(app, admin) as stream:
            hub.stop()
            try:
                await stream.end()
                async with streaming(app, admin) as refused:
                    assert refused.status == 503
            finally:
                hub.closing.clear()
        assert hub.streams == 0

    async def test_too_many(self, app: FastAPI, admin: Caller, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(state.hub, "_most_per_caller", 2)
        rep = await admin.member("rep")
        async with streaming(app, admin), streaming(app, admin), streaming(app, rep):
            async with streaming(app, admin) as third:
                assert third.status == 429
                assert third.headers["retry-after"]
            monkeypatch.setattr(state.hub, "_most", 3)
            async with streaming(app, rep) as fourth:
                assert fourth.status == 503
        assert state.hub.streams == 0

    async def test_it_needs_its_scope(self, app: FastAPI, admin: Caller) -> None:
        narrow = await admin.ok("POST", "/v1/api-keys", {"name": "n", "scopes": ["customers:read"]})
        async with streaming(app, None, headers={"Authorization": f"Bearer {narrow['key']}"}) as stream:
            assert stream.status == 403
        async with streaming(app, None) as stream:
            assert stream.status == 401
        async with streaming(app, admin, colour="red") as stream:
            assert stream.status == 400
        async with streaming(app, admin, type="nothing.here") as stream:
            assert (stream.status, b"?type" in stream.body) == (400, True)


class TestTickets:
    """For an EventSource, which can't send a key."""

    async def test_one_opens_one_stream_once(self, app: FastAPI, admin: Caller) -> None:
        response = await admin.post("/v1/stream-tickets")
        assert response.status_code == 201
        assert response.headers["location"] == "/v1/events/stream"
        ticket = response.json()["ticket"]
        async with streaming(app, None, ticket=ticket) as stream:
            assert stream.status == 200
            made = await admin.make_customer()
            assert subjects(await stream.take(1)) == [made["id"]]
        async with streaming(app, None, ticket=ticket) as stream:
            assert stream.status == 401

    async def test_what_is_asked_wrong_costs_no_ticket(self, app: FastAPI, admin: Caller) -> None:
        ticket = (await admin.ok("POST", "/v1/stream-tickets"))["ticket"]
        wrong = {"type": "no.such"}, {"subject_type": "cow"}, {"subject_id": "x"}, {"colour": "red"}, {"after": "x"}
        for params in wrong:
            async with streaming(app, None, ticket=ticket, **params) as stream:
                assert stream.status == 400, params
        async with streaming(app, None, ticket=ticket, headers={"Last-Event-ID": "nowhere"}) as stream:
            assert stream.status == 400
        async with streaming(app, None, ticket=ticket) as stream:
            assert stream.status == 200

    async def test_a_stream_for_which_there_is_no_place_costs_no_ticket(
        self, app: FastAPI, admin: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ticket = (await admin.ok("POST", "/v1/stream-tickets"))["ticket"]
        for limit, status in (("_most_per_caller", 429), ("_most", 503)):
            with monkeypatch.context() as full:
                full.setattr(admin.state.hub, limit, 0)
                async with streaming(app, None, ticket=ticket) as stream:
                    assert stream.status == status
        async with streaming(app, None, ticket=ticket) as stream:
            assert stream.status == 200

    async def test_a_ticket_that_another_has_used_holds_no_place(self, app: FastAPI, admin: Caller) -> None:
        ticket = (await admin.ok("POST", "/v1/stream-tickets"))["ticket"]
        held = admin.state.hub.streams

        async def come() -> int:
            async with streaming(app, None, ticket=ticket) as stream:
                return stream.status

        assert sorted(await asyncio.gather(*(come() for _ in range(4)))) == [200] + [401] * 3
        assert admin.state.hub.streams == held

    async def test_of_many_who_come_with_one_at_once_one_is_let_in(self, app: FastAPI, admin: Caller) -> None:
        ticket = (await admin.ok("POST", "/v1/stream-tickets"))["ticket"]

        async def come() -> int:
            async with streaming(app, None, ticket=ticket) as stream:
                return stream.status

        assert sorted(await asyncio.gather(*(come() for _ in range(6)))) == [200] + [401] * 5

    async def test_it_is_of_its_maker(self, app: FastAPI, admin: Caller) -> None:
        rep = await admin.member("rep")
        ticket = (await rep.ok("POST", "/v1/stream-tickets"))["ticket"]
        async with streaming(app, None, ticket=ticket, type="customer.*") as stream:
            await admin.make_customer("Hidden", owner_id=None)
            own = await rep.make_customer("Own")
            assert subjects(await stream.take(1)) == [own["id"]]
            await admin.ok("PATCH", f"/v1/members/{rep.member_id}", {"active": False})
            await stream.end()

    async def test_what_is_no_ticket_opens_nothing(self, app: FastAPI, admin: Caller) -> None:
        ticket = (await admin.ok("POST", "/v1/stream-tickets"))["ticket"]
        wrong = ["", "x", "sixteen_ticket_", ticket[:-4] + "AAAA", ticket + "A", "sixteen_ticket_é", f"{ticket}\x00"]
        for each in wrong:
            async with streaming(app, None, ticket=each) as stream:
                assert stream.status in {400, 401}, each
        async with streaming(app, admin, ticket=ticket) as both:
            assert both.status == 400
        response = await admin.get("/v1/customers", params={"ticket": ticket}, headers={"Authorization": ""})
        assert response.status_code == 401

    async def test_it_runs_out(self, app: FastAPI, admin: Caller) -> None:
        ticket = (await admin.ok("POST", "/v1/stream-tickets"))["ticket"]
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            # Nobody may change a ticket: an old one is put in its place.
            row = await tx.connection.fetchrow("DELETE FROM events.stream_tickets RETURNING *")
            assert row is not None
            await tx.connection.execute(
                "INSERT INTO events.stream_tickets VALUES ($1, $2, $3, $4, $5, now() - interval '1 second')",
                row["workspace_id"], row["digest"], row["member_id"], row["key_id"], row["scopes"],
            )  # fmt: skip
        async with streaming(app, None, ticket=ticket) as stream:
            assert stream.status == 401

    async def test_a_repeated_answer_holds_no_secret(self, admin: Caller) -> None:
        headers = {"Idempotency-Key": "t"}
        first = await admin.post("/v1/stream-tickets", headers=headers)
        again = await admin.post("/v1/stream-tickets", headers=headers)
        assert first.json()["ticket"]
        assert again.json()["ticket"] is None


async def test_a_hundred_streams_read_once(app: FastAPI, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reader a workspace: an event costs as many statements for many clients as for one."""
    monkeypatch.setattr(admin.state.hub, "_most_per_caller", 200)

    async def reads(count: int) -> int:
        async with asyncio.timeout(30):
            contexts = [streaming(app, admin) for _ in range(count)]
            streams = [await each.__aenter__() for each in contexts]
            with statements() as seen:
                made = await admin.make_customer()
                for stream in streams:
                    assert subjects(await stream.take(1)) == [made["id"]]
                read = sum("events.outbox" in each and "horizon" in each for each in seen)
            for context in contexts:
                await context.__aexit__(None, None, None)
            return read

    assert await reads(1) <= 3
    assert await reads(100) <= 3


async def test_hints_of_other_processes_are_heard(app: FastAPI, admin: Caller, writers: Database, state: State) -> None:
    """What another process commits is told as soon as it says so, not at the next look a second later."""
    waits: list[float] = []
    clock = asyncio.get_running_loop().time
    async with streaming(app, admin, type="member.created") as stream:
        for _ in range(10):
            await asyncio.sleep(0.05)
            started = clock()
            await write(writers, admin.workspace_id)
            # As the scoring worker and the api-worker do: to Redis, and no other way.
            redis = await state.nudger._connection()
            await redis.publish("sixteen:events", str(admin.workspace_id))
            await stream.next()
            waits.append(clock() - started)
    assert sorted(waits)[5] < 0.3, waits


async def test_without_a_hint_it_is_told_within_a_second(app: FastAPI, admin: Caller, writers: Database) -> None:
    async with streaming(app, admin, type="member.created") as stream:
        [made] = await write(writers, admin.workspace_id)
        assert (await stream.next(2)).data["id"] == str(made)


async def test_no_connection_is_held_while_a_stream_waits(app: FastAPI, admin: Caller, state: State) -> None:
    async with streaming(app, admin), streaming(app, admin):
        free: Any = None
        for _ in range(50):
            await asyncio.sleep(0.02)
            free = state.database._pool.get_idle_size() == state.database._pool.get_size()
            if free:
                break
        assert free


async def test_rubbish_on_the_channel_harms_nobody(app: FastAPI, admin: Caller, state: State) -> None:
    redis = await state.nudger._connection()
    async with streaming(app, admin) as stream:
        for rubbish in (b"", b"\xff\xfe", b"not an id", str(new_id()).encode()):
            await redis.publish("sixteen:events", rubbish)
        made = await admin.make_customer()
        assert subjects(await stream.take(1)) == [made["id"]]
