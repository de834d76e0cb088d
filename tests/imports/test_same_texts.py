"""One text, whichever file it comes in: escapes of workbooks, marks of encodings, numbers as people write them."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
import pytest

from services.api.exports.writers import escaped
from services.api.imports.sheets import unescaped
from tests.exports.support import content, exported
from tests.imports.support import SIMPLE, errors_of, imported, table
from tests.imports.test_bounds import NAMES
from tests.imports.test_hostile import _altered
from tests.support.caller import Caller

MAPPING: dict[str, Any] = {**NAMES, "fields": {**NAMES["fields"], "notes": {"column": "notes", "trim": False}}}
TEXTS = (
    "line1\r\nline2", "_x0041_", "_x005F_", "x005F_ and x000D_", "_x0041_x0042_", "_x004", "<r>a & b</r>", "_x00g1_",
)  # fmt: skip
_NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_SHEET = "xl/worksheets/sheet1.xml"


def _workbook(rows: list[list[str]], how: str) -> bytes:
    """A workbook of these texts as they stand in its XML, shared, in their cells or as results of formulas."""
    source = zipfile.ZipFile(io.BytesIO(_altered("", None)))
    flat = [text for row in rows for text in row]
    forms: dict[str, Callable[[int], str]] = {
        "shared": lambda n: f'<c t="s"><v>{n}</v></c>',
        "inline": lambda n: f'<c t="inlineStr"><is><t xml:space="preserve">{escape(flat[n])}</t></is></c>',
        "runs": lambda n: f'<c t="inlineStr"><is><r><t>{escape(flat[n])}</t></r><r><t></t></r></is></c>',
        "formula": lambda n: f'<c t="str"><f>A1</f><v>{escape(flat[n])}</v></c>',
    }
    numbers = iter(range(len(flat)))
    lines = "".join(f"<row>{''.join(forms[how](next(numbers)) for _ in row)}</row>" for row in rows)
    sheet = f"<worksheet {_NS}><sheetData>{lines}</sheetData></worksheet>"
    shared = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in flat)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as target:
        for entry in source.infolist():
            part = source.read(entry)
            if entry.filename == "[Content_Types].xml" and b"sharedStrings" not in part:
                override = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
                part = part.replace(b"</Types>", override.encode())
            if entry.filename not in {_SHEET, "xl/sharedStrings.xml"}:
                target.writestr(entry.filename, part)
        target.writestr(_SHEET, sheet)
        target.writestr("xl/sharedStrings.xml", f"<sst {_NS}>{shared}</sst>")
    return data.getvalue()


async def _notes(caller: Caller) -> dict[str, str]:
    page = await caller.ok("GET", "/v1/customers", params={"limit": 200})
    return {row["external_id"]: row["notes"] for row in page["data"]}


@pytest.mark.parametrize("kind", ["csv", "ndjson", "shared", "inline", "runs", "formula"])
async def test_a_text_is_the_same_whichever_file_holds_it(admin: Caller, kind: str) -> None:
    rows = [["id", "name", "notes"], *([str(n), f"C{n}", text] for n, text in enumerate(TEXTS))]
    if kind == "csv":
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        name, data = "a.csv", out.getvalue().encode()
    elif kind == "ndjson":
        lines = [json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]]
        name, data = "a.ndjson", "\n".join(lines).encode()
    else:
        name, data = "a.xlsx", _workbook([[escaped(text) for text in row] for row in rows], kind)
    done = await imported(admin, data, MAPPING, name=name)
    assert done["status"] == "succeeded", done
    assert await _notes(admin) == {str(n): text for n, text in enumerate(TEXTS)}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a_x000D_b", "a\rb"),
        ("a_x000d_b", "a\rb"),
        ("_x005F_x000D_", "_x000D_"),
        ("x005F_", "x005F_"),
        ("_X0041_", "_X0041_"),
        ("_x041_", "_x041_"),
        ("_xD83D__xDE00_", "\U0001f600"),
        ("_xD83D_ alone", "_xD83D_ alone"),
        ("_xDE00__xD83D_", "_xDE00__xD83D_"),
        ("_x4E2D_", "\u4e2d"),
    ],
)
def test_escapes_are_read_as_the_standard_says(written: str, meant: str) -> None:
    assert unescaped(written) == meant


def test_whatever_is_escaped_comes_back() -> None:
    chance = random.Random(7)
    pieces = ["_", "x", "_x", "0041", "005F", "\r", "\x00", "_x0041_", "\ufffe", "é", "_xD83D_", "_xDE00_", " "]
    for _ in range(20_000):
        text = "".join(chance.choices(pieces, k=chance.randint(0, 9)))
        assert re.search(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]", escaped(text)) is None
        # Nobody's text looks like both halves of a character; what we write of them is escaped.
        assert unescaped(escaped(text)) == text


async def test_a_workbook_that_was_exported_gives_the_texts_back(admin: Caller, other: Caller) -> None:
    for number, text in enumerate(TEXTS):
        await admin.make_customer(name=f"C{number}", notes=text)
    done = await exported(admin, "customers", "xlsx")
    data = await content(admin, done)
    assert openpyxl.load_workbook(io.BytesIO(data)).sheetnames == ["Sheet1"]
    mapping = await admin.ok("GET", f"/v1/exports/{done['id']}/mapping")
    back = await imported(other, data, mapping, name="file.xlsx")
    assert back["status"] == "succeeded", back
    assert sorted((await _notes(other)).values()) == sorted(TEXTS)


def _of_cells(*rows: tuple[Any, ...]) -> bytes:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


async def test_an_error_of_a_workbook_is_one_of_its_row_where_it_is_read(admin: Caller) -> None:
    data = _of_cells(("id", "name", "notes"), ("1", "#REF!", None), ("2", "Acme", "#N/A"), ("3", "Beta", None))
    done = await imported(admin, data, NAMES, name="a.xlsx")
    assert await errors_of(admin, done) == [(1, "/name", "invalid_value")]
    unknown = {**NAMES, "fields": {**NAMES["fields"], "notes": {"column": "notes", "empty": ["#N/A"]}}}
    done = await imported(admin, data, unknown, name="a.xlsx")
    assert await errors_of(admin, done) == [(1, "/name", "invalid_value")]
    made = {**NAMES, "fields": {**NAMES["fields"], "notes": {"template": "{id} {notes}"}}}
    done = await imported(admin, data, made, name="a.xlsx")
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [
        (1, "invalid_value"), (2, "invalid_value"),
    ]  # fmt: skip


async def test_cells_right_of_the_header_are_refused_as_in_csv(admin: Caller) -> None:
    data = _of_cells(("id", "name"), ("1", "Acme", "more"), ("2", "Beta", None, ""), (None, None), ("3", "Gamma"))
    done = await imported(admin, data, NAMES, name="a.xlsx")
    assert await errors_of(admin, done) == [(1, "", "wrong_column_count")]
    assert (done["rows_read"], done["rows_imported"]) == (3, 2)


@pytest.mark.parametrize(
    "amount", ["1_000", "\u0661\u0662\u0663", "\uff11\uff12", "1e3", "NaN", "0x10", "", "12.", "7"]
)
async def test_numbers_are_plain_decimals(admin: Caller, amount: str) -> None:
    done = await imported(admin, table(f"1,Deal,Acme,Ann Lee,{amount},Talk,,"))
    expected = [] if amount in {"", "12.", "7"} else [(1, "/amount", "invalid_value")]
    assert await errors_of(admin, done) == expected


@pytest.mark.parametrize("day", ["\u0662\u0660\u0662\u0666-01-02", "2026-01-\uff10\uff12"])
async def test_days_are_written_in_plain_digits(admin: Caller, day: str) -> None:
    mapping = {**MAPPING, "fields": {**NAMES["fields"], "occurred_at": {"column": "on", "date_format": "%Y-%m-%d"}}}
    done = await imported(admin, f"id,name,on\n1,Acme,{day}\n".encode(), mapping)
    assert await errors_of(admin, done) == [(1, "/on", "invalid_date")]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-8-sig", "utf-16"])
async def test_the_mark_of_an_encoding_is_no_part_of_a_name(admin: Caller, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    if encoding == "utf-8-sig":
        data = '"id",name\n1,李明公司\n'.encode("utf-8-sig")
    else:
        data = f'{mark}"id",name\n1,李明公司\n'.encode(encoding)
    done = await imported(admin, data, {**NAMES, "file": {"encoding": encoding}})
    assert done["status"] == "succeeded", done


async def test_a_key_that_comes_late_is_told_as_such(admin: Caller) -> None:
    lines = [json.dumps({"id": str(n), "name": "x"}) for n in range(1_000)] + ['{"id": "z", "name": "x", "notes": "n"}']
    done = await imported(admin, "\n".join(lines).encode(), MAPPING, name="a.ndjson")
    problem = done["problem"]
    assert (done["status"], problem["code"], problem["pointer"]) == (
        "failed",
        "unknown_column",
        "/mapping/fields/notes",
    )
    assert problem["message"].startswith("None of the first 1,000 lines has the key “notes”; they have id, name.")


async def test_the_day_that_has_not_come_is_that_of_the_files_zone(admin: Caller) -> None:
    mapping = {**SIMPLE, "time_zone": "Asia/Shanghai", "fields": {**SIMPLE["fields"], "occurred_at": "closed"}}
    done = await imported(admin, table("1,Deal,Acme,Ann Lee,1,Talk,2190-05-01,2190-05-02"), mapping)
    page = await admin.ok("GET", f"/v1/imports/{done['id']}/errors")
    assert {error["message"] for error in page["data"] if error["code"] == "in_future"} == {
        "2190-05-01 has not come yet.", "2190-05-02 has not come yet.",
    }  # fmt: skip


async def test_amounts_that_a_sheet_would_round_keep_their_digits(admin: Caller, other: Caller) -> None:
    amounts = ("98765432109876.5432", "12345678901.2345", "99999999999999.00", "0.01")
    rows = (f"{n},Deal {n},Acme,Ann Lee,{amount},Talk,," for n, amount in enumerate(amounts))
    await imported(admin, table(*rows))
    done = await exported(admin, "opportunities", "xlsx")
    data = await content(admin, done)
    sheet: Any = openpyxl.load_workbook(io.BytesIO(data)).active
    column = [cell.value for cell in sheet[1]].index("amount")
    written = [row[column].value for row in sheet.iter_rows(min_row=2)]
    assert {type(value) for value in written} == {str, float, int}
    assert set(written) == {"98765432109876.5432", 12345678901.2345, 99999999999999, 0.01}
    mapping = await admin.ok("GET", f"/v1/exports/{done['id']}/mapping")
    await imported(other, table("9,Any,Any,,,Talk,,"), SIMPLE)
    back = await imported(other, data, {**mapping, "customer": {"name": "customer_name"}}, name="file.xlsx")
    assert back["status"] == "succeeded", (back, await errors_of(other, back))
    kept = [row["amount"]["amount"] for row in (await other.ok("GET", "/v1/opportunities"))["data"] if row["amount"]]
    assert sorted(kept) == sorted(amounts)
