"""Of very many records, a search reads a few by index, and a merge is a few statements."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.api.duplicates.candidates import ALL_KEYS, FIND, Probe
from shared.db import sql
from tests.contract.test_statements import cost
from tests.duplicates.test_merge import merge
from tests.support.caller import Caller

CUSTOMERS = 30_000
INTERACTIONS = 20_000
MAKE_CUSTOMERS = sql(
    "INSERT INTO sales.customers (workspace_id, id, name, sort_key, phone, email, website, occurred_at, recorded_at,"
    " updated_at) SELECT :workspace_id, gen_random_uuid(), 'Firm ' || md5(n::text) || ' Ltd', 'firm ' || md5(n::text),"
    " '138' || lpad(n::text, 8, '0'), 'a@f' || n || '.example', 'https://f' || n || '.example', now(), now(), now()"
    " FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n"
)
MAKE_INTERACTIONS = sql(
    "INSERT INTO sales.interactions (workspace_id, id, customer_id, kind, occurred_at, recorded_at, updated_at)"
    " SELECT :workspace_id, gen_random_uuid(), :customer_id, 'call', now(), now(), now()"
    " FROM generate_series(1, CAST(:count AS int)) n"
)
NAME_CONTACT = sql(
    "INSERT INTO sales.interaction_contacts (workspace_id, interaction_id, contact_id)"
    " SELECT workspace_id, id, :contact_id FROM sales.interactions WHERE customer_id = :customer_id"
)


async def many(admin: Caller, count: int = CUSTOMERS) -> None:
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.connection.execute("SET LOCAL statement_timeout = 0")
        for first in range(1, count + 1, 10_000):
            await tx.run(MAKE_CUSTOMERS, first=first, last=min(first + 9_999, count))


def scans(node: dict[str, Any]) -> list[tuple[str, str]]:
    """(how, table) of everything that a plan reads."""
    own = [(node["Node Type"], node["Relation Name"])] if "Relation Name" in node else []
    return own + [each for child in node.get("Plans", ()) for each in scans(child)]


@pytest.mark.timeout(120)
async def test_a_search_among_very_many_reads_a_few(admin: Caller) -> None:
    await many(admin)
    probe = Probe("Firm 42", "13800000042", "x@f42.example", "f42.example")
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        values = FIND.values(
            {
                "probes": [probe.given(0)], "kind": "customer", "prefixes": ALL_KEYS,
                "workspace_id": admin.workspace_id,
            }
        )  # fmt: skip
        plan = await tx.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {FIND.sql}", *values)
    root = json.loads(plan)[0]["Plan"]
    read = scans(root)
    assert ("Seq Scan", "duplicate_keys") not in read
    assert any(table == "duplicate_keys" for _, table in read)
    # Of more than 100,000 keys, a few pages: those of five keys and their namesakes.
    assert root["Shared Hit Blocks"] + root["Shared Read Blocks"] < 200
    body = {"name": "Firm 42 Ltd", "phone": "13800000042", "website": "f42.example"}
    found = (await admin.ok("POST", "/v1/customers:search-duplicates", body))["duplicates"]
    assert found[0]["phone"] == "13800000042"
    assert [each["code"] for each in found[0]["reasons"]] == ["same_phone", "same_domain"]
    assert (await admin.ok("GET", "/v1/duplicates"))["data"] == []


@pytest.mark.timeout(120)
async def test_a_customer_with_very_many_interactions_is_merged_and_parted(admin: Caller) -> None:
    into, from_ = await admin.make_customer("Into"), await admin.make_customer("From")
    few = await admin.make_customer("Few"), await admin.make_customer("Fewer")
    a, b = [
        await admin.ok("POST", "/v1/contacts", {"customer_id": from_["id"], "name": name}) for name in ("Wang", "Fang")
    ]
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.run(MAKE_INTERACTIONS, customer_id=from_["id"], count=INTERACTIONS)
        await tx.run(NAME_CONTACT, customer_id=from_["id"], contact_id=a["id"])
    small = await cost(admin.post("/v1/customers:merge", {"into": few[0]["id"], "from": few[1]["id"]}))
    of_contacts = await merge(admin, b, a, "contacts")
    assert of_contacts["moved"] == {"interactions": INTERACTIONS}
    large = await cost(admin.post("/v1/customers:merge", {"into": into["id"], "from": from_["id"]}))
    assert large == small
    merged = (await admin.ok("GET", f"/v1/merges?from_id={from_['id']}"))["data"][0]
    assert merged["moved"] == {"contacts": 2, "opportunities": 0, "interactions": INTERACTIONS, "tasks": 0}
    for each in (merged, of_contacts):
        await admin.ok("POST", f"/v1/merges/{each['id']}:undo")
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        for table, column, id_ in (
            ("interactions", "customer_id", from_["id"]),
            ("interaction_contacts", "contact_id", a["id"]),
        ):
            query = sql(f"SELECT count(*) FROM sales.{table} WHERE {column} = :id")
            assert await tx.value(query, id=id_) == INTERACTIONS
