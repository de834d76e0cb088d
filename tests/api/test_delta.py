"""Delta sync: an offline copy that follows its original, whatever is written at the same moment."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.sync import FIRST_OVERLAP, OVERLAP, Since
from tests.support.caller import Caller
from tests.support.synced import Copy, one_of_each, original, versions

SYNCED = ("customers", "contacts", "opportunities", "interactions", "tasks", "products")
TOUCH_CUSTOMER = (
    "UPDATE sales.customers SET notes = $3, version = version + 1, updated_at = $4 WHERE workspace_id = $1 AND id = $2"
)


@pytest.mark.parametrize("resource", SYNCED)
async def test_changes_and_tombstones_of_every_resource(admin: Caller, resource: str) -> None:
    made = (await one_of_each(admin))[resource]
    copy = Copy(admin, resource)
    assert await copy.follow() == [made["id"]]
    assert copy.rows[made["id"]] == await admin.ok("GET", f"/v1/{resource}/{made['id']}")
    assert await copy.at_rest()
    path = f"/v1/{resource}/{made['id']}"
    change: dict[str, Any] = {"tasks": {"title": "B"}, "interactions": {"minutes": 4}}.get(resource, {"name": "B"})
    await admin.ok("PATCH", path, change)
    assert await copy.follow() == [made["id"]]
    assert versions(copy) == {made["id"]: 2}
    if resource == "customers":
        [deal] = (await admin.ok("GET", "/v1/opportunities"))["data"]
        await admin.delete(f"/v1/opportunities/{deal['id']}")
    await admin.delete(path)
    assert await copy.follow() == []
    assert (copy.rows, copy.forgotten) == ({}, {made["id"]: "deleted"})
    assert await copy.at_rest()
    await admin.ok("POST", f"{path}:restore")
    assert await copy.follow() == [made["id"]]
    # Who begins now hears nothing of what is gone.
    await admin.delete(path)
    assert await Copy(admin, resource).follow() == []


async def test_a_tombstone_says_what_it_was_merged_into(admin: Caller) -> None:
    a, b, c, plain = [await admin.make_customer() for _ in range(4)]
    bodies = [{"customer_id": a["id"], "name": name} for name in ("A", "B")]
    kept, merged = [await admin.ok("POST", "/v1/contacts", body) for body in bodies]
    cursors = {}
    for kind in ("customers", "contacts"):
        copy = Copy(admin, kind)
        await copy.follow()
        cursors[kind] = copy.cursor
    await admin.ok("POST", "/v1/customers:merge", {"into": b["id"], "from": c["id"]})
    await admin.ok("POST", "/v1/customers:merge", {"into": a["id"], "from": b["id"]})
    await admin.ok("POST", "/v1/contacts:merge", {"into": kept["id"], "from": merged["id"]})
    await admin.delete(f"/v1/customers/{plain['id']}")

    async def told(kind: str) -> dict[str, str | None]:
        body = await admin.ok("GET", f"/v1/{kind}:sync", params={"cursor": cursors[kind]})
        assert all("survivor_id" not in row for row in body["data"])
        return {row["id"]: row["merged_into"] for row in body["deleted"]}

    assert await told("customers") == {b["id"]: a["id"], c["id"]: a["id"], plain["id"]: None}
    assert await told("contacts") == {merged["id"]: kept["id"]}
    [latest, *_] = (await admin.ok("GET", "/v1/merges"))["data"]
    await admin.ok("POST", f"/v1/merges/{latest['id']}:undo")
    assert await told("contacts") == {}


async def test_a_tombstone_says_what_and_when(admin: Caller) -> None:
    customer = await admin.make_customer()
    copy = Copy(admin, "customers")
    await copy.follow()
    await admin.delete(f"/v1/customers/{customer['id']}")
    body = await admin.ok("GET", "/v1/customers:sync", params={"cursor": copy.cursor, "fields": "name"})
    [gone] = body["deleted"]
    assert (body["data"], body["has_more"]) == ([], False)
    assert (gone["id"], gone["version"], gone["reason"]) == (customer["id"], 2, "deleted")
    assert datetime.fromisoformat(gone["deleted_at"]) <= datetime.now(UTC)


async def test_fewer_fields(admin: Caller) -> None:
    customer = await admin.make_customer()
    body = await admin.ok("GET", "/v1/customers:sync?fields=name")
    assert body["data"] == [{"id": customer["id"], "name": "Acme", "version": 1}]
    assert (await admin.get("/v1/customers:sync?fields=shoe")).status_code == 400


async def test_pages_while_rows_change(admin: Caller) -> None:
    """Between its pages everything is changed: in the end the copy is the original all the same."""
    made = [await admin.make_customer(f"C{n}") for n in range(9)]
    copy = Copy(admin, "customers", limit=2)
    for turn in range(4):
        assert await copy.page()
        await admin.ok("PATCH", f"/v1/customers/{made[turn * 2]['id']}", {"name": f"Changed {turn}"})
        await admin.make_customer(f"New {turn}")
    await copy.follow()
    await copy.follow()
    assert versions(copy) == await original(admin, "customers")


@pytest.mark.parametrize("nested", [False, True])
async def test_what_commits_late_is_not_left_out(admin: Caller, as_api: asyncpg.Connection, nested: bool) -> None:
    """A transaction that has taken its time and number before the reader came, and commits after it has left."""
    late, early = await admin.make_customer("Late"), await admin.make_customer("Early")
    copy = Copy(admin, "customers")
    await copy.follow()
    transaction = as_api.transaction()
    await transaction.start()
    await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
    change = (TOUCH_CUSTOMER, admin.workspace_id, late["id"], "late", datetime.now(UTC))
    if nested:
        # A savepoint has a number of its own, which no list of open transactions names.
        async with as_api.transaction():
            await as_api.execute(*change)
    else:
        await as_api.execute(*change)
    await admin.ok("PATCH", f"/v1/customers/{early['id']}", {"name": "Later in time, earlier to commit"})
    assert await copy.follow() == [early["id"]]
    await transaction.commit()
    assert late["id"] in await copy.follow()
    assert versions(copy) == await original(admin, "customers")


async def test_a_long_transaction_is_waited_for_over_many_syncs(admin: Caller, as_api: asyncpg.Connection) -> None:
    """It took its time long ago, as an import of hours does: as long as it is open, nothing of it is passed over."""
    customer = await admin.make_customer()
    copy = Copy(admin, "customers")
    transaction = as_api.transaction()
    await transaction.start()
    await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
    hours_ago = datetime.now(UTC) - timedelta(hours=5)
    await as_api.execute(TOUCH_CUSTOMER, admin.workspace_id, customer["id"], "long", hours_ago)
    for _ in range(4):
        await copy.follow()
    await transaction.commit()
    assert await copy.follow() == [customer["id"]]
    # Once it is over, what it wrote is told no more.
    assert await copy.at_rest()
    assert versions(copy) == await original(admin, "customers")


async def test_many_writers_at_once_leave_no_gap(admin: Caller) -> None:
    """Writers that hold their transactions open at random, while copies follow: none misses the last of any row."""
    made = [await admin.make_customer(f"C{n}") for n in range(12)]
    dice = random.Random(16)
    copies = [Copy(admin, "customers", limit=limit) for limit in (3, 200)]
    done = asyncio.Event()

    async def writer(number: int) -> None:
        for turn in range(12):
            async with admin.state.database.transaction(admin.workspace_id) as tx:
                await asyncio.sleep(dice.uniform(0, 0.02))
                row = made[(number * 5 + turn) % len(made)]
                await tx.connection.execute(TOUCH_CUSTOMER, admin.workspace_id, row["id"], f"{number}", tx.now)
                await asyncio.sleep(dice.uniform(0, 0.03))

    async def reader(copy: Copy) -> None:
        while not done.is_set():
            await copy.page()

    readers = [asyncio.create_task(reader(copy)) for copy in copies]
    await asyncio.gather(*(writer(number) for number in range(6)))
    done.set()
    await asyncio.gather(*readers)
    expected = await original(admin, "customers")
    assert sum(expected.values()) == len(made) + 6 * 12
    for copy in copies:
        await copy.follow()
        assert versions(copy) == expected
        assert await copy.at_rest()


# One writer: when it looks at the clock, how long until its first write, how long until it commits; in minutes.
WRITERS = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 14), st.integers(0, 400)), min_size=1, max_size=25)
SYNCS = st.lists(st.integers(0, 300), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(WRITERS, SYNCS)
def test_no_course_of_transactions_leaves_a_gap(writers: list[tuple[int, int, int]], pauses: list[int]) -> None:
    """The rule of `Since` against a simulated clock: whatever becomes visible later is within the next search."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    writes = sorted((clock + until, clock, clock + until + lasts) for clock, until, lasts in writers)
    numbered = [(number + 1, clock, begun, ends) for number, (begun, clock, ends) in enumerate(writes)]

    def snapshot(at: int) -> tuple[int, int]:
        following = 1 + sum(begun <= at for _, _, begun, _ in numbered)
        still_open = [number for number, _, begun, ends in numbered if begun <= at < ends]
        return min(still_open, default=following), following

    since: Since | None = None
    seen: set[int] = set()
    at = 0
    for pause in [*pauses, 2000]:
        at += pause
        oldest, following = snapshot(at)
        now = start + timedelta(minutes=at)
        found = {
            number
            for number, clock, _, ends in numbered
            if ends <= at
            and (since is None or (number >= since.horizon and start + timedelta(minutes=clock) > since.low))
        }
        visible = {number for number, _, _, ends in numbered if ends <= at}
        assert visible - seen <= found
        seen |= found
        since = (
            Since(oldest, following, now, now - FIRST_OVERLAP, "1")
            if since is None
            else since.next(oldest, following, now)
        )
    assert timedelta(minutes=15) <= OVERLAP
