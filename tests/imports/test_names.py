"""What rows name depends neither on the batches they fall into, nor on an earlier run, nor on whether it is dry."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from shared.db import sql
from tests.imports.support import SIMPLE, errors_of, imported, table
from tests.imports.test_uploads import changed
from tests.support.caller import Caller

HEADER = "id,name,number,account,agent,thing,amount,stage,talked,closed"
NAMED = changed(
    changed(SIMPLE, {"external_id": "number", "name": "account"}, "customer"),
    {"name": "thing", "missing": "create"},
    "product",
)
RECORDS = {
    kind: sql(
        f"SELECT name, external_id FROM sales.{kind} WHERE workspace_id = :workspace_id AND external_source = :source"
    )
    for kind in ("customers", "members", "products")
}
DEALS = sql(
    "SELECT o.external_id, c.name AS customer, c.external_id AS number, m.name AS owner, p.name AS product"
    " FROM sales.opportunities o JOIN sales.customers c ON c.workspace_id = o.workspace_id AND c.id = o.customer_id"
    " LEFT JOIN sales.members m ON m.workspace_id = o.workspace_id AND m.id = o.owner_id"
    " LEFT JOIN sales.products p ON p.workspace_id = o.workspace_id AND p.id = o.product_id"
    " WHERE o.workspace_id = :workspace_id AND o.external_source = :source"
)


async def left(caller: Caller, source: str) -> dict[str, list[tuple[Any, ...]]]:
    """What stands in the database of this source: records by name and key, and what the opportunities refer to."""
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        queries = RECORDS | {"deals": DEALS}
        found = {name: await tx.rows(query, source=source) for name, query in queries.items()}
    return {name: sorted((tuple(row.values()) for row in rows), key=repr) for name, rows in found.items()}


async def run(caller: Caller, rows: list[str], source: str, size: int, **fields: Any) -> tuple[Any, ...]:
    """(imported, failed, errors) of the rows, in batches of this size. What they name holds the source's own mark."""
    file = table(*(row.replace("~", source) for row in rows), header=HEADER)
    done = await imported(caller, file, {**NAMED, "source": source}, import_batch=size, **fields)
    assert done["problem"] is None
    return done["rows_imported"], done["rows_failed"], await errors_of(caller, done)


async def everywhere(caller: Caller, rows: list[str], sizes: tuple[int, ...] = (1, 3, 50)) -> tuple[Any, ...]:
    """What every size of batches, dry or not, first or again, gives alike: the report and what is left."""
    told: list[tuple[Any, ...]] = []
    for size in sizes:
        source = f"s{size}x"
        dry = await run(caller, rows, source, size, dry_run="true")
        assert not any((await left(caller, source)).values())
        real = await run(caller, rows, source, size)
        assert dry == real, size
        kept = await left(caller, source)
        assert await run(caller, rows, source, size, dry_run="true") == real, size
        assert await run(caller, rows, source, size) == real, size
        assert await left(caller, source) == kept
        plainly = {kind: [str(row).replace(source, "~") for row in each] for kind, each in kept.items()}
        told.append((*real, plainly))
    assert all(each == told[0] for each in told[1:]), told
    return told[0]


def deal(number: int | str, key: str, name: str, agent: str = "", thing: str = "", stage: str = "Talk,,") -> str:
    return f"{number},Deal,{key},{name},{agent},{thing},1,{stage}"


async def test_one_name_in_three_cases_is_one_record(admin: Caller) -> None:
    names = ("AcmeTwo", "ACMETWO", "acmetwo")
    rows = [deal(n, "", f"{name} ~", f"{name} ~", f"{name} ~") for n, name in enumerate(names)]
    read, failed, _, kept = await everywhere(admin, rows)
    assert (read, failed) == (3, 0)
    assert [len(kept[kind]) for kind in RECORDS] == [1, 1, 1]


async def test_a_name_means_what_an_earlier_row_made_with_an_id(admin: Caller) -> None:
    rows = [deal(1, "A1~", "AcmeOne ~"), deal(2, "", "AcmeOne ~"), deal(3, "", "ACMEONE ~")]
    *_, kept = await everywhere(admin, rows)
    assert len(kept["customers"]) == 1


async def test_a_name_made_without_and_with_an_id(admin: Caller) -> None:
    rows = [
        deal("a", "", "FIXCO ~"), deal("b", "", "fixco ~"), deal("c", "c1~", "Fixco ~"), deal("d", "", "fixco ~"),
    ]  # fmt: skip
    read, failed, _, kept = await everywhere(admin, rows)
    assert (read, failed, len(kept["customers"])) == (4, 0, 2)


async def test_a_name_that_became_ambiguous_stays_what_it_was_for_the_rows_before(admin: Caller) -> None:
    rows = [
        deal("a", "c1~", "Acme ~"), deal("b", "", "acme ~"), deal("c", "c2~", "ACME ~"), deal("d", "", "acme ~"),
        deal("b", "", "Acme ~"),
    ]  # fmt: skip
    read, failed, errors, _ = await everywhere(admin, rows)
    assert (read, failed, errors) == (4, 1, [(4, "/number", "ambiguous_reference")])


async def test_what_a_refused_row_names_first_is_made_by_the_next(admin: Caller) -> None:
    rows = [
        deal("a", "c1~", "Acme ~", "Ann ~", "Pump ~", "Nowhere,,"),
        deal("b", "", "ACME ~", "ANN ~", "PUMP ~", "Lost,,2199-01-01"),
        deal("c", "", "acme ~", "ann ~", "pump ~"),
        deal("d", "c2~", "Acme ~", "Ann ~", "Pump ~"),
    ]
    read, failed, _, kept = await everywhere(admin, rows)
    assert (read, failed) == (2, 2)
    assert [len(kept[kind]) for kind in RECORDS] == [2, 1, 1]
    assert kept["members"] == ["('ann ~', 'ann ~')"]


SPELLINGS = ("Acme", "ACME", "acme", "Straße", "STRASSE", "İx", "ix", "i̇x", "Ｆｏｏ", "foo", "北方", "é", "É")
STAGES = ("Talk,,", "Talk,,", "Offer,2026-01-02,", "Won,2026-01-02,2026-01-09", "bogus,,", "Lost,,2199-01-01")


@pytest.mark.parametrize("seed", range(6))
async def test_rows_at_random(admin: Caller, seed: int) -> None:
    random = Random(seed)
    few = random.sample(SPELLINGS, 6)
    # Rows of one key that say different stages are another thing the second time.
    stages = [random.choice(STAGES) for _ in range(45)]

    def called() -> str:
        return f"{random.choice(few)} ~"

    def row(number: int) -> str:
        key = random.choice(("", "", "", f"c{random.randrange(4)}~"))
        own = random.choice((number, number, random.randrange(20)))
        who, what = random.choice(("", called())), random.choice(("", called()))
        return deal(f"k{own}", key, called(), who, what, stages[own])

    await everywhere(admin, [row(number) for number in range(45)])


async def test_what_a_refused_twin_names_is_made_by_the_next(admin: Caller) -> None:
    mapping = {
        "kind": "contacts", "source": "test", "duplicates": "skip", "customer": {"name": "account"},
        "fields": {"external_id": "id", "name": "name", "phone": "phone"},
    }  # fmt: skip
    head = "id,name,account,phone"
    await imported(admin, table("0,Ann Lee,Acme,13800138000", header=head), mapping)
    rows = ("1,Ann Lee,acme,13800138000", "2,Ann Lee,New,13800138000", "3,Bo Wu,NEW,", "4,Cy Ito,new,")
    done = await imported(admin, table(*rows, header=head), mapping)
    refused = {row for row, _, code in await errors_of(admin, done) if code == "duplicate"}
    kept = (await left(admin, "test"))["customers"]
    assert refused == {1, 2}
    assert kept == [("Acme", "Acme"), ("NEW", "NEW")]
