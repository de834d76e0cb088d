"""Paging to the end while rows come and go: each older row once, and the last page as cheap as the first."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from services.api.customers.resource import CUSTOMERS
from services.api.resources import _select_page
from shared.db import connect_arguments
from shared.tenancy import Reach
from tests.conftest import Servers
from tests.support.caller import Caller

ROWS = 8000


async def seed(caller: Caller, servers: Servers) -> None:
    """Customers with ids of long ago, in another order than their names."""
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        await tx.connection.execute(
            "INSERT INTO sales.customers (workspace_id, id, name, sort_key, occurred_at, recorded_at, updated_at)"
            " SELECT $1::uuid,"
            " (lpad(to_hex(n), 12, '0') || '70008' || right(replace($1::uuid::text, '-', ''), 15))::uuid,"
            " 'Customer ' || (n * 7919) % 8000, 'customer ' || (n * 7919) % 8000, now(), now(), now()"
            " FROM generate_series(1, $2) n",
            caller.workspace_id,
            ROWS,
        )
    owner = await asyncpg.connect(**connect_arguments(servers.database_url, ""))
    await owner.execute("ANALYZE sales.customers")
    await owner.close()


@pytest.mark.parametrize("sort", ["-id", "id", "name", "-name", "updated_at"])
async def test_none_is_doubled_and_none_of_the_older_missed(admin: Caller, servers: Servers, sort: str) -> None:
    await seed(admin, servers)
    seen: list[str] = []
    newcomers: set[str] = set()
    gone: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        given = {"limit": 200, "sort": sort, "fields": "name", **({"cursor": cursor} if cursor else {})}
        page = await admin.ok("GET", "/v1/customers", params=given)
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if len(newcomers) < 20:
            # Names in front of, among and behind the others.
            for name in ("Aardvark", "Customer 4000x", "Zebra"):
                newcomers.add((await admin.make_customer(name))["id"])
            # One that has been shown already goes: those behind it must not move up past the reader.
            victim = seen[200 * len(gone)]
            await admin.delete(f"/v1/customers/{victim}")
            gone.add(victim)
    assert len(seen) == len(set(seen))
    assert len(set(seen) - newcomers) == ROWS


def looked_at(node: dict[str, Any]) -> float:
    """Rows that the leaves of a plan read, whether they were shown or not."""
    below = node.get("Plans", [])
    own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return sum(map(looked_at, below)) if below else float(own * node["Actual Loops"])


@pytest.mark.parametrize("sort", ["id", "name", "updated_at"])
@pytest.mark.parametrize("descending", [False, True])
async def test_the_last_page_reads_no_more_than_the_first(
    admin: Caller, servers: Servers, sort: str, descending: bool
) -> None:
    """Counted in rows the database looked at: neither other load nor where rows happen to lie changes that."""
    await seed(admin, servers)
    pages = {}
    for place in ("first", "last"):
        query = _select_page(CUSTOMERS, Reach.ALL, (), sort, descending, place == "last", False)
        given: dict[str, Any] = {"workspace_id": admin.workspace_id, "page_limit": 101}
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            if place == "last":
                spec = CUSTOMERS.sorts[sort]
                order = f"{spec.expression} {'DESC' if descending else 'ASC'}, sales.customers.id"
                direction = "DESC" if descending else "ASC"
                row = await tx.connection.fetchrow(
                    f"SELECT id, {spec.expression} AS value FROM sales.customers WHERE workspace_id = $1"
                    f" ORDER BY {order} {direction} OFFSET $2 LIMIT 1",
                    admin.workspace_id,
                    ROWS - 101,
                )
                assert row is not None
                given |= {"after_value": row["value"], "after_id": row["id"]}
            text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.sql}"
            [plan] = json.loads(await tx.connection.fetchval(text, *query.values(given)))
        pages[place] = (looked_at(plan["Plan"]), plan["Plan"]["Actual Rows"])
    assert pages["last"][1] == 100
    assert pages["last"][0] <= pages["first"][0], pages
