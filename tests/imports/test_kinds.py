"""Every kind in every format: made, imported again, changed; contested by others; twins of what is there."""

from __future__ import annotations

import io
import json
from typing import Any

import openpyxl
import pytest

from services.api.imports import writing
from tests.imports.support import SIMPLE, errors_of, finish, imported, table, upload
from tests.support.caller import Caller

CUSTOMERS: dict[str, Any] = {
    "kind": "customers",
    "source": "test",
    "fields": {"external_id": "id", "name": "name", "phone": "phone", "tier": "tier"},
}
CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any], tuple[str, Any]]] = {
    # kind: (mapping, rows, what a second file changes in its first row, what the api then shows)
    "customers": (
        CUSTOMERS,
        [{"id": "1", "name": "Acme", "phone": "+86 21 5555", "tier": None}, {"id": "2", "name": "李明", "phone": None}],
        {"phone": "+86 10 1"},
        ("phone", "+86 10 1"),
    ),
    "contacts": (
        {
            "kind": "contacts", "source": "test", "customer": {"name": "account"},
            "fields": {"external_id": "id", "name": "name", "birthday": "born", "is_coach": "coach"},
        },
        [
            {"id": "1", "name": "Li Ming", "account": "Acme", "born": "1990-02-03", "coach": "yes"},
            {"id": "2", "name": "王芳", "account": "Acme", "born": None, "coach": None},
        ],
        {"coach": "no"},
        ("is_coach", False),
    ),
    "products": (
        {
            "kind": "products", "source": "test",
            "fields": {"external_id": "id", "name": "name", "list_price": "price", "active": "active"},
        },
        [{"id": "1", "name": "GTX", "price": "99.90", "active": "yes"}, {"id": "2", "name": "MG", "price": "1"}],
        {"price": "120"},
        ("list_price", {"amount": "120.00", "currency": "CNY"}),
    ),
    "interactions": (
        {
            "kind": "interactions", "source": "test", "customer": {"name": "account"},
            "fields": {"external_id": "id", "kind": "what", "occurred_at": "at", "minutes": "minutes"},
        },
        [
            {"id": "1", "what": "call", "at": "2026-01-02T10:00:00Z", "account": "Acme", "minutes": "5"},
            {"id": "2", "what": "visit", "at": "2026-01-03", "account": "Beta", "minutes": None},
        ],
        {"minutes": "25"},
        ("minutes", 25),
    ),
    "opportunities": (
        SIMPLE,
        [
            {"id": "1", "name": "Deal", "account": "Acme", "agent": "Ann Lee", "amount": "10", "stage": "Offer",
             "talked": "2026-01-02", "closed": None},
            {"id": "2", "name": "Won", "account": "Beta", "agent": "Ann Lee", "amount": "20", "stage": "Won",
             "talked": "2026-01-02", "closed": "2026-02-03"},
        ],
        {"stage": "Won", "closed": "2026-03-04"},
        ("status", "won"),
    ),
}  # fmt: skip


def file_of(format_: str, rows: list[dict[str, Any]]) -> bytes:
    names = list(rows[0])
    if format_ == "ndjson":
        return b"\n".join(json.dumps(row).encode() for row in rows)
    lines = [[row.get(name) or "" for name in names] for row in rows]
    if format_ == "csv":
        return table(*(",".join(line) for line in lines), header=",".join(names))
    book = openpyxl.Workbook()
    for line in (names, *lines):
        book.active.append(line)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


@pytest.mark.parametrize("format_", ["csv", "xlsx", "ndjson"])
@pytest.mark.parametrize("kind", CASES)
async def test_made_again_and_changed(admin: Caller, kind: str, format_: str) -> None:
    mapping, rows, change, (field, value) = CASES[kind]

    async def take(given: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        done = await imported(admin, file_of(format_, given), mapping, name=f"file.{format_}")
        assert (done["status"], done["rows_imported"]) == ("succeeded", len(given)), await errors_of(admin, done)
        page = await admin.ok("GET", f"/v1/{kind}", params={"limit": 200, "external_source": "test"})
        return {row["external_id"]: row for row in page["data"] if row["external_id"] in {"1", "2"}}

    first = await take(rows)
    assert set(first) == {"1", "2"}
    assert await take(rows) == first
    changed = await take([{**rows[0], **change}, rows[1]])
    assert changed["1"][field] == value
    assert (changed["1"]["id"], changed["1"]["version"]) == (first["1"]["id"], first["1"]["version"] + 1)
    assert changed["2"] == first["2"]


async def test_one_key_in_another_case_or_with_spaces_is_what_the_database_says(admin: Caller) -> None:
    """External ids are the same where their characters are; blanks around them are taken off, as the api does."""
    file = table("a,Lower,,", " a ,Trimmed,,", "A,Upper,,", "ａ,Wide,,", "a b,Inner,,", header="id,name,phone,tier")
    done = await imported(admin, file, CUSTOMERS)
    assert done["status"] == "succeeded"
    found = {row["external_id"]: row["name"] for row in (await admin.ok("GET", "/v1/customers"))["data"]}
    assert found == {"a": "Trimmed", "A": "Upper", "ａ": "Wide", "a b": "Inner"}
    for external_id in found:
        path = f"/v1/customers/by-external-id/test/{external_id}"
        assert (await admin.put(path, {"name": "Put"})).status_code == 200, external_id


@pytest.mark.parametrize("external_id", ["x" * 200, "x" * 201, "a\tb", "a/b", "ünïcode 李"])
async def test_an_external_id_the_api_takes_is_taken(admin: Caller, external_id: str) -> None:
    put = await admin.post("/v1/customers", {"name": "Api", "external_source": "api", "external_id": external_id})
    rows = [{"id": external_id, "name": "File", "phone": None, "tier": None}]
    done = await imported(admin, file_of("ndjson", rows), CUSTOMERS, name="file.ndjson")
    assert (done["rows_imported"] == 1) == (put.status_code == 201), (put.text, await errors_of(admin, done))


async def test_what_another_records_meanwhile_is_changed_not_refused(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call wins the race for the same external id: the row changes what the call has made."""
    real, made = writing.make, []

    async def raced(*given: Any) -> None:
        if not made:
            body = {"name": "By a call", "external_source": "test", "external_id": "1"}
            made.append(await admin.ok("POST", "/v1/customers", body))
        await real(*given)

    monkeypatch.setattr(writing, "make", raced)
    done = await imported(admin, table("1,By a file,,", "2,Other,,", header="id,name,phone,tier"), CUSTOMERS)
    assert done["status"] == "succeeded", await errors_of(admin, done)
    row = await admin.ok("GET", f"/v1/customers/{made[0]['id']}")
    assert (row["name"], row["version"]) == ("By a file", 2)


@pytest.mark.parametrize("wish", ["keep", "skip", "report"])
async def test_twins_of_what_is_there(admin: Caller, wish: str) -> None:
    known = await admin.make_customer(name="北方重工有限公司", phone="+86 21 5555 0000")
    file = table("1,北方重工股份有限公司,021-5555-0000,", "2,Somebody Else,,", header="id,name,phone,tier")
    done = await imported(admin, file, {**CUSTOMERS, "duplicates": wish})
    assert done["rows_imported"] == (1 if wish == "skip" else 2)
    codes = {"keep": [], "skip": ["duplicate"], "report": ["possible_duplicate"]}[wish]
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [(1, code) for code in codes]
    if codes:
        page = await admin.ok("GET", f"/v1/imports/{done['id']}/errors")
        assert known["id"] in page["data"][0]["message"]
    # What came in once is no twin of itself.
    again = await imported(admin, file, {**CUSTOMERS, "duplicates": "report"})
    assert again["rows_imported"] == 2


async def test_only_customers_and_contacts_are_compared(admin: Caller) -> None:
    response = await upload(admin, table(), {**SIMPLE, "duplicates": "skip"})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == ["/mapping/duplicates"]


async def test_what_was_merged_stays_merged(admin: Caller) -> None:
    """A row of a merged customer is refused; one that names it means the survivor."""
    await imported(admin, table("1,Acme,,", "2,Acme Again,,", header="id,name,phone,tier"), CUSTOMERS)
    found = {row["external_id"]: row["id"] for row in (await admin.ok("GET", "/v1/customers"))["data"]}
    await admin.ok("POST", "/v1/customers:merge", {"into": found["1"], "from": found["2"]})
    done = await imported(admin, table("2,Risen,,", header="id,name,phone,tier"), CUSTOMERS)
    assert await errors_of(admin, done) == [(1, "/id", "already_merged")]
    contacts = {**CASES["contacts"][0], "customer": {"external_id": "account"}}
    rows = [{"id": "9", "name": "Li", "account": "2", "born": None, "coach": None}]
    done = await imported(admin, file_of("ndjson", rows), contacts, name="file.ndjson")
    assert done["status"] == "succeeded", await errors_of(admin, done)
    assert [row["customer_id"] for row in (await admin.ok("GET", "/v1/contacts"))["data"]] == [found["1"]]


async def test_two_batches_under_way_are_as_good_as_one_after_the_other(admin: Caller, other: Caller) -> None:
    """Small batches, each naming what others made, with keys that come again: as with one large batch."""
    lines = [
        f"{k},Deal {k},Customer {k % 11},Rep {k % 5},{n},{'Talk' if n < 60 else 'Offer'},2026-01-02,"
        for n, k in ((n, n % 37) for n in range(120))
    ]
    seen = []
    for caller, size in ((admin, 7), (other, 5_000)):
        done = await imported(caller, table(*lines), import_batch=size)
        assert (done["status"], done["rows_imported"]) == ("succeeded", 120), await errors_of(caller, done)
        deals = (await caller.ok("GET", "/v1/opportunities", params={"limit": 200}))["data"]
        customers = (await caller.ok("GET", "/v1/customers", params={"limit": 200}))["data"]
        members = (await caller.ok("GET", "/v1/members", params={"limit": 200}))["data"]
        names = {row["id"]: row["name"] for row in (*customers, *members)}
        seen.append(
            (
                sorted((d["external_id"], d["amount"]["amount"], d["stage_position"], names[d["customer_id"]],
                        names[d["owner_id"]]) for d in deals),
                sorted((c["name"], names[c["owner_id"]]) for c in customers),
            )
        )  # fmt: skip
    assert seen[0] == seen[1]


async def test_a_refused_row_of_an_earlier_batch_holds_up_none_of_a_later_one(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first batch is halved, the second lets go of what it holds and comes after it."""
    from services.api.imports import line, staging

    monkeypatch.setattr(line, "PATIENCE_SECONDS", 0.01)
    real = writing._records
    stage = list(staging.STANDING).index("stage_id") - len(staging.STANDING)

    def with_a_wrong_row(job: Any, rows: Any, *given: Any) -> Any:
        records, steps = real(job, rows, *given)
        for place, row in enumerate(rows):
            if row.key == "3":
                record = list(records[place])
                record[stage] = record[0]
                records[place] = tuple(record)
        return records, steps

    await imported(admin, table("0,Known,Acme,Ann Lee,1,Talk,,"))
    monkeypatch.setattr(writing, "_records", with_a_wrong_row)
    queued = await upload(admin, table(*(f"{n},Deal,Acme,Ann Lee,1,Talk,," for n in range(1, 31))))
    done = await finish(admin, queued.json()["id"], import_batch=10)
    assert (done["rows_imported"], done["rows_failed"]) == (29, 1)
    assert [row for row, _, _ in await errors_of(admin, done)] == [3]


async def test_who_took_part_comes_with_the_interaction(admin: Caller) -> None:
    mapping, rows, _, _ = CASES["contacts"]
    await imported(admin, file_of("csv", rows), mapping)
    await imported(admin, file_of("csv", [{**rows[0], "id": "9", "account": "Beta"}]), mapping)
    calls = {**CASES["interactions"][0], "contacts": {"external_ids": "who", "separator": "|"}}
    call = CASES["interactions"][1][0]
    given = [{**call, "id": str(n), "who": who} for n, who in enumerate(("1| 2|1", "", "1|7", "2|9"))]
    done = await imported(admin, file_of("csv", given), calls)
    assert await errors_of(admin, done) == [(3, "/who", "unknown_reference"), (4, "/who", "other_customer")]
    names = {row["id"]: row["name"] for row in (await admin.ok("GET", "/v1/contacts"))["data"]}
    found = (await admin.ok("GET", "/v1/interactions"))["data"]
    took_part = {row["external_id"]: sorted(names[each] for each in row["contact_ids"]) for row in found}
    assert took_part == {"0": ["Li Ming", "王芳"], "1": []}
    calls["contacts"]["missing"] = "leave_out"
    done = await imported(admin, file_of("csv", [{**call, "id": "5", "who": "1|7"}]), calls)
    assert done["status"] == "succeeded", await errors_of(admin, done)
