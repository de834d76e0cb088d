"""Files nobody would write on good terms: each ends with words, none with an exception, and none costs much memory."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import openpyxl
import pytest

from tests.imports.support import errors_of, finish, upload
from tests.support.caller import Caller

MAPPING: dict[str, Any] = {
    "kind": "customers",
    "source": "test",
    "fields": {"external_id": "id", "name": "name", "occurred_at": "on"},
}


def _sheet(*rows: tuple[Any, ...]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def _altered(part: str, change: Any) -> bytes:
    """A workbook of one row with one part of its archive written anew."""
    source = zipfile.ZipFile(io.BytesIO(_sheet(("id", "name", "on"), ("1", "Acme", None))))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            target.writestr(entry.filename, change(content) if entry.filename == part else content)
    return data.getvalue()


_SHEET = "xl/worksheets/sheet1.xml"
_LAUGHS = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n else b"ha") for n in range(9))


def _laughing(content: bytes) -> bytes:
    head, _, rest = content.partition(b"<worksheet")
    return head + b"<!DOCTYPE worksheet [" + _LAUGHS + b"]><worksheet" + rest.replace(b"Acme", b"&a8;")


def _reading(content: bytes) -> bytes:
    head, _, rest = content.partition(b"<worksheet")
    return head + b'<!DOCTYPE worksheet [<!ENTITY x SYSTEM "file:///etc/passwd">]><worksheet' + rest


FAILED: dict[str, tuple[str, bytes]] = {
    "an archive that is cut": ("a.xlsx", _sheet(("id", "name", "on"), ("1", "Acme", None))[:-200]),
    "an archive of something else": ("a.xlsx", _altered("[Content_Types].xml", lambda _: b"<x/>")),
    "a sheet that breaks off": ("a.xlsx", _altered(_SHEET, lambda content: content[: len(content) // 2])),
    "entities that unfold": ("a.xlsx", _altered(_SHEET, _laughing)),
    "an entity that reads a file": ("a.xlsx", _altered(_SHEET, _reading)),
    "a picture that says it is CSV": ("a.csv", bytes(range(256)) * 40),
    "UTF-16 that is not said": ("a.csv", "id,name,on\n1,Acme,\n".encode("utf-16")),
    "one line without end": ("a.ndjson", b'{"id": "' + b"x" * 11_000_000),
    "nothing": ("a.csv", b"\n\n\n"),
    "a list": ("a.ndjson", b"[1, 2, 3]\n"),
}
ROWS: dict[str, tuple[str, bytes, list[str]]] = {
    "NUL": ("a.ndjson", b'{"id": "1", "name": "a\\u0000b", "on": null}\n', ["invalid_text"]),
    "a day that is none": ("a.csv", b"id,name,on\n1,x,2026-02-30\n", ["invalid_date"]),
    "a day before all days": ("a.csv", b"id,name,on\n1,x,0001-01-01\n", ["out_of_range"]),
    "an error of a formula": ("a.xlsx", _sheet(("id", "name", "on"), ("1", "x", "#DIV/0!")), ["invalid_value"]),
    "a key of blanks": ("a.csv", "id,name,on\n\u3000,x,\n".encode(), ["required"]),
    "a quote in the middle": ("a.csv", b'id,name,on\n1,"a"b,\n', ["malformed_line"]),
    "too many cells": ("a.csv", b"id,name,on\n1,x,,,,\n", ["wrong_column_count"]),
    "a text without end": ("a.csv", b"id,name,on\n1," + b"x" * 900_000 + b",\n", ["too_long"]),
}  # fmt: skip


async def _done(admin: Caller, name: str, data: bytes) -> dict[str, Any]:
    response = await upload(admin, data, MAPPING, name=name)
    assert response.status_code == 202, response.text
    return await finish(admin, response.json()["id"])


@pytest.mark.parametrize("what", FAILED)
async def test_a_file_that_is_none_fails_with_words(admin: Caller, what: str) -> None:
    done = await _done(admin, *FAILED[what])
    if done["problem"] is None:
        # It could be read as lines, of which none was a row.
        assert (done["status"], done["rows_imported"]) == ("failed", 0), done
        assert await errors_of(admin, done)
    else:
        assert done["status"] == "failed", done
        assert done["problem"]["message"]
    assert "root:" not in str(done["problem"])
    assert (await admin.ok("GET", "/v1/customers"))["data"] == []


@pytest.mark.parametrize("what", ROWS)
async def test_a_row_that_is_none_is_told_with_its_number(admin: Caller, what: str) -> None:
    name, data, codes = ROWS[what]
    done = await _done(admin, name, data)
    assert (done["status"], done["rows_read"], done["rows_failed"]) == ("failed", 1, 1), done
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [(1, code) for code in codes]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "1", "name": "\\ud800", "on": null}',
        b'{"id": "1", "name": ' + b"[" * 5000 + b"]" * 5000 + b', "on": null}',
        b'{"id": 1e999, "name": "x", "on": null}',
        b'{"id": NaN, "name": "x", "on": null}',
        b'{"id": "1", "name": "x", "on": null',
        b'["1", "x", null]',
        b"\xef\xbb\xbf{",
    ],
    ids=["a lone surrogate", "depth", "beyond all bounds", "no number", "cut", "a list", "a mark in the middle"],
)
async def test_a_line_that_is_no_object_spoils_itself_alone(admin: Caller, line: bytes) -> None:
    good = b'{"id": "%d", "name": "Acme", "on": null}'
    done = await _done(admin, "a.ndjson", b"\n".join((good % 7, line, good % 8, b"")))
    assert (done["status"], done["rows_imported"], done["rows_failed"]) == ("partially_failed", 2, 1), done
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [(2, "malformed_line")]
