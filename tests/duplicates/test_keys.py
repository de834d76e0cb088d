"""The keys of duplicates are true on every way of writing, because the database itself keeps them."""

from __future__ import annotations

import random
from typing import Any

import asyncpg

from shared.db import sql
from shared.ids import new_id
from tests.duplicates.test_merge import history, merge
from tests.imports.support import imported
from tests.support.caller import Caller

# What the keys should be, by the records as they stand, against what they are.
EXPECTED = """
SELECT 'customer' AS subject_type, k.key, c.id AS subject_id FROM sales.customers c CROSS JOIN LATERAL unnest(
  sales.duplicate_keys_of('customer', c.name, c.sort_key, NULL, c.phone, c.email, c.website)) AS k(key)
WHERE c.deleted_at IS NULL
UNION ALL
SELECT 'contact', k.key, c.id FROM sales.contacts c CROSS JOIN LATERAL unnest(
  sales.duplicate_keys_of('contact', c.name, NULL, c.customer_id, c.phone, c.email, NULL)) AS k(key)
WHERE c.deleted_at IS NULL
"""
STRAY = sql(
    f"(({EXPECTED}) EXCEPT SELECT subject_type, key, subject_id FROM sales.duplicate_keys)"
    f" UNION ALL (SELECT subject_type, key, subject_id FROM sales.duplicate_keys EXCEPT ({EXPECTED}))"
)
COUNT = sql("SELECT count(*) FROM sales.duplicate_keys WHERE subject_id = :id")
CSV = "id,name,phone,mail,site\n1,北方重工有限公司,010-65551234,a@north.example,north.example\n2,Acme Ltd,,,\n"
MAPPING: dict[str, Any] = {
    "kind": "customers",
    "source": "file",
    "fields": {"external_id": "id", "name": "name", "phone": "phone", "email": "mail", "website": "site"},
}


async def check(admin: Caller, id_: str | None = None, keys: int | None = None) -> None:
    """Raises where a key is missing or too many, or a record has not as many as it should."""
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        assert await tx.rows(STRAY) == []
        if id_ is not None:
            assert await tx.value(COUNT, id=id_) == keys


async def test_over_http(admin: Caller) -> None:
    made = await admin.make_customer("北方重工", phone="010-65551234 / 13800138000", website="https://north.example")
    path = f"/v1/customers/{made['id']}"
    await check(admin, made["id"], 6)
    await admin.ok("PATCH", path, {"phone": None})
    await check(admin, made["id"], 4)
    await admin.ok("PATCH", path, {"name": "Acme", "industry": "steel", "email": "a@acme.example"})
    await check(admin, made["id"], 5)
    await admin.ok("PATCH", path, {"tier": "key"})
    await check(admin, made["id"], 5)
    await admin.ok("DELETE", path)
    await check(admin, made["id"], 0)
    await admin.ok("POST", f"{path}:restore")
    await check(admin, made["id"], 5)
    upserted = await admin.ok("PUT", "/v1/customers/by-external-id/erp/1", {"name": "Acme", "phone": "13800138000"})
    await admin.ok("PUT", "/v1/customers/by-external-id/erp/1", {"name": "Apex"})
    await check(admin, upserted["id"], 2)
    contact = await admin.ok("POST", "/v1/contacts", {"customer_id": made["id"], "name": "Li", "email": "l@a.example"})
    await check(admin, contact["id"], 3)
    await admin.ok("PATCH", f"/v1/contacts/{contact['id']}", {"name": "Li Na", "clear": ["email"]})
    await check(admin, contact["id"], 2)
    await admin.ok("DELETE", f"/v1/contacts/{contact['id']}")
    await check(admin, contact["id"], 0)


async def test_by_import(admin: Caller) -> None:
    done = await imported(admin, CSV.encode(), MAPPING)
    assert done["rows_imported"] == 2
    await check(admin)
    assert len((await admin.ok("POST", "/v1/customers:search-duplicates", {"name": "Acme"}))["duplicates"]) == 1
    changed = CSV.replace("Acme Ltd", "Apex Ltd").replace("010-65551234", "010-65559999")
    assert (await imported(admin, changed.encode(), MAPPING))["rows_imported"] == 2
    await check(admin)
    assert (await admin.ok("POST", "/v1/customers:search-duplicates", {"name": "Acme"}))["duplicates"] == []


async def test_by_merging_and_parting(admin: Caller) -> None:
    into, from_ = await admin.make_customer("Acme", phone="1380013"), await admin.make_customer("Acme Ltd")
    made = await history(admin, from_)
    merged = await merge(admin, into, from_, fields={"name": "from"})
    await check(admin, from_["id"], 0)
    # A contact's name counts within its customer: the key has moved with it.
    await check(admin, made["contacts"]["id"], 2)
    await admin.ok("POST", f"/v1/merges/{merged['id']}:undo")
    await check(admin, from_["id"], 2)


async def test_by_hand(admin: Caller, as_api: asyncpg.Connection) -> None:
    customer_id = new_id()
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        await as_api.execute(
            "INSERT INTO sales.customers (workspace_id, id, name, sort_key, occurred_at, recorded_at, updated_at)"
            " SELECT $1, CASE n WHEN 1 THEN $2 ELSE gen_random_uuid() END, 'Acme ' || n, 'acme', now(), now(), now()"
            " FROM generate_series(1, 5) n",
            admin.workspace_id,
            customer_id,
        )
        await as_api.execute(
            "UPDATE sales.customers SET name = 'Apex', phone = '13800138000' WHERE id = $1", customer_id
        )
    await check(admin, str(customer_id), 3)


async def test_names_that_are_hardly_names(admin: Caller) -> None:
    """Whatever can be stored as a name has keys, or none, and never an error."""
    for name in ("有限公司", "Ltd", "()", "…", "。", "🙂", "a", "\u0301", "ß", "x" * 200, "(((", "A & B", "０", "Łódź"):
        await admin.make_customer(name, phone=name, website=name)
    await check(admin)
    assert (await admin.post("/v1/customers:search-duplicates", {"name": "…", "phone": "…"})).status_code == 200


async def test_no_text_is_an_error(admin: Caller) -> None:
    """Whatever somebody types: signs of all scripts, brackets that do not close, dots and slashes."""
    rng = random.Random(7)
    signs = "aZ9 .,()（【]/@:#x-'·’\u3000公司有限集团上海北方ßéÅ☃🙂\u0301ΑЖ日本가"
    texts = ["".join(rng.choice(signs) for _ in range(rng.randint(1, 40))) for _ in range(2_000)]
    query = sql(
        "SELECT count(sales.duplicate_keys_of(k, t, t, NULL, t, t, t)) FROM unnest(CAST(:texts AS text[])) t,"
        " unnest(ARRAY['customer', 'contact']) k"
    )
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        assert await tx.value(query, texts=texts) == 2 * len(texts)
