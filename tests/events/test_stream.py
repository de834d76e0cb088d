"""The live stream: what it tells, from where it resumes, when it ends."""

from __future__ import annotations

from fastapi import FastAPI

from tests.events.support import streaming
from tests.support.caller import Caller


async def test_what_happens_is_told_at_once(app: FastAPI, admin: Caller) -> None:
    async with streaming(app, admin) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        made = await admin.make_customer()
        message = await stream.next()
    assert (message.event, message.data["subject"]) == ("customer.created", {"type": "customer", "id": made["id"]})
    assert message.data == (await admin.ok("GET", f"/v1/events/{message.data['id']}"))
