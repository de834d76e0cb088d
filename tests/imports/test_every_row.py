"""Every row of a file is in the database or listed with its error, and a refused one leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from services.api.imports import staging
from services.api.imports.kinds import KINDS
from shared.db import Query, sql
from tests.imports.support import SIMPLE, errors_of, finish, imported, opportunity, table, upload
from tests.imports.test_rows import count, events_of
from tests.imports.test_uploads import changed
from tests.support.caller import Caller

HEADER = "id,name,owner"
CUSTOMERS: dict[str, Any] = {
    "kind": "customers", "source": "test", "fields": {"external_id": "id", "name": "name"}, "owner": {"name": "owner"},
}  # fmt: skip
OWNERS = ("Ann Lee", "Bob Far")
STORED = sql(
    "SELECT c.external_id, c.name, m.name AS owner, c.deleted_at IS NOT NULL AS gone FROM sales.customers c"
    " LEFT JOIN sales.members m ON m.workspace_id = c.workspace_id AND m.id = c.owner_id"
    " WHERE c.workspace_id = :workspace_id AND c.external_source = 'test'"
)


async def stored(caller: Caller) -> dict[str, Any]:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        return {row["external_id"]: row for row in await tx.rows(STORED)}


async def test_a_new_row_beside_a_refused_one_is_written(admin: Caller) -> None:
    for owner in OWNERS:
        await admin.member("rep", owner)
    await imported(admin, table("k0,K0,Ann Lee", header=HEADER), CUSTOMERS)
    done = await imported(admin, table("k0,K0,Bob Far", "k1,K1,Ann Lee", header=HEADER), CUSTOMERS)
    assert (done["rows_imported"], done["rows_failed"]) == (1, 1)
    assert (await stored(admin)).keys() == {"k0", "k1"}
    assert (await events_of(admin))["customer.created"] == 2


class Expected:
    """What should be stored, worked out row by row without a database."""

    def __init__(self, merged: set[str]) -> None:
        self.names: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.merged = merged

    def take(self, key: str, name: str, owner: str) -> str | None:
        """The code with which the row is refused; None where it is imported."""
        if not name:
            return "required"
        if owner == "Nobody":
            return "unknown_reference"
        if key in self.merged:
            return "already_merged"
        if owner and self.owners.get(key, owner) != owner:
            return "immutable"
        if key not in self.names:
            self.owners[key] = owner
        self.names[key] = name
        return None


def _row(random: Random, keys: list[str]) -> tuple[str, str, str]:
    name = "" if random.random() < 0.1 else f"Name {random.randrange(3)}"
    owner = "Nobody" if random.random() < 0.1 else random.choice(OWNERS)
    return random.choice(keys), name, owner


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_counted_is_what_is_stored(admin: Caller, seed: int) -> None:
    """New, known, refused and merged rows, the same key again, in batches of any size of which two overlap."""
    random = Random(seed)
    for owner in OWNERS:
        await admin.member("rep", owner)
    await imported(admin, table("into,Into,Ann Lee", "m0,M,Ann Lee", "m1,M,Ann Lee", header=HEADER), CUSTOMERS)
    page = await admin.ok("GET", "/v1/customers", params={"limit": 50})
    ids = {row["external_id"]: row["id"] for row in page["data"]}
    for merged in ("m0", "m1"):
        await admin.ok("POST", "/v1/customers:merge", {"into": ids["into"], "from": ids[merged]})
    expected = Expected({"m0", "m1"})
    expected.take("into", "Into", "Ann Lee")
    keys = [*(f"k{number}" for number in range(12)), "m0", "m1"]
    for step in range(3):
        rows = [_row(random, [*keys, *(f"n{step}-{number}" for number in range(8))]) for _ in range(30)]
        codes = [(number, expected.take(*row)) for number, row in enumerate(rows, 1)]
        file = table(*(",".join(row) for row in rows), header=HEADER)
        done = await imported(admin, file, CUSTOMERS, import_batch=random.choice((1, 2, 3, 7, 50)))
        wrong = [(number, code) for number, code in codes if code is not None]
        told = await errors_of(admin, done)
        # A row may be wrong in more than one way: the first is what is expected.
        assert list({number: (number, code) for number, _, code in reversed(told)}.values())[::-1] == wrong
        assert (done["rows_imported"], done["rows_failed"]) == (len(rows) - len(wrong), len(wrong))
        now = {key: row for key, row in (await stored(admin)).items() if not row["gone"]}
        assert {key: row["name"] for key, row in now.items()} == expected.names
        assert {key: row["owner"] for key, row in now.items()} == expected.owners


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
async def test_a_row_that_is_not_written_is_never_counted(
    admin: Caller, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Whatever makes a statement write fewer rows than it was given ends the batch: nothing of it is kept."""
    file = table("k0,K0,", "k1,K1,", header=HEADER)
    if known:
        await imported(admin, file, CUSTOMERS)
    name = "update_changed" if known else "insert_new"
    real = getattr(staging, name)

    def forgetful(*given: Any) -> Query:
        return _without_one(real(*given))

    monkeypatch.setattr(staging, name, forgetful)
    made = (await upload(admin, table("k0,New,", "k1,New,", header=HEADER), CUSTOMERS)).json()
    done = await finish(admin, made["id"], import_attempts=1)
    assert (done["status"], done["rows_imported"], done["problem"]["code"]) == ("failed", 0, "gave_up")
    assert {row["name"] for row in (await stored(admin)).values()} == ({"K0", "K1"} if known else set())


async def test_an_opportunity_named_by_a_later_row_alone_is_kept(admin: Caller) -> None:
    """What the first row of a batch leaves empty is no reason to drop it from the others; an empty cell clears it."""
    await imported(admin, table("D1,Deal,Acme,Ann Lee,1,Talk,,"), SIMPLE)
    deal = await opportunity(admin, "D1")
    mapping = {
        "kind": "interactions", "source": "test", "customer": {"name": "account"},
        "opportunity": {"external_id": "deal"},
        "fields": {"external_id": "id", "kind": {"constant": "call"}, "occurred_at": "at"},
    }  # fmt: skip
    head = "id,account,deal,at"
    done = await imported(admin, table("I1,Acme,,2026-01-05", "I2,Acme,D1,2026-01-05", header=head), mapping)
    assert done["status"] == "succeeded", await errors_of(admin, done)

    async def named() -> dict[str, str | None]:
        page = await admin.ok("GET", "/v1/interactions")
        return {row["external_id"]: row["opportunity_id"] for row in page["data"]}

    assert await named() == {"I1": None, "I2": deal["id"]}
    await imported(admin, table("I2,Acme,,2026-01-05", header=head), mapping)
    assert await named() == {"I1": None, "I2": None}


BACK = ("d2,Deal,Acme,Ann Lee,1,Sign,2026-01-02,", "d2,Deal,Acme,Ann Lee,1,Talk,2026-01-02,")


async def test_a_dry_run_judges_a_row_against_an_earlier_one(admin: Caller) -> None:
    """A key that comes again: what the later row may not do is told before anything is written."""
    file = table("d1,Deal,Acme,Ann Lee,1,Talk,,", *BACK, "d3,Deal,Beta,Bo Wu,1,Sign,2026-01-02,")
    names = ("opportunities", "customers", "members", "processes")
    before = [await count(admin, f"sales.{name}") for name in names]
    reports = []
    for dry in ("true", "false"):
        done = await imported(admin, file, dry_run=dry)
        errors = await errors_of(admin, done)
        reports.append((done["status"], done["rows_read"], done["rows_imported"], done["rows_failed"], errors))
        if dry == "true":
            assert [await count(admin, f"sales.{name}") for name in names] == before
    assert reports[0] == reports[1]
    assert reports[0][4] == [(3, "/stage", "milestone_irreversible")]


async def test_a_dry_run_goes_on_after_a_batch_that_names_what_it_made(admin: Caller) -> None:
    """What a batch made is undone with it: the next one makes it again, and nothing refers to what is not there."""
    before = await events_of(admin)
    rows = (f"{number % 5},Deal,Acme {number % 5 % 2},Ann Lee,1,Talk,," for number in range(12))
    done = await imported(admin, table(*rows), dry_run="true", import_batch=4)
    assert (done["status"], done["rows_imported"]) == ("succeeded", 12), await errors_of(admin, done)
    assert [await count(admin, f"sales.{name}") for name in ("opportunities", "customers")] == [0, 0]
    assert await events_of(admin) - before == Counter({"import.created": 1, "import.completed": 1})


async def test_a_dry_run_finds_the_row_that_the_database_refuses(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.api.imports import writing

    real = writing._records
    stage = list(staging.STANDING).index("stage_id") - len(staging.STANDING)

    def with_a_wrong_row(job: Any, rows: Any, *given: Any) -> Any:
        records, steps = real(job, rows, *given)
        for place, row in enumerate(rows):
            if row.number == 5:
                record = list(records[place])
                record[stage] = record[0]  # a stage that does not exist
                records[place] = tuple(record)
        return records, steps

    monkeypatch.setattr(writing, "_records", with_a_wrong_row)
    rows = [f"{number},Name,Acme,Ann Lee,1,Talk,," for number in range(1, 8)]
    done = await imported(admin, table(*rows, *BACK), dry_run="true")
    assert (done["rows_imported"], done["rows_failed"]) == (7, 2)
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [
        (5, "unknown_reference"),
        (9, "milestone_irreversible"),
    ]
    assert await count(admin, "sales.opportunities") == 0


async def test_a_refused_row_makes_no_references(admin: Caller) -> None:
    mapping = changed(SIMPLE, {"name": {"column": "amount"}, "missing": "create"}, "product")
    mapping["fields"] = {"external_id": "id", "name": "name"}
    await imported(admin, table("r0,Deal,Acme,Ann Lee,A,Talk,,"), mapping)
    before = {name: await count(admin, f"sales.{name}") for name in ("customers", "members", "products")}
    events = await events_of(admin)
    done = await imported(admin, table("r0,Deal,Other,Bo Wu,B,Talk,,"), mapping)
    assert {code for _, _, code in await errors_of(admin, done)} == {"immutable"}
    assert before == {name: await count(admin, f"sales.{name}") for name in before}
    assert await events_of(admin) - events == Counter({"import.created": 1, "import.completed": 1})


async def test_what_a_refused_row_named_first_is_made_by_the_next_one(admin: Caller) -> None:
    """In the same batch as in a later one; what is made takes its owner from a row that is imported."""
    mapping = changed(SIMPLE, True, "customer", "owned")
    await imported(admin, table("r0,Deal,Acme,Ann Lee,1,Talk,,"), mapping)
    rows = (
        "r0,Deal,Other,Bo Wu,1,Talk,,",
        "r1,Deal,Other,Cy Ma,1,Talk,,",
        "r0,Deal,Third,Di Xu,1,Talk,,",
        "r2,Deal,Third,Di Xu,1,Talk,,",
    )
    done = await imported(admin, table(*rows), mapping, import_batch=2)
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [
        (1, "immutable"), (1, "immutable"), (3, "immutable"), (3, "immutable"),
    ]  # fmt: skip
    page = await admin.ok("GET", "/v1/customers", params={"limit": 50})
    owners = {row["name"]: row["owner_id"] for row in page["data"]}
    assert owners.keys() == {"Acme", "Other", "Third"}
    assert owners["Other"] == (await opportunity(admin, "r1"))["owner_id"]
    assert owners["Third"] == (await opportunity(admin, "r2"))["owner_id"]
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        names = await tx.rows(sql("SELECT name FROM sales.members WHERE workspace_id = :workspace_id"))
    assert "Bo Wu" not in {row["name"] for row in names}


def _without_one(query: Query) -> Query:
    """The statement over one of the staged rows less."""
    table_name = staging.stage_table(KINDS["customers"])
    less = sql("SELECT 1")
    less.sql = query.sql.replace(
        f"FROM {table_name} s", f"FROM (SELECT * FROM {table_name} WHERE external_id <> 'k1') s", 1
    )
    less.names, less.defaults = query.names, query.defaults
    return less
