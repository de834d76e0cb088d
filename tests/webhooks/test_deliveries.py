"""Samples, deliveries, attempts, statistics: what is made, and what can be read of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from services.api.delivery.fanout import fan_out
from services.api.webhooks.messages import MOST_BYTES, message_body
from shared.db import sql
from shared.events import COLUMNS, EVENT_TYPES
from shared.ids import new_id
from tests.support.caller import Caller
from tests.support.statements import statements
from tests.support.webhooks import ENDPOINTS, make_attempt, make_endpoint

EVENTS = sql(f"SELECT {', '.join(COLUMNS)} FROM events.outbox WHERE workspace_id = :workspace_id ORDER BY xid, id")
TAKERS = sql("SELECT * FROM events.webhook_endpoints WHERE workspace_id = :workspace_id")
MESSAGES = sql("SELECT * FROM events.webhook_messages WHERE workspace_id = :workspace_id")
QUEUE = sql("SELECT * FROM events.webhook_queue WHERE workspace_id = :workspace_id")
SETTLED = sql(
    "UPDATE events.webhook_deliveries SET status = :status, attempts = 10, next_attempt_at = NULL"
    " WHERE workspace_id = :workspace_id"
)


async def rows(admin: Caller, query: Any, **given: Any) -> list[Any]:
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        return await tx.rows(query, **given)


async def hand_out(admin: Caller) -> int:
    """Every event so far to every endpoint that wants it, as the relay does; how many deliveries it made."""
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        return len(await fan_out(tx, await tx.rows(EVENTS), await tx.rows(TAKERS)))


async def settle(admin: Caller, status: str) -> None:
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.run(SETTLED, status=status)


class TestSample:
    """`:test` is a real delivery of an example."""

    async def test_a_sample_waits_for_its_endpoint_alone(self, admin: Caller) -> None:
        made, other = await make_endpoint(admin), await make_endpoint(admin)
        response = await admin.post(f"{ENDPOINTS}/{made['id']}:test", {"event_type": "opportunity.won"})
        delivery = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == f"/v1/webhook-deliveries/{delivery['id']}"
        assert (delivery["status"], delivery["test"], delivery["event_type"]) == ("pending", True, "opportunity.won")
        read = await admin.get(response.headers["location"])
        assert (read.json(), read.headers["etag"]) == (delivery, response.headers["etag"])
        assert [str(row["delivery_id"]) for row in await rows(admin, QUEUE)] == [delivery["id"]]
        body = orjson.loads((await rows(admin, MESSAGES))[0]["body"])
        assert (body["id"], body["type"]) == (delivery["event_id"], "opportunity.won")
        assert body["data"] == EVENT_TYPES["opportunity.won"].example
        assert (await admin.ok("GET", f"{ENDPOINTS}/{other['id']}/deliveries"))["data"] == []
        # Nothing happened: the feed does not know it.
        assert delivery["event_id"] not in {str(row["id"]) for row in await rows(admin, EVENTS)}

    async def test_by_default_it_is_of_a_type_that_the_endpoint_takes(self, admin: Caller) -> None:
        made = await make_endpoint(admin, event_types=["focus.*"], thin=True)
        delivery = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:test")
        assert delivery["event_type"].startswith("focus.")
        assert "data" not in orjson.loads((await rows(admin, MESSAGES))[0]["body"])

    async def test_a_wrong_type_or_a_disabled_endpoint_is_refused(self, admin: Caller) -> None:
        made = await make_endpoint(admin)
        path = f"{ENDPOINTS}/{made['id']}"
        for name in ("opportunity.sold", "opportunity.*"):
            wrong = await admin.post(f"{path}:test", {"event_type": name})
            assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/event_type")
        await admin.ok("PATCH", path, {"disabled": True})
        held = await admin.post(f"{path}:test", {})
        assert (held.status_code, held.json()["code"]) == (409, "conflict")


class TestMessages:
    """The bytes that are sent."""

    def _event(self, **data: Any) -> dict[str, Any]:
        made: dict[str, Any] = dict.fromkeys(COLUMNS)
        return made | {"id": new_id(), "type": "opportunity.won", "version": 1, "resource_version": 7, "data": data}

    def test_a_message_says_which_version_of_its_subject_it_tells_of(self) -> None:
        body = orjson.loads(message_body(self._event(name="x"), thin=False))
        assert (body["resource_version"], body["data"]) == (7, {"name": "x"})

    def test_a_message_never_exceeds_its_limit(self) -> None:
        event = self._event(need="x" * MOST_BYTES)
        body = message_body(event, thin=False)
        assert len(body) < MOST_BYTES
        assert body == message_body(event, thin=True)
        assert "data" not in orjson.loads(body)

    async def test_what_waits_is_told_in_the_new_form(self, admin: Caller) -> None:
        made = await make_endpoint(admin)
        await admin.make_customer()
        assert await hand_out(admin) > 0
        whole = {row["event_id"] for row in await rows(admin, MESSAGES)}
        await admin.ok("PATCH", f"{ENDPOINTS}/{made['id']}", {"thin": True})
        kept = await rows(admin, MESSAGES)
        assert {row["event_id"] for row in kept if row["thin"]} == whole
        assert all("data" not in orjson.loads(row["body"]) for row in kept if row["thin"])
        with statements() as seen:
            await admin.ok("PATCH", f"{ENDPOINTS}/{made['id']}", {"thin": False})
        assert len(seen) <= 8


class TestAttempts:
    """Listed by what one looks for, newest first, paged; one with what was sent and received."""

    async def _some(self, admin: Caller) -> tuple[str, dict[str, Any], list[str]]:
        made = await make_endpoint(admin)
        path = f"{ENDPOINTS}/{made['id']}"
        won = await admin.ok("POST", f"{path}:test", {"event_type": "opportunity.won"})
        lost = await admin.ok("POST", f"{path}:test", {"event_type": "opportunity.lost"})
        given: list[tuple[str, str, int | None]] = [
            (won["id"], "server_error", 503),
            (won["id"], "success", 204),
            (lost["id"], "timeout", None),
            (lost["id"], "client_error", 404),
        ]
        ids = [
            await make_attempt(admin, id_, outcome=outcome, status=status, number=number)
            for number, (id_, outcome, status) in enumerate(given, start=1)
        ]
        return path, {"won": won, "lost": lost}, ids

    async def test_filters(self, admin: Caller) -> None:
        path, made, ids = await self._some(admin)
        wanted = {
            "": ids,
            "outcome=timeout": ids[2:3],
            "code_class=5xx": ids[:1],
            "code_class=2xx": ids[1:2],
            "code_class=none": ids[2:3],
            "status_code=404": ids[3:],
            "event_type=opportunity.won": ids[:2],
            f"event_id={made['lost']['event_id']}": ids[2:],
            f"delivery_id={made['won']['id']}": ids[:2],
            "since=2199-01-01T00:00:00Z": [],
            "until=2020-01-01T00:00:00Z": [],
            "since=2020-01-01T00:00:00Z&until=2199-01-01T00:00:00Z": ids,
        }
        for query, expected in wanted.items():
            found = [row["id"] for row in (await admin.ok("GET", f"{path}/attempts?{query}"))["data"]]
            assert found == expected[::-1], query
        for query in ("outcome=fine", "code_class=1xx", "status=failed", "since=yesterday"):
            response = await admin.get(f"{path}/attempts?{query}")
            assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter"), query

    async def test_pages(self, admin: Caller) -> None:
        path, _, ids = await self._some(admin)
        seen: list[str] = []
        cursor = ""
        for _ in ids:
            page = await admin.ok("GET", f"{path}/attempts?limit=1{cursor}")
            seen += [row["id"] for row in page["data"]]
            cursor = f"&cursor={page['next_cursor']}"
        assert (seen, page["has_more"]) == (ids[::-1], False)
        first = await admin.ok("GET", f"{path}/attempts?limit=1")
        foreign = await admin.get(f"{path}/deliveries?limit=1&cursor={first['next_cursor']}")
        assert (foreign.status_code, foreign.json()["code"]) == (400, "invalid_cursor")

    async def test_one_has_what_was_sent_and_what_came_back(self, admin: Caller) -> None:
        _, made, ids = await self._some(admin)
        one = await admin.ok("GET", f"/v1/webhook-attempts/{ids[1]}")
        assert (one["outcome"], one["number"], one["delivery_id"]) == ("success", 2, made["won"]["id"])
        assert orjson.loads(one["request"]["body"])["id"] == made["won"]["event_id"]
        assert one["response"]["body"] == "thanks \ufffd"
        assert (one["response"]["status_code"], one["response"]["remote_ip"]) == (204, "192.0.2.7")

    async def test_statistics(self, admin: Caller) -> None:
        path, _, _ = await self._some(admin)
        stats = await admin.ok("GET", f"{path}/stats")
        assert (stats["attempts"], stats["successes"], stats["failures"]) == (4, 1, 3)
        assert stats["by_outcome"] == {"success": 1, "server_error": 1, "timeout": 1, "client_error": 1}
        assert stats["duration_ms_p50"] == 12
        assert stats["health"]["pending"] == 2
        assert stats["health"]["breaker"] == "closed"
        empty = await admin.ok("GET", f"{path}/stats?until=2020-01-01T00:00:00Z")
        assert (empty["attempts"], empty["by_outcome"], empty["duration_ms_p99"]) == (0, {}, None)

    @pytest.mark.parametrize("part", ["attempts", "deliveries", "stats"])
    async def test_the_others_see_nothing(self, admin: Caller, other: Caller, part: str) -> None:
        path, made, ids = await self._some(admin)
        assert (await other.get(f"{path}/{part}")).status_code == 404
        assert (await other.get(f"/v1/webhook-attempts/{ids[0]}")).status_code == 404
        assert (await other.post(f"/v1/webhook-deliveries/{made['won']['id']}:resend")).status_code == 404


class TestDeliveries:
    """Deliveries of real events."""

    async def test_listed_by_status_type_and_time(self, admin: Caller) -> None:
        made = await make_endpoint(admin, event_types=["customer.*"])
        customer = await admin.make_customer()
        await admin.ok("PATCH", f"/v1/customers/{customer['id']}", {"industry": "steel"})
        assert await hand_out(admin) == 2
        path = f"{ENDPOINTS}/{made['id']}/deliveries"
        listed = (await admin.ok("GET", path))["data"]
        assert [row["event_type"] for row in listed] == ["customer.updated", "customer.created"]
        for query, count in (
            ("status=pending", 2),
            ("status=failed", 0),
            ("event_type=customer.created", 1),
            (f"event_id={listed[0]['event_id']}", 1),
            ("until=2020-01-01T00:00:00Z", 0),
        ):
            assert len((await admin.ok("GET", f"{path}?{query}"))["data"]) == count, query
        assert await hand_out(admin) == 0

    async def test_a_deleted_endpoint_leaves_nothing_waiting(self, admin: Caller) -> None:
        made = await make_endpoint(admin, event_types=["customer.*"])
        await admin.make_customer()
        await hand_out(admin)
        assert len(await rows(admin, QUEUE)) == 1
        listed = (await admin.ok("GET", f"{ENDPOINTS}/{made['id']}/deliveries"))["data"]
        await admin.delete(f"{ENDPOINTS}/{made['id']}")
        assert await rows(admin, QUEUE) == []
        kept = await admin.ok("GET", f"/v1/webhook-deliveries/{listed[0]['id']}")
        assert (kept["status"], kept["last_error"]) == ("skipped", "The endpoint was deleted.")
        assert (await admin.post(f"/v1/webhook-deliveries/{kept['id']}:resend")).status_code == 404

    @pytest.mark.parametrize("status", ["failed", "delivered", "skipped", "pending"])
    async def test_resending_makes_it_due_with_its_whole_schedule(self, admin: Caller, status: str) -> None:
        made = await make_endpoint(admin, event_types=["customer.*"])
        await admin.make_customer()
        await hand_out(admin)
        if status != "pending":
            await settle(admin, status)
            assert await rows(admin, QUEUE) == []
        listed = (await admin.ok("GET", f"{ENDPOINTS}/{made['id']}/deliveries"))["data"][0]
        response = await admin.post(f"/v1/webhook-deliveries/{listed['id']}:resend")
        job = response.json()
        assert (response.status_code, job["status"], job["requested"]) == (201, "succeeded", 1)
        assert response.headers["location"] == f"/v1/webhook-jobs/{job['id']}"
        after = await admin.ok("GET", f"/v1/webhook-deliveries/{listed['id']}")
        assert (after["status"], after["attempts"], after["requested_by"]) == ("pending", 0, job["id"])
        assert after["event_id"] == listed["event_id"]
        waiting = await rows(admin, QUEUE)
        assert [(row["delivery_id"], row["attempts"]) for row in waiting] == [(UUID(listed["id"]), 0)]
        assert len(await rows(admin, MESSAGES)) == 1

    async def test_lists_cost_the_same_for_one_and_for_many(self, admin: Caller) -> None:
        made = await make_endpoint(admin)
        counts = []
        for more in (1, 20):
            for _ in range(more):
                delivery = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:test", {})
                await make_attempt(admin, delivery["id"])
            for part in ("attempts", "deliveries", "stats"):
                with statements() as seen:
                    await admin.ok("GET", f"{ENDPOINTS}/{made['id']}/{part}")
                counts.append(len(seen))
        assert counts[:3] == counts[3:]


async def test_what_waits_too_long_goes_with_its_day(admin: Caller, as_api: asyncpg.Connection) -> None:
    """Its event is dropped with the partition: there is nothing left to send."""
    made = await make_endpoint(admin, disabled=True)
    old = sql(
        "INSERT INTO events.webhook_queue (workspace_id, delivery_id, event_recorded_at, endpoint_id, next_attempt_at)"
        " VALUES (:workspace_id, :id, current_date - CAST(:days AS int), :endpoint_id, now())"
    )
    kept = new_id()
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.run(old, id=new_id(), days=41, endpoint_id=UUID(made["id"]))
        await tx.run(old, id=kept, days=39, endpoint_id=UUID(made["id"]))
    await as_api.execute("SELECT events.drop_partitions(current_date - 40)")
    assert [row["delivery_id"] for row in await rows(admin, QUEUE)] == [kept]


async def test_every_table_by_day_is_made_ahead_and_dropped(as_api: asyncpg.Connection) -> None:
    names = ("outbox", "webhook_messages", "webhook_deliveries", "webhook_attempts")
    count = (
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname = ANY ("
        " SELECT n || '_' || to_char(current_date - 50, 'YYYYMMDD') FROM unnest($1::text[]) n)"
    )
    await as_api.execute("SELECT events.ensure_partitions(current_date - 50, current_date - 50)")
    assert await as_api.fetchval(count, list(names)) == 4
    await as_api.execute("SELECT events.drop_partitions(current_date - 45)")
    assert await as_api.fetchval(count, list(names)) == 0
