"""Following a live stream over a real connection, resuming as an EventSource does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx


class EventSource:
    """Yields events for ever: a connection that breaks is made again, from the last id."""

    def __init__(self, base_url: str, key: str, **params: Any) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._params = params
        self.last_id = ""
        self.connections = 0
        self.connected = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        timeout = httpx.Timeout(5, read=20)
        async with httpx.AsyncClient(base_url=self._base_url, timeout=timeout, trust_env=False) as client:
            while True:
                try:
                    async for event in self._once(client):
                        yield event
                except httpx.TransportError:
                    self.connected.clear()
                await asyncio.sleep(0.05)

    async def _once(self, client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
        headers = self._headers | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        async with client.stream("GET", "/v1/events/stream", headers=headers, params=self._params) as response:
            if response.status_code in {429, 503}:
                return
            response.raise_for_status()
            self.connections += 1
            async for line in response.aiter_lines():
                self.connected.set()
                name, _, value = line.partition(": ")
                if name == "id":
                    self.last_id = value
                elif name == "data":
                    yield json.loads(value)
