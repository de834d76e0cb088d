"""Following a live stream in a test, over the whole application with all its middleware."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI

from tests.support.caller import Caller

PATIENCE = 10.0


@dataclass
class Message:
    """One server-sent event, as an EventSource would dispatch it."""

    id: str
    event: str
    data: Any


@dataclass
class Stream:
    """An open stream: what has come over it so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    messages: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    comments: list[str] = field(default_factory=list)
    last_id: str = ""
    body: bytes = b""
    # How many messages `next` has given.
    told: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    _rest: bytes = b""

    async def next(self, wait: float = PATIENCE) -> Message:
        async with asyncio.timeout(wait):
            message = await self.messages.get()
        self.told += 1
        return message

    async def take(self, count: int) -> list[Message]:
        return [await self.next() for _ in range(count)]

    async def end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.ended.wait()

    def feed(self, data: bytes) -> None:
        """Takes bytes by the rules of the event stream format."""
        self.body += data
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            event, lines = "message", []
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "":
                    self.comments.append(value)
                elif name == "id":
                    self.last_id = value
                elif name == "event":
                    event = value
                elif name == "data":
                    lines.append(value)
            self.connected.set()
            if lines:
                self.messages.put_nowait(Message(self.last_id, event, json.loads("\n".join(lines))))


@asynccontextmanager
async def streaming(
    app: FastAPI,
    caller: Caller | None,
    *,
    headers: dict[str, str] | None = None,
    stall: asyncio.Event | None = None,
    **params: Any,
) -> AsyncIterator[Stream]:
    """A stream of `GET /v1/events/stream`, closed at the end as a client that goes away would.

    While `stall` is set the client takes nothing.
    """  # fmt: skip
    stream, gone = Stream(), asyncio.Event()
    sent = dict(headers or {})
    if caller is not None:
        sent["authorization"] = f"Bearer {caller.key}"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/v1/events/stream", "raw_path": b"/v1/events/stream", "root_path": "",
        "query_string": urlencode(params, doseq=True).encode(), "server": ("sixteen.test", 80),
        "client": ("127.0.0.1", 1), "headers": [(k.lower().encode(), v.encode()) for k, v in sent.items()],
    }  # fmt: skip
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            stream.status = message["status"]
            stream.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            stream.begun.set()
            return
        while stall is not None and stall.is_set():
            await asyncio.sleep(0.01)
        stream.feed(message.get("body", b""))

    async def run() -> None:
        try:
            await app(scope, receive, send)
        finally:
            stream.ended.set()

    task = asyncio.create_task(run())
    try:
        async with asyncio.timeout(PATIENCE):
            await stream.begun.wait()
            if stream.status == 200:
                await stream.connected.wait()
            else:
                await stream.ended.wait()
        yield stream
    finally:
        gone.set()
        try:
            async with asyncio.timeout(PATIENCE):
                await task
        finally:
            task.cancel()
