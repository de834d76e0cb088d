"""An offline copy kept by delta sync, as an app keeps one, and what it is compared with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.support.caller import Caller


@dataclass
class Copy:
    """What a phone keeps: the rows it was told of, and where to go on."""

    caller: Caller
    resource: str
    limit: int = 200
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    cursor: str | None = None
    told: list[str] = field(default_factory=list)
    forgotten: dict[str, str] = field(default_factory=dict)

    async def follow(self) -> list[str]:
        """Reads all that is new; the ids of what came."""
        came: list[str] = []
        while True:
            more = await self.page()
            came += self.told
            if not more:
                return came

    async def at_rest(self) -> bool:
        """Whether nothing more comes. Beside the test the database may analyse a table: while it does, it repeats."""
        for _ in range(100):
            if not await self.follow():
                return True
            await asyncio.sleep(0.05)
        return False

    async def page(self) -> bool:
        given = {"limit": self.limit, **({"cursor": self.cursor} if self.cursor else {})}
        body = await self.caller.ok("GET", f"/v1/{self.resource}:sync", params=given)
        self.told = [row["id"] for row in body["data"]]
        self.rows |= {row["id"]: row for row in body["data"]}
        for gone in body["deleted"]:
            self.rows.pop(gone["id"], None)
            self.forgotten[gone["id"]] = gone["reason"]
        self.cursor = body["next_cursor"]
        return bool(body["has_more"])


async def original(caller: Caller, resource: str) -> dict[str, int]:
    """Version by id of all rows there are."""
    found: dict[str, int] = {}
    cursor = ""
    while True:
        page = await caller.ok("GET", f"/v1/{resource}?limit=200{f'&cursor={cursor}' if cursor else ''}")
        found |= {row["id"]: row["version"] for row in page["data"]}
        if not page["has_more"]:
            return found
        cursor = page["next_cursor"]


def versions(copy: Copy) -> dict[str, int]:
    return {id_: row["version"] for id_, row in copy.rows.items()}


async def one_of_each(caller: Caller) -> dict[str, dict[str, Any]]:
    deal = await caller.make_opportunity()
    about = {"customer_id": deal["customer_id"]}
    made = {"customers": await caller.ok("GET", f"/v1/customers/{deal['customer_id']}"), "opportunities": deal}
    made["contacts"] = await caller.ok("POST", "/v1/contacts", {**about, "name": "Wang"})
    made["interactions"] = await caller.ok("POST", "/v1/interactions", {**about, "kind": "call"})
    made["tasks"] = await caller.ok("POST", "/v1/tasks", {**about, "title": "Draw"})
    made["products"] = await caller.ok("POST", "/v1/products", {"name": "Press"})
    return made


async def one_of_each_of(rep: Caller) -> dict[str, dict[str, Any]]:
    """One of each but products, which everybody sees and a rep does not make; all through the opportunity."""
    deal = await rep.make_opportunity()
    about = {"customer_id": deal["customer_id"], "opportunity_id": deal["id"]}
    return {
        "customers": await rep.ok("GET", f"/v1/customers/{deal['customer_id']}"),
        "opportunities": deal,
        "contacts": await rep.ok("POST", "/v1/contacts", {"customer_id": deal["customer_id"], "name": "Wang"}),
        "interactions": await rep.ok("POST", "/v1/interactions", {**about, "kind": "call"}),
        "tasks": await rep.ok("POST", "/v1/tasks", {**about, "title": "Draw", "assignee_id": None}),
    }
