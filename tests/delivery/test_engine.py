"""From an event to its receivers, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from standardwebhooks import Webhook, WebhookVerificationError

from services.api.delivery import claims
from shared.clock import FixedClock
from shared.db import Row
from shared.events import EVENT_TYPES
from shared.ids import new_id
from shared.probes import Heartbeat
from tests.conftest import Servers
from tests.delivery.receivers import Farm, Received
from tests.delivery.support import CUSTOMER, Sender, open_sender
from tests.faults.installation import free_port


async def test_an_event_reaches_its_receiver_with_a_signature_that_verifies(sender: Sender, farm: Farm) -> None:
    endpoint_id = await sender.endpoint(farm.url("/ok/a"))
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    (event_id,) = await sender.emit(traceparent=trace)
    await sender.settle()
    (got,) = farm.received["/ok/a"]
    assert got.id == str(event_id)
    body = Webhook(sender.secrets[endpoint_id]).verify(got.body, got.headers)
    assert (body["id"], body["type"], body["data"]) == (str(event_id), "customer.updated", CUSTOMER)
    assert body["resource_version"] == 1
    assert got.headers["traceparent"].split("-")[1] == "ab" * 16
    assert got.headers["traceparent"] != trace
    (delivery,) = await sender.deliveries()
    assert (delivery["status"], delivery["attempts"], delivery["next_attempt_at"]) == ("delivered", 1, None)
    assert await sender.read("SELECT 1 FROM events.webhook_queue WHERE workspace_id = $1") == []
    (attempt,) = await sender.attempts()
    assert (attempt["outcome"], attempt["status_code"], attempt["remote_ip"]) == ("success", 200, "127.0.0.1")
    assert (attempt["response_body"], attempt["number"]) == (b'{"ok":true}', 1)
    stored = await sender.read("SELECT body FROM events.webhook_messages WHERE workspace_id = $1")
    assert [row["body"] for row in stored] == [got.body]


async def test_both_kinds_of_signature_through_a_rotation(own_servers: Servers, farm: Farm) -> None:
    """The old key's receivers verify until the very end of its grace, the new one's from the first moment."""
    clock = FixedClock(datetime.now(UTC))
    async with open_sender(own_servers, clock) as sender:
        endpoint_id = await sender.endpoint(farm.url("/ok/a"), signatures=["v1", "v1a"])
        old = {row["kind"]: row for row in await sender.good_keys(endpoint_id)}
        begun = clock.now()
        await sender.rotate(endpoint_id, timedelta(hours=1))
        new = {row["kind"]: row for row in await sender.good_keys(endpoint_id) if row["expires_at"] is None}
        for later, old_is_good in (
            (timedelta(0), True),
            (timedelta(seconds=3599), True),
            (timedelta(seconds=3600), False),
        ):
            await sender.forward(begun + later)
            await sender.emit()
            await sender.settle()
            got = farm.received["/ok/a"][-1]
            assert _verifies(sender, new, got)
            assert _verifies(sender, old, got) is old_is_good
            assert len(got.headers["webhook-signature"].split()) == (4 if old_is_good else 2)


def _verifies(sender: Sender, rows: dict[str, Row], got: Received) -> bool:
    """What the official library and PyNaCl say, who must agree. (The library knows the real time alone.)"""
    secret = sender.opened(rows["v1"])
    stamp = int(got.headers["webhook-timestamp"])
    with patch("standardwebhooks.webhooks.datetime") as at:
        at.now.return_value = datetime.fromtimestamp(stamp, UTC)
        at.fromtimestamp = datetime.fromtimestamp
        try:
            Webhook(secret).verify(got.body, got.headers)
            by_hmac = True
        except WebhookVerificationError:
            by_hmac = False
    content = f"{got.id}.{stamp}.".encode() + got.body
    found = [base64.b64decode(each[4:]) for each in got.headers["webhook-signature"].split() if each.startswith("v1a,")]
    by_key = [_holds(rows["v1a"]["public_key"], content, signature) for signature in found]
    assert any(by_key) is by_hmac
    return by_hmac


def _holds(public: bytes, content: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(content, signature)
    except BadSignatureError:
        return False
    return True


async def test_filters(sender: Sender, farm: Farm) -> None:
    """Types with wildcards, owners, and opportunities, also those that an event only names."""
    owner, opportunity = new_id(), new_id()
    await sender.endpoint(farm.url("/ok/won"), "opportunity.won")
    await sender.endpoint(farm.url("/ok/all-of-it"), "opportunity.*", "task.created")
    await sender.endpoint(farm.url("/ok/owner"), "*", owner_ids=[owner])
    await sender.endpoint(farm.url("/ok/deal"), "*", opportunity_ids=[opportunity])
    await sender.endpoint(farm.url("/ok/thin"), "task.created", thin=True)
    data = EVENT_TYPES["opportunity.won"].example
    (won,) = await sender.emit(1, "opportunity.won", subject_type="opportunity", subject_id=opportunity, data=data)
    task = {**EVENT_TYPES["task.created"].example, "opportunity_id": str(opportunity)}
    (made,) = await sender.emit(1, "task.created", subject_type="task", data=task, owner_id=owner)
    (other,) = await sender.emit(1, owner_id=new_id())
    await sender.settle()
    names = {str(won): "won", str(made): "made", str(other): "other"}
    got = {path.rpartition("/")[2]: sorted(names[id_] for id_ in farm.ids(path)) for path in list(farm.received)}
    assert got == {
        "won": ["won"], "all-of-it": ["made", "won"], "owner": ["made"], "deal": ["made", "won"], "thin": ["made"],
    }  # fmt: skip
    thin = json.loads(farm.received["/ok/thin"][0].body)
    assert "data" not in thin
    assert thin["subject"]["type"] == "task"


async def test_every_kind_of_answer(own_servers: Servers, farm: Farm) -> None:
    """What counts as delivered, when a failure is tried again, and what is kept of it."""
    at = datetime.now(UTC)
    clock = FixedClock(at)
    ways = ("ok", "s500", "redirect", "reset", "hang", "loris", "big", "close", "s429", "late", "gone")
    async with open_sender(own_servers, clock) as sender:
        ids = {way: await sender.endpoint(farm.url(f"/{way}/x"), timeout_seconds=1) for way in ways}
        ids["port"] = await sender.endpoint("http://127.0.0.1:1/x")
        ids["closed"] = await sender.endpoint(f"http://127.0.0.1:{free_port()}/x")
        ids["nowhere"] = await sender.endpoint("https://does-not-exist.invalid/x", timeout_seconds=10)
        ids["private"] = await sender.endpoint("https://10.0.0.1/x")
        await sender.emit()
        await sender.settle(30)
        found = {way: (await sender.attempts(id_))[0] for way, id_ in ids.items()}
        due = {way: (await sender.deliveries(id_))[0] for way, id_ in ids.items()}
        assert {way: (row["outcome"], row["status_code"]) for way, row in found.items()} == {
            "ok": ("success", 200), "big": ("success", 200), "close": ("success", 200),
            "s500": ("server_error", 500), "redirect": ("redirect", 302), "late": ("server_error", 503),
            "s429": ("client_error", 429), "gone": ("client_error", 410), "reset": ("connection", None),
            "hang": ("timeout", None), "loris": ("timeout", None), "closed": ("connection", None),
            "port": ("refused", None), "nowhere": ("connection", None), "private": ("refused", None),
        }  # fmt: skip
        assert found["big"]["response_body"] == b"x" * 20_000
        assert found["s500"]["response_body"] == b"broken"
        assert found["redirect"]["response_headers"]["location"] == farm.location
        assert "10.0.0.1" in found["private"]["error"]
        waits = {
            way: (row["next_attempt_at"] - at).total_seconds() for way, row in due.items() if row["next_attempt_at"]
        }
        for way in ("s500", "redirect", "reset", "closed", "port", "nowhere", "private"):
            assert 4 <= waits[way] <= 6, way
        for way in ("hang", "loris"):
            assert 60 <= waits[way] <= 72, way
        assert waits["s429"] == 60
        assert 7 <= waits["late"] <= 9
        assert due["gone"]["status"] == "failed"
        gone = await sender.read(
            "SELECT disabled, disabled_reason FROM events.webhook_endpoints WHERE workspace_id = $1 AND id = $2",
            ids["gone"],
        )
        assert [tuple(row.values()) for row in gone] == [(True, "gone")]
        assert [row["subject_id"] for row in await sender.events("endpoint.disabled")] == [ids["gone"]]


async def test_what_an_endpoint_has_us_send_is_not_kept(sender: Sender, farm: Farm) -> None:
    endpoint_id = await sender.endpoint(farm.url("/ok/a"))
    await sender.give_headers(endpoint_id, {"Authorization": "Bearer of-nobody-else"})
    await sender.emit()
    await sender.settle()
    assert farm.received["/ok/a"][0].headers["authorization"] == "Bearer of-nobody-else"
    (attempt,) = await sender.attempts()
    assert attempt["request_headers"]["authorization"] == "(hidden)"
    assert "of-nobody-else" not in str(dict(attempt))


async def test_the_id_stays_and_the_time_moves(own_servers: Servers, farm: Farm) -> None:
    clock = FixedClock(datetime.now(UTC))
    async with open_sender(own_servers, clock) as sender:
        endpoint_id = await sender.endpoint(farm.url("/s500/a"))
        await sender.emit()
        await sender.settle()
        await sender.forward(clock.now() + timedelta(seconds=7))
        farm.turned["/s500/a"] = "ok"
        await sender.settle()
        first, second = farm.received["/s500/a"]
        assert (first.id, first.body) == (second.id, second.body)
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 7
        assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
        state = await sender.state(endpoint_id)
        assert (state["failing_since"], state["breaker"]) == (None, "closed")
        assert [row["type"] for row in await sender.events("endpoint.%")] == ["endpoint.recovered"]


@pytest.mark.parametrize("rate", [10, 50])
async def test_a_throttled_endpoint_gets_its_rate_and_loses_nothing(sender: Sender, farm: Farm, rate: int) -> None:
    await sender.endpoint(farm.url("/ok/a"), throttle_rate=rate)
    sent = await sender.emit(rate * 4)
    await sender.settle()
    assert sorted(farm.ids("/ok/a")) == sorted(map(str, sent))
    times = [each.at for each in farm.received["/ok/a"]]
    for first in times:
        within = sum(first <= each < first + 1 for each in times)
        assert within <= rate * 1.1
    assert times[-1] - times[0] < 4 * 1.1


async def test_the_breaker_pauses_and_keeps_the_queue(own_servers: Servers, farm: Farm) -> None:
    """Ten failures in a row stop the sending; a probe that succeeds lets all the rest through."""
    clock = FixedClock(datetime.now(UTC))
    async with open_sender(own_servers, clock) as sender:
        endpoint_id = await sender.endpoint(farm.url("/s500/a"))
        sent = await sender.emit(60)
        await sender.settle()
        tried = farm.counts["/s500/a"]
        assert 10 <= tried <= 25
        assert (await sender.state(endpoint_id))["breaker"] == "open"
        assert [row["type"] for row in await sender.events("endpoint.%")] == ["endpoint.paused"]
        await sender.forward(clock.now() + timedelta(seconds=29))
        await sender.settle()
        assert farm.counts["/s500/a"] == tried
        await sender.forward(clock.now() + timedelta(seconds=2))
        await sender.settle()
        assert farm.counts["/s500/a"] == tried + 1
        await sender.forward(clock.now() + timedelta(seconds=59))
        await sender.settle()
        assert farm.counts["/s500/a"] == tried + 1
        farm.turned["/s500/a"] = "ok"
        await sender.forward(clock.now() + timedelta(seconds=2))
        await sender.settle()
        assert farm.ids("/s500/a") == set(map(str, sent))
        assert {row["status"] for row in await sender.deliveries()} == {"delivered"}
        assert (await sender.state(endpoint_id))["breaker"] == "closed"


async def test_a_disabled_endpoint_keeps_its_queue(sender: Sender, farm: Farm) -> None:
    endpoint_id = await sender.endpoint(farm.url("/ok/a"))
    await sender.emit(3)
    while await sender.relay.work():
        pass
    await sender.write(
        "UPDATE events.webhook_endpoints SET disabled = true WHERE workspace_id = $1 AND id = $2", endpoint_id
    )
    await sender.settle()
    assert {row["status"] for row in await sender.deliveries()} <= {"pending", "delivered"}
    await sender.write(
        "UPDATE events.webhook_endpoints SET disabled = false WHERE workspace_id = $1 AND id = $2", endpoint_id
    )
    await sender.settle()
    assert {row["status"] for row in await sender.deliveries()} == {"delivered"}


async def test_a_lease_that_was_lost_writes_nothing(sender: Sender, farm: Farm) -> None:
    """Another worker has taken the delivery over meanwhile: the outcome of the first is recorded as an attempt only."""
    await sender.endpoint(farm.url("/slow/a"))
    await sender.emit()
    while await sender.relay.work():
        pass
    while not farm.counts["/slow/a"]:
        await asyncio.sleep(0.005)
    await sender.write(
        "UPDATE events.webhook_queue SET lease_token = $2, next_attempt_at = now() + interval '1 hour'"
        " WHERE workspace_id = $1",
        new_id(),
    )
    await sender.settle()
    (delivery,) = await sender.deliveries()
    assert (delivery["status"], delivery["attempts"]) == ("pending", 0)
    assert len(await sender.attempts()) == 1


async def test_a_delivery_that_kills_its_workers_is_given_up(sender: Sender, farm: Farm) -> None:
    await sender.endpoint(farm.url("/ok/a"))
    await sender.emit()
    sender.engine.hint = lambda *_: None  # type: ignore[method-assign]
    while await sender.relay.work():
        pass
    del sender.engine.hint
    await sender.write("UPDATE events.webhook_queue SET claims = 8 WHERE workspace_id = $1")
    await sender.settle()
    (delivery,) = await sender.deliveries()
    assert (delivery["status"], delivery["attempts"]) == ("failed", 0)
    assert "taken up 8 times" in delivery["last_error"]
    assert not farm.counts["/ok/a"]


async def test_workspaces_do_not_meet(own_servers: Servers, farm: Farm) -> None:
    async with open_sender(own_servers) as one, open_sender(own_servers) as two:
        await one.endpoint(farm.url("/ok/one"))
        await two.endpoint(farm.url("/ok/two"))
        mine, theirs = await one.emit(), await two.emit()
        await one.settle()
        await two.settle()
        assert farm.ids("/ok/one") == set(map(str, mine))
        assert farm.ids("/ok/two") == set(map(str, theirs))


async def test_outcomes_that_are_written_again_are_there_once(sender: Sender, farm: Farm) -> None:
    """The answer to a commit was lost: the same outcomes come once more, and hold up nothing."""
    recorder = sender.engine._recorder
    settle, lost = recorder._settle, 0

    async def loses(*given: object) -> None:
        nonlocal lost
        await settle(*given)  # type: ignore[arg-type]
        lost += 1
        if lost == 1:
            raise ConnectionError

    with patch.object(recorder, "_settle", loses):
        await sender.endpoint(farm.url("/ok/a"))
        await sender.emit()
        await sender.settle()
    assert lost == 2
    assert len(await sender.attempts()) == 1


async def test_the_loops_outlive_whatever_goes_wrong(sender: Sender, farm: Farm) -> None:
    await sender.endpoint(farm.url("/ok/a"))
    await sender.emit()
    with patch.object(sender.engine, "_claim", side_effect=KeyError("strange")):
        await sender.relay.work()
        while not any(loop.trouble for loop in sender.engine._loops):
            await asyncio.sleep(0.005)
        with pytest.raises(RuntimeError, match="strange"):
            await sender.engine.sweep()
    while not farm.received["/ok/a"]:
        await asyncio.sleep(0.01)
    await sender.settle()
    assert not any(loop.trouble for loop in sender.engine._loops)


async def test_a_loop_that_hangs_is_named_and_goes_on_when_it_can(sender: Sender, farm: Farm) -> None:
    """The sweep is a duty and says so for the loops, which are none."""
    await sender.endpoint(farm.url("/ok/a"))
    await sender.emit()
    claim, stuck, free = sender.engine._claim, asyncio.Event(), asyncio.Event()

    async def hangs(*given: Any) -> None:
        stuck.set()
        await free.wait()
        await claim(*given)

    sender.engine._claiming._heartbeat = Heartbeat(0.0)
    with patch.object(sender.engine, "_claim", hangs):
        await sender.relay.work()
        await stuck.wait()
        with pytest.raises(RuntimeError, match="claim deliveries: nothing heard of it"):
            await sender.engine.sweep()
        sender.engine._claiming._heartbeat = Heartbeat(60.0)
        free.set()
        await sender.settle()
    assert farm.received["/ok/a"]


async def test_what_could_outlive_its_lease_is_given_back(sender: Sender, farm: Farm) -> None:
    """It waited too long for its turn: it is due at once, not after the lease."""
    claim, late = claims.claim, [True]

    async def claims_late(*given: Any) -> tuple[list[claims.Claimed], Any]:
        claimed, found = await claim(*given)
        if claimed and late:
            late.clear()
            claimed = [replace(each, expires=0.0) for each in claimed]
        return claimed, found

    with patch.object(claims, "claim", claims_late):
        await sender.endpoint(farm.url("/ok/a"))
        await sender.emit()
        await sender.settle(10)
    assert not late
    (delivery,) = await sender.deliveries()
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)
