"""What was answered, and whether the database agrees: no 2xx without its row, no row without its traces."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import httpx

from tests.faults.installation import Installation
from tests.support.caller import Caller

_ROWS = "SELECT id::text, name FROM sales.customers WHERE workspace_id = $1"
_EVENTS = (
    "SELECT subject_id::text AS id, count(*) AS n FROM events.outbox"
    " WHERE workspace_id = $1 AND type = 'customer.created' GROUP BY 1"
)
_AUDIT = (
    "SELECT subject_id::text AS id, count(*) AS n FROM sales.audit_entries"
    " WHERE workspace_id = $1 AND subject_type = 'customer' GROUP BY 1"
)


@dataclass
class Ledger:
    """Creates customers, each under a name and a key of its own, and keeps every answer."""

    rep: Caller
    installation: Installation
    created: dict[str, str] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    _numbers: Iterator[int] = field(default_factory=count)

    async def write(self, name: str) -> int | None:
        """One POST; its status, or None where the connection broke off."""
        try:
            response = await self.rep.post("/v1/customers", {"name": name}, headers={"Idempotency-Key": name})
        except httpx.TransportError:
            self.broken += 1
            return None
        self.answers[response.status_code] += 1
        if response.status_code == 201:
            self.created[name] = response.json()["id"]
        else:
            assert response.headers["content-type"] == "application/problem+json", response.text
            problem = response.json()
            assert (problem["status"], bool(problem["detail"])) == (response.status_code, True)
        return response.status_code

    @asynccontextmanager
    async def streaming(self, writers: int, pause: float = 0.01) -> AsyncIterator[None]:
        """Writes in the background for the length of the block; no request is broken off at its end."""
        stop = asyncio.Event()

        async def write() -> None:
            while not stop.is_set():
                await self.write(f"Customer {next(self._numbers)}")
                await asyncio.sleep(pause)

        tasks = [asyncio.create_task(write()) for _ in range(writers)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def check(self) -> int:
        """Compares the answers with the tables; the number of rows."""
        workspace = self.rep.workspace_id
        rows = {row["id"]: row["name"] for row in await self.installation.read(workspace, _ROWS)}
        events = {row["id"]: row["n"] for row in await self.installation.read(workspace, _EVENTS)}
        audit = {row["id"]: row["n"] for row in await self.installation.read(workspace, _AUDIT)}
        lost = {name: id_ for name, id_ in self.created.items() if rows.get(id_) != name}
        assert lost == {}, "answered with 201, but not there"
        assert events == dict.fromkeys(rows, 1), "each row has exactly its one event"
        assert audit == dict.fromkeys(rows, 1), "each row has exactly its one audit entry"
        assert len(set(rows.values())) == len(rows), "no name was created twice"
        return len(rows)


async def open_ledger(installation: Installation) -> Ledger:
    """The ledger of a rep in a workspace of its own: what a rep creates is the rep's, and takes a seat."""
    return Ledger(await (await installation.workspace()).member("rep"), installation)
