"""What becomes of the rows: formats, encodings, wrong cells, and importing the same again."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import openpyxl
import pytest

from services.api.imports import readers
from shared.db import open_database
from tests.conftest import Servers
from tests.imports.support import HEADER, SIMPLE, errors_of, finish, imported, opportunity, table, upload
from tests.imports.test_uploads import changed, without
from tests.support.caller import Caller
from tests.support.statements import statements

ROW = '1,First,Acme,Ann Lee,"1,234.50",Offer,2026-01-10,'
EVENTS = "SELECT type, count(*) FROM events.outbox WHERE workspace_id = $1 GROUP BY type"


async def events_of(caller: Caller) -> Counter[str]:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        return Counter({row["type"]: row["count"] for row in await tx.connection.fetch(EVENTS, caller.workspace_id)})


async def count(caller: Caller, table_name: str) -> int:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        query = f"SELECT count(*) FROM {table_name} WHERE workspace_id = $1"
        return int(await tx.connection.fetchval(query, caller.workspace_id))


def workbook(*rows: list[Any], sheet: str = "Deals") -> bytes:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in (HEADER.split(","), *rows):
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


async def assert_imported(caller: Caller) -> None:
    made = await opportunity(caller, "1")
    assert (made["name"], made["amount"]) == ("First", {"amount": "1234.50", "currency": "CNY"})
    assert (made["stage_position"], made["status"]) == (1, "open")
    history = await caller.ok("GET", f"/v1/opportunities/{made['id']}/transitions")
    assert [(row["action"], row["occurred_at"][:10]) for row in history["data"]] == [("pass", "2026-01-10")]


async def test_csv_with_quoted_line_breaks_and_blank_lines(admin: Caller) -> None:
    file = table(ROW, "", '2,"Sec\nond","Acme, ""Inc""",Ann Lee,,Talk,,')
    done = await imported(admin, file)
    assert (done["rows_imported"], done["rows_failed"]) == (2, 0), await errors_of(admin, done)
    await assert_imported(admin)
    customers = await admin.ok("GET", "/v1/customers", params={"sort": "name"})
    assert [each["name"] for each in customers["data"]] == ["Acme", 'Acme, "Inc"']


async def test_ndjson(admin: Caller) -> None:
    row = dict(
        zip(HEADER.split(","), ["1", "First", "Acme", "Ann Lee", 1234.5, "Offer", "2026-01-10", None], strict=True)
    )
    lines = [json.dumps(row), "[1]", "{broken", json.dumps({**row, "id": 2, "amount": None, "stage": "Talk"})]
    done = await imported(admin, "\n".join(lines).encode(), name="deals.ndjson")
    assert (done["format"], done["rows_imported"]) == ("ndjson", 2)
    assert await errors_of(admin, done) == [(2, "", "malformed_line"), (3, "", "malformed_line")]
    await assert_imported(admin)


async def test_xlsx(admin: Caller) -> None:
    day = datetime(2026, 1, 10)  # noqa: DTZ001 - a cell of a sheet has no zone
    file = workbook([1, "First", "Acme", "Ann Lee", 1234.5, "Offer", day, None], [None] * 8)
    done = await imported(admin, file, name="deals.xlsx")
    assert (done["format"], done["rows_read"], done["rows_failed"]) == ("xlsx", 1, 0), await errors_of(admin, done)
    await assert_imported(admin)
    mapping = changed(SIMPLE, {"sheet": "Other"}, "file")
    missing = await imported(admin, file, mapping, name="deals.xlsx")
    assert (missing["status"], missing["problem"]["pointer"]) == ("failed", "/mapping/file/sheet")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
async def test_encodings(admin: Caller, encoding: str) -> None:
    mapping = changed(SIMPLE, {"encoding": encoding}, "file")
    file = table("1,首单,北方贸易,李安,1,Talk,,").decode().encode(encoding)
    await imported(admin, file, mapping)
    assert (await opportunity(admin, "1"))["name"] == "首单"


async def test_a_byte_order_mark_is_no_part_of_the_header(admin: Caller) -> None:
    done = await imported(admin, b"\xef\xbb\xbf" + table(ROW))
    assert done["status"] == "succeeded"


async def test_a_wrong_encoding_is_named_with_its_byte_and_line(admin: Caller) -> None:
    file = table(ROW, "2,北方贸易,Acme,Ann Lee,1,Talk,,").decode().encode("gb18030")
    done = await imported(admin, file)
    assert (done["status"], done["rows_read"]) == ("failed", 0)
    assert (done["problem"]["pointer"], done["problem"]["code"]) == ("/mapping/file/encoding", "wrong_encoding")
    place = file.index("北方".encode("gb18030"))
    assert f"byte {place} " in done["problem"]["message"]
    assert "line 3" in done["problem"]["message"]
    assert await count(admin, "sales.opportunities") == 0


async def test_wrong_cells_are_listed_and_the_others_imported(admin: Caller) -> None:
    file = table(
        ROW,
        "2,,Acme,Ann Lee,1,Talk,,",
        "3,Third,Acme,Ann Lee,many,Talk,,",
        "4,Fourth,Acme,Ann Lee,-5,Talk,,",
        "5,Fifth,Acme,Ann Lee,1,Talk,10/01/2026,",
        "6,Sixth,Acme,Ann Lee,1,Dreaming,,",
        "7,Seventh,,Ann Lee,1,Talk,,",
        ",Eighth,Acme,Ann Lee,1,Talk,,",
        "9,too few",
        '10,"Te"nth,Acme,Ann Lee,1,Talk,,',
        "11,\x00Eleventh,Acme,Ann Lee,1,Talk,,",
        "12,Twelfth,Acme,Ann Lee,1,Lost,2026-02-01,2026-01-01",
        "13,Thirteenth,Acme,Ann Lee,1,Won,,2199-01-01",
        f"14,{'x' * 201},Acme,Ann Lee,1,Talk,,",
        "15,Last,Acme,Ann Lee,,Talk,,",
    )
    done = await imported(admin, file)
    assert (done["status"], done["rows_read"], done["rows_imported"]) == ("partially_failed", 15, 2), await errors_of(
        admin, done
    )
    assert await errors_of(admin, done) == [
        (2, "/name", "required"),
        (3, "/amount", "invalid_value"),
        (4, "/amount", "out_of_range"),
        (5, "/talked", "invalid_date"),
        (6, "/stage", "unknown_stage"),
        (7, "/account", "required"),
        (8, "/id", "required"),
        (9, "", "wrong_column_count"),
        (10, "", "malformed_line"),
        (11, "/name", "invalid_text"),
        (12, "/stage", "out_of_order"),
        (13, "/stage", "in_future"),
        (14, "/name", "too_long"),
    ]
    assert (await opportunity(admin, "15"))["amount"] is None


@pytest.mark.parametrize(
    ("name", "file", "code"),
    [
        ("a.csv", b"\n", "no_header"),
        ("a.csv", b"id,id\n1,2\n", "duplicate_column"),
        ("a.csv", b"id,name\n1,2\n", "unknown_column"),
        ("a.xlsx", b"no archive", "malformed_file"),
        ("a.ndjson", b"\n\n", "no_header"),
    ],
)
async def test_an_unreadable_file_fails_as_a_whole_and_says_why(
    admin: Caller, name: str, file: bytes, code: str
) -> None:
    done = await imported(admin, file, name=name)
    assert (done["status"], done["problem"]["code"], done["rows_read"]) == ("failed", code, 0), done


async def test_a_workbook_that_unfolds_into_gigabytes_is_refused(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MOST_UNPACKED", 1_000_000)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 2_000_000)
    done = await imported(admin, bomb.getvalue(), name="a.xlsx")
    assert (done["status"], done["problem"]["code"]) == ("failed", "too_large_unpacked")


async def test_a_dry_run_reports_everything_and_writes_nothing(admin: Caller) -> None:
    before = {name: await count(admin, f"sales.{name}") for name in ("members", "processes", "customers")}
    wet = table(ROW, "2,Second,Acme,Ann Lee,many,Talk,,", "3,Third,Beta,Bob Far,1,Won,2026-01-02,2026-01-03")
    done = await imported(admin, wet, dry_run="true", import_batch=2)
    assert (done["dry_run"], done["rows_imported"], done["rows_failed"]) == (True, 2, 1)
    assert await errors_of(admin, done) == [(2, "/amount", "invalid_value")]
    assert {name: await count(admin, f"sales.{name}") for name in before} == before
    assert await count(admin, "sales.opportunities") == 0
    assert not [name for name in await events_of(admin) if name.startswith(("opportunity", "customer", "member"))]


async def test_importing_the_same_again_changes_only_what_changed(admin: Caller) -> None:
    await imported(
        admin, table(ROW, "2,Second,Beta,Bob Far,10,Talk,,", "3,Third,Acme,Ann Lee,1,Lost,2026-01-02,2026-01-03")
    )
    first = {external: await opportunity(admin, external) for external in ("1", "2", "3")}
    told = await events_of(admin)
    again = await imported(
        admin, table(ROW, "2,Second,Beta,Bob Far,10,Talk,,", "3,Third,Acme,Ann Lee,1,Lost,2026-01-02,2026-01-03")
    )
    assert (again["status"], again["rows_imported"]) == ("succeeded", 3), await errors_of(admin, again)
    assert {external: await opportunity(admin, external) for external in first} == first
    assert await events_of(admin) == told + Counter({"import.created": 1, "import.completed": 1})
    await imported(admin, table(ROW, "2,Second renamed,Beta,Bob Far,10,Offer,2026-01-05,"))
    second = await opportunity(admin, "2")
    assert (second["name"], second["stage_position"]) == ("Second renamed", 1)
    assert await opportunity(admin, "1") == first["1"]
    changes = (await events_of(admin)) - told
    assert (changes["opportunity.updated"], changes["opportunity.milestone_passed"]) == (1, 1)
    assert await count(admin, "sales.customers") == 2


async def test_a_key_that_comes_twice_changes_what_it_made(admin: Caller) -> None:
    done = await imported(admin, table(ROW, "1,First again,Acme,Ann Lee,5,Won,2026-01-10,2026-02-01"))
    assert (done["rows_imported"], done["rows_failed"]) == (2, 0)
    made = await opportunity(admin, "1")
    assert (made["name"], made["status"], made["won_at"][:10]) == ("First again", "won", "2026-02-01")


async def test_an_irreversible_milestone_is_not_gone_back_over_by_an_import(admin: Caller) -> None:
    process = {"talk": "1,First,Acme,Ann Lee,1,Talk,,", "sign": "1,First,Acme,Ann Lee,1,Sign,2026-01-02,"}
    await imported(
        admin,
        table(process["sign"], "2,Second,Acme,Ann Lee,1,Offer,2026-01-02,", "3,Third,Acme,Ann Lee,1,Won,,2026-01-09"),
    )
    done = await imported(
        admin,
        table(
            process["talk"],
            "2,Second,Acme,Ann Lee,1,Talk,,",
            "3,Third,Acme,Ann Lee,1,Sign,,",
            "4,New,Acme,Ann Lee,1,Talk,,",
        ),
    )
    assert await errors_of(admin, done) == [
        (1, "/stage", "milestone_irreversible"),
        (3, "/stage", "milestone_irreversible"),
    ]
    assert done["rows_imported"] == 2
    assert (await opportunity(admin, "1"))["stage_position"] == 2
    assert (await opportunity(admin, "2"))["stage_position"] == 0
    assert (await opportunity(admin, "3"))["status"] == "won"


async def test_a_lost_one_is_reopened_and_imported_passages_are_unverified(admin: Caller) -> None:
    today = datetime.now(UTC).date().isoformat()
    await imported(admin, table(f"1,First,Acme,Ann Lee,1,Lost,{today},{today}"))
    assert (await opportunity(admin, "1"))["status"] == "lost"
    done = await imported(admin, table(f"1,First,Acme,Ann Lee,1,Offer,{today},"))
    assert done["rows_imported"] == 1, await errors_of(admin, done)
    made = await opportunity(admin, "1")
    assert (made["status"], made["stage_position"]) == ("open", 1)
    history = await admin.ok("GET", f"/v1/opportunities/{made['id']}/transitions")
    assert {row["action"] for row in history["data"]} == {"lose", "reopen", "pass"}
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        kept = await tx.connection.fetch("SELECT DISTINCT imported, historical, criteria FROM sales.transitions")
    assert [tuple(row) for row in kept] == [(True, True, "unverified")]


async def test_dates_are_moved_so_that_the_file_ends_on_a_day(admin: Caller) -> None:
    file = table("1,First,Acme,Ann Lee,1,Won,2017-01-01,2017-12-31", "2,Second,Acme,Ann Lee,1,Offer,2017-12-01,")
    await imported(admin, file, shift_dates_to="2026-06-30")
    first = await opportunity(admin, "1")
    assert (first["won_at"][:10], first["occurred_at"][:10]) == ("2026-06-30", "2025-07-01")
    assert (await opportunity(admin, "2"))["stage_entered_at"][:10] == "2026-05-31"


async def test_placeholders_for_rows_without_a_customer(admin: Caller) -> None:
    mapping = changed(SIMPLE, {"name": "account", "empty": "placeholder"}, "customer")
    file = table("1,First,,Ann Lee,1,Talk,,", "2,Second,,Ann Lee,1,Talk,,")
    for _ in range(2):
        await imported(admin, file, mapping)
    customers = await admin.ok("GET", "/v1/customers", params={"sort": "name"})
    assert [each["name"] for each in customers["data"]] == ["Unknown customer (1)", "Unknown customer (2)"]
    assert (await opportunity(admin, "1"))["owner_id"] == customers["data"][0]["owner_id"]


async def test_references_are_found_or_refused(admin: Caller) -> None:
    acme, ann = await admin.make_customer("ACME"), await admin.member("rep", "Ann Lee")
    for _ in range(2):
        await admin.make_customer("Twins")
    mapping = changed(
        changed(SIMPLE, "refuse", "owner", "missing"), {"name": "account", "missing": "refuse"}, "customer"
    )
    file = table(
        "1,First,Acme,ann lee,1,Talk,,", "2,B,Nobody,Ann Lee,1,Talk,,", "3,C,Acme,Who,1,Talk,,", "4,D,twins,,1,Talk,,"
    )
    done = await imported(admin, file, mapping)
    made = await opportunity(admin, "1")
    assert (made["customer_id"], made["owner_id"]) == (acme["id"], str(ann.member_id))
    assert await errors_of(admin, done) == [
        (2, "/account", "unknown_reference"),
        (3, "/agent", "unknown_reference"),
        (4, "/account", "ambiguous_reference"),
    ]
    other = await imported(admin, table("1,First,Twice,Ann Lee,1,Talk,,"), SIMPLE)
    assert await errors_of(admin, other) == [(1, "/account", "immutable")]


async def test_a_process_named_by_its_key_must_be_there_with_its_stages(admin: Caller) -> None:
    mapping = changed(SIMPLE, {"key": "nowhere"}, "process")
    done = await imported(admin, table(ROW), mapping)
    assert (done["status"], done["problem"]["pointer"]) == ("failed", "/mapping/process/key")
    mapping = changed(SIMPLE, {"key": "complex_sale"}, "process")
    done = await imported(admin, table(ROW), mapping)
    assert (done["status"], done["problem"]["pointer"][:21]) == ("failed", "/mapping/stage/values")


async def test_the_report_as_a_table_holds_no_formulas(admin: Caller) -> None:
    header = HEADER.replace("amount", "=amount")
    mapping = changed(SIMPLE, "=amount", "fields", "amount")
    done = await imported(
        admin, table("1,First,Acme,Ann Lee,x,Talk,,", "2,,Acme,Ann Lee,1,Talk,,", header=header), mapping
    )
    response = await admin.get(f"/v1/imports/{done['id']}/errors", headers={"Accept": "text/csv"})
    assert response.headers["content-type"].startswith("text/csv")
    lines = response.content.decode("utf-8-sig").splitlines()
    assert lines[0] == "row,pointer,code,message"
    assert "'=amount" in lines[1]
    page = await admin.ok("GET", f"/v1/imports/{done['id']}/errors", params={"limit": 1})
    rest = await admin.ok("GET", f"/v1/imports/{done['id']}/errors", params={"limit": 1, "cursor": page["next_cursor"]})
    assert [page["data"][0]["row"], rest["data"][0]["row"], rest["has_more"]] == [1, 2, False]


async def test_attributes_are_checked_and_kept(admin: Caller) -> None:
    body = {"subject": "opportunity", "key": "seats", "kind": "number", "label": {"en": "Seats"}}
    await admin.ok("POST", "/v1/attributes", body)
    mapping = changed(SIMPLE, {"seats": "amount"}, "attributes")
    done = await imported(
        admin,
        table("1,First,Acme,Ann Lee,12,Talk,,", "2,Second,Acme,Ann Lee,,Talk,,"),
        without(mapping, "fields", "amount"),
    )
    assert done["status"] == "succeeded", await errors_of(admin, done)
    assert (await opportunity(admin, "1"))["attributes"] == {"seats": 12.0}
    assert (await opportunity(admin, "2"))["attributes"] == {}
    unknown = await imported(admin, table(ROW), changed(SIMPLE, {"size": "amount"}, "attributes"))
    assert (unknown["status"], unknown["problem"]["pointer"]) == ("failed", "/mapping/attributes/size")


async def test_a_row_the_database_refuses_is_found_among_the_others(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.api.imports import staging, writing

    real = writing._records
    stage = list(staging.STANDING).index("stage_id") - len(staging.STANDING)

    def with_a_wrong_row(job: Any, rows: Any, *given: Any) -> Any:
        records, steps = real(job, rows, *given)
        for place, row in enumerate(rows):
            if row.key == "5":
                record = list(records[place])
                record[stage] = record[0]  # a stage that does not exist
                records[place] = tuple(record)
        return records, steps

    monkeypatch.setattr(writing, "_records", with_a_wrong_row)
    done = await imported(admin, table(*(f"{n},Name {n},Acme,Ann Lee,1,Talk,," for n in range(1, 10))))
    assert (done["rows_imported"], done["rows_failed"]) == (8, 1)
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [(5, "unknown_reference")]


async def test_two_uploads_of_one_file_do_not_double(admin: Caller) -> None:
    first = await upload(admin, table(ROW))
    second = await upload(admin, table(ROW))
    assert first.json()["id"] != second.json()["id"]
    for response in (first, second):
        done = await finish(admin, response.json()["id"])
        assert done["rows_imported"] == 1
    assert await count(admin, "sales.opportunities") == 1


async def test_statements_do_not_grow_with_the_rows(admin: Caller) -> None:
    counts = []
    for first, rows in ((0, 2), (10, 40)):
        lines = (f"{n},Name,Customer {n},Rep {n},1,Won,2026-01-02,2026-01-03" for n in range(first, first + rows))
        response = await upload(admin, table(*lines))
        with statements() as seen:
            done = await finish(admin, response.json()["id"])
        assert done["rows_imported"] == rows
        counts.append(len(seen))
        with statements() as read:
            await admin.ok("GET", "/v1/imports")
            await admin.ok("GET", f"/v1/imports/{done['id']}/errors")
        counts.append(len(read))
    # The first one made the process too.
    assert (counts[1], counts[2] <= counts[0]) == (counts[3], True), counts


async def test_a_whole_batch_that_moves_on_ends_in_good_time(admin: Caller, servers: Servers) -> None:
    """Told of step by step, in a statement whose work grows with its rows and not with their square."""
    rows = 5_000
    # Connections of its own, as a worker has: no plan is left from calls of the api.
    database = await open_database(servers.database_url, "sixteen_api", size=3, statement_timeout_ms=6_000)
    own = replace(admin, state=replace(admin.state, database=database))
    await imported(own, table(*(f"{n},Deal,Acme,Ann Lee,1,Talk,," for n in range(rows))))
    before = await events_of(admin)
    moved = table(*(f"{n},Deal,Acme,Ann Lee,1,Won,2026-01-02,2026-01-03" for n in range(rows)))
    done = await imported(own, moved, import_attempts=1, import_batch=rows)
    await database.close()
    assert (done["status"], done["rows_imported"]) == ("succeeded", rows)
    told = await events_of(admin) - before
    assert (told["opportunity.milestone_passed"], told["opportunity.won"]) == (3 * rows, rows)


async def test_nothing_of_a_person_enters_events_and_audit(admin: Caller) -> None:
    """The same values stay out whether they come by a call or by an import."""
    plain = {"external_id": "id", "name": "name"}
    customers = {"kind": "customers", "source": "erp", "fields": {**plain, "kind": "kind"}}
    for kind in ("household", "organisation"):
        await imported(admin, f"id,name,kind\nC1,Family Secret,{kind}\n".encode(), customers)
    contacts = {"kind": "contacts", "source": "erp", "fields": plain, "customer": {"external_id": "customer"}}
    for name in ("Secret Li", "Secret Wu"):
        await imported(admin, f"id,customer,name\nSecret-ID,C1,{name}\n".encode(), contacts)
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        told = await tx.connection.fetch(
            "SELECT type, data::text AS data FROM events.outbox WHERE workspace_id = $1 UNION ALL"
            " SELECT action, changes::text FROM sales.audit_entries WHERE workspace_id = $1",
            admin.workspace_id,
        )
    assert sum(row["type"] == "contact.updated" for row in told) == 2
    assert sum(row["type"] == "customer.updated" for row in told) == 2
    assert [row["type"] for row in told if "Secret" in row["data"]] == []
