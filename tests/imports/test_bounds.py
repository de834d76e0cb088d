"""What a file may cost: small archives that unfold, names without end, values that are guessed, files without rows."""

from __future__ import annotations

import io
import resource
import zipfile
from datetime import date, datetime
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
import xlsxwriter  # type: ignore[import-untyped]

from services.api.imports import attempt
from tests.exports.support import content, exported
from tests.imports.support import errors_of, finish, imported, upload, worker_of
from tests.imports.test_hostile import FAILED, MAPPING, _altered
from tests.support.caller import Caller

_SHEET = "xl/worksheets/sheet1.xml"
_STRINGS = "xl/sharedStrings.xml"
NAMES: dict[str, Any] = {"kind": "customers", "source": "test", "fields": {"external_id": "id", "name": "name"}}
_NS = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def _written(*rows: tuple[Any, ...]) -> bytes:
    """A workbook as spreadsheets write it: its texts are shared, its days are numbers with a format."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"default_date_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet("Accounts")
    for number, row in enumerate(rows):
        sheet.write_row(number * 2, 0, row)
    book.close()
    return data.getvalue()


def _unfolding(part: str, head: bytes, piece: bytes, times: int, tail: bytes) -> bytes:
    """A workbook of which one part is `head`, `piece` over and over, and `tail`."""
    source = zipfile.ZipFile(io.BytesIO(_written(("id", "name", "on"), ("1", "Acme", None))))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            if entry.filename != part:
                target.writestr(entry.filename, source.read(entry))
        with target.open(part, "w") as out:
            out.write(head)
            for _ in range(times):
                out.write(piece)
            out.write(tail)
    return data.getvalue()


_INLINE = b"<worksheet " + _NS + b'><sheetData><row r="1"><c r="A1" t="inlineStr"><is>'
_ENDED = b"</is></c></row></sheetData></worksheet>"
_MEGA = 1024**2
BOMBS: dict[str, bytes] = {
    "a header cell of 300 MB": _unfolding(_SHEET, _INLINE + b"<t>", b"a" * _MEGA, 300, b"</t>" + _ENDED),
    "a header cell of 30 MB": _unfolding(_SHEET, _INLINE + b"<t>", b"a" * _MEGA, 30, b"</t>" + _ENDED),
    "a cell of many runs": _unfolding(_SHEET, _INLINE, b"<r><t>" + b"a" * 9000 + b"</t></r>", 3000, _ENDED),
    "a shared text of 30 MB": _unfolding(
        _STRINGS, b"<sst " + _NS + b"><si><t>", b"a" * _MEGA, 30, b"</t></si></sst>"
    ),
    "styles of 30 MB": _unfolding("xl/styles.xml", b"<styleSheet " + _NS + b">", b" " * _MEGA, 30, b"</styleSheet>"),
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
async def test_a_small_workbook_that_unfolds_fails_at_once_and_costs_no_memory(admin: Caller, what: str) -> None:
    assert len(BOMBS[what]) < 400_000
    response = await upload(admin, BOMBS[what], NAMES, name="a.xlsx")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = await finish(admin, response.json()["id"])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (done["status"], done["problem"]["code"]) == ("failed", "too_large_unpacked"), done
    assert len(done["problem"]["message"]) < 300
    assert grown < 120_000, f"{grown} kB"


async def test_shared_texts_days_and_empty_lines_are_read(admin: Caller) -> None:
    rows = (
        ("id", "name", "on"),
        (1, "Acme", date(2026, 1, 31)),
        (2, "李明公司", datetime(2026, 2, 1, 8, 30)),  # noqa: DTZ001 - cells have no zone
        (3, True),
    )
    mapping = {**MAPPING, "time_zone": "UTC", "file": {"sheet": "Accounts"}}
    done = await imported(admin, _written(*rows), mapping, name="a.xlsx")
    assert (done["status"], done["rows_read"]) == ("succeeded", 3), done
    found = {row["external_id"]: row for row in (await admin.ok("GET", "/v1/customers"))["data"]}
    assert {key: row["name"] for key, row in found.items()} == {"1": "Acme", "2": "李明公司", "3": "True"}
    assert (found["1"]["occurred_at"][:10], found["2"]["occurred_at"][:16]) == ("2026-01-31", "2026-02-01T08:30")


async def test_a_cell_that_can_not_be_read_spoils_its_row_alone(admin: Caller) -> None:
    data = _altered(
        _SHEET,
        lambda xml: xml.replace(b"</row></sheetData>", b'</row><row r="3"><c r="A3"><v>many</v></c></row></sheetData>'),
    )
    done = await imported(admin, data, NAMES, name="a.xlsx")
    assert (done["rows_imported"], done["rows_failed"]) == (1, 1), done
    assert await errors_of(admin, done) == [(2, "", "malformed_line")]


async def test_rows_far_down_a_sheet_are_not_counted_up_to(admin: Caller) -> None:
    data = _altered(_SHEET, lambda xml: xml.replace(b'<row r="2"', b'<row r="900000000000"'))
    done = await imported(admin, data, NAMES, name="a.xlsx")
    assert (done["status"], done["rows_imported"]) == ("succeeded", 1), done


async def test_names_of_columns_are_quoted_short(admin: Caller) -> None:
    long = ",".join(f"{n}{'x' * 900}" for n in range(50))
    done = await imported(admin, f"{long}\n{'1,' * 49}1\n".encode(), NAMES)
    assert done["problem"]["code"] == "unknown_column", done
    assert "…" in done["problem"]["message"]
    assert len(done["problem"]["message"]) < 2_100
    longer = ",".join(f"{n}{'x' * 700_000}" for n in range(5))
    for name, data in (("a.csv", longer.encode() + b"\n1,1,1,1,1\n"), ("a.ndjson", b'{"%s": 1}' % (b"x" * 700_000))):
        done = await imported(admin, data, NAMES, name=name)
        assert done["problem"]["code"] == "column_name_too_long", done
        assert len(done["problem"]["message"]) < 300
    done = await imported(admin, b"a\0b,c\n1,2\n", NAMES)
    assert (done["status"], done["problem"]["code"]) == ("failed", "unknown_column"), done


async def test_names_in_a_mapping_are_told_short_and_few(admin: Caller) -> None:
    fields = {f"{n}{'X' * 4000}": "a" for n in range(150)}
    response = await upload(admin, b"id\n1\n", {**NAMES, "fields": fields})
    assert response.status_code == 422, response.text
    assert len(response.content) < 60_000


async def test_a_failure_that_can_not_be_told_ends_the_import_all_the_same(admin: Caller) -> None:
    response = await upload(admin, b"a,b\n1,2\n", NAMES)
    with patch.object(attempt, "_kept", lambda text: f"\0{text}"):
        done = await finish(admin, response.json()["id"])
    assert (done["status"], done["problem"]["code"]) == ("failed", "unknown_column"), done
    assert "written down" in done["problem"]["message"]


async def test_attempts_that_die_without_a_word_come_to_an_end(admin: Caller) -> None:
    response = await upload(admin, b"id,name\n1,Acme\n", NAMES)
    import_id = UUID(response.json()["id"])
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.connection.execute("UPDATE sales.imports SET attempts = 8 WHERE id = $1", import_id)
    async with worker_of(admin, import_attempts=2) as worker:
        assert await attempt.run(worker, admin.workspace_id, import_id)
    done = await admin.ok("GET", f"/v1/imports/{import_id}")
    assert (done["status"], done["problem"]["code"]) == ("failed", "gave_up"), done


@pytest.mark.parametrize(
    "line",
    [b'{"id": {"a": 1}, "name": "x"}', b'{"id": ["1"], "name": "x"}', b'{"id": true, "name": "x"}'],
    ids=["an object", "a list", "true"],
)
async def test_what_json_holds_and_no_text_says_is_an_error_of_the_row(admin: Caller, line: bytes) -> None:
    done = await imported(admin, line + b'\n{"id": 7, "name": "Acme"}\n', NAMES, name="a.ndjson")
    assert (done["rows_imported"], done["rows_failed"]) == (1, 1), done
    assert await errors_of(admin, done) == [(1, "/id", "invalid_type")]


async def test_numbers_of_ndjson_keep_their_digits(admin: Caller) -> None:
    ids = ("9007199254740993.5", "123456789012345678901234567890", "1.50", "12")
    data = b"".join(b'{"id": %s, "name": "Acme"}\n' % number.encode() for number in ids)
    done = await imported(admin, data, NAMES, name="a.ndjson")
    assert done["status"] == "succeeded", done
    found = {row["external_id"] for row in (await admin.ok("GET", "/v1/customers"))["data"]}
    assert found == set(ids)


@pytest.mark.parametrize("format_", ["csv", "xlsx", "ndjson"])
async def test_an_export_without_rows_is_taken_back_without_rows(admin: Caller, format_: str) -> None:
    done = await exported(admin, "customers", format_)
    assert done["rows_written"] == 0
    data = await content(admin, done)
    mapping = await admin.ok("GET", f"/v1/exports/{done['id']}/mapping")
    back = await imported(admin, data, mapping, name=f"file.{format_}")
    assert (back["status"], back["rows_read"], back["problem"]) == ("succeeded", 0, None), back


async def test_a_file_that_is_known_is_not_sent_again(admin: Caller) -> None:
    done = await exported(admin, "customers", "csv")
    path = f"/v1/exports/{done['id']}/content"
    first = await admin.request("GET", path)
    again = await admin.request("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    changed = await admin.request("GET", path, headers={"If-None-Match": '"999"'})
    assert (changed.status_code, changed.content) == (200, first.content)


@pytest.mark.parametrize("what", ["entities that unfold", "an entity that reads a file"])
async def test_entities_are_refused_in_plain_words(admin: Caller, what: str) -> None:
    name, data = FAILED[what]
    done = await imported(admin, data, MAPPING, name=name)
    assert "entities of its own" in done["problem"]["message"], done
    assert "Entit" not in done["problem"]["message"]
