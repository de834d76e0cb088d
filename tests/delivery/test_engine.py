"""From an event to its receivers, over real sockets."""

from __future__ import annotations

from standardwebhooks import Webhook

from tests.delivery.receivers import Farm
from tests.delivery.support import Sender


async def test_an_event_reaches_its_receiver_with_a_signature_that_verifies(sender: Sender, farm: Farm) -> None:
    endpoint_id = await sender.endpoint(farm.url("/ok/a"))
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    (event_id,) = await sender.emit(traceparent=trace)
    await sender.settle()
    (got,) = farm.received["/ok/a"]
    assert got.id == str(event_id)
    body = Webhook(sender.secrets[endpoint_id]).verify(got.body, got.headers)
    assert (body["id"], body["type"], body["data"]) == (str(event_id), "customer.updated", {"name": "Acme"})
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
