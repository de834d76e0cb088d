"""From rows to the bytes of a file: CSV and NDJSON piece by piece, XLSX as a whole.

A spreadsheet takes a text that begins with = + - @, full-width or not (or a tab, or a line's end) for a formula. In CSV
and XLSX such texts get an apostrophe in front, and so do those that begin with apostrophes before one of these: taking
one apostrophe away gives back what was there. NDJSON is nobody's formula, and stays as it is.

A spreadsheet keeps fifteen digits of a number: in XLSX a decimal or whole number of more is a text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import xlsxwriter  # type: ignore[import-untyped]

from services.api.exports.columns import standing
from services.api.wire import decimal_text
from shared.db import Row

FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
# What a sheet holds.
MOST_SHEET_ROWS = 1_048_575
MOST_CELL = 32_767
MOST_DIGITS = 15
# What XML can't hold, or would read as a line's end of its own, and what looks like the escape of such a character.
_NOT_XML = r"\x00-\x08\x0b-\x1f\ufffe\uffff"
_TO_ESCAPE = re.compile(rf"[{_NOT_XML}]|_(?=x[0-9a-fA-F]{{4}}[_{_NOT_XML}])")
BOM = b"\xef\xbb\xbf"
_PASSED, _ATTRIBUTE = "passed_at.", "attributes."


def as_text(text: str) -> str:
    return f"'{text}" if FORMULA.match(text) else text


def getters(names: Sequence[str]) -> list[Callable[[Row], Any]]:
    """What each column shows of a row: None, a bool, a number, a Decimal or a text."""
    return [_getter(name) for name in names]


def _getter(name: str) -> Callable[[Row], Any]:
    if name == "standing":
        return standing
    if name.startswith(_PASSED):
        key = name.removeprefix(_PASSED)
        return lambda row: _instant(datetime.fromisoformat(at)) if (at := (row["passed"] or {}).get(key)) else None
    if name.startswith(_ATTRIBUTE):
        key = name.removeprefix(_ATTRIBUTE)
        return lambda row: row["attributes"].get(key)
    return lambda row: _shown(row[name])


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float | Decimal):
        return value
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return ";".join(str(each) for each in value)
    return str(value)


def header_csv(names: Sequence[str]) -> bytes:
    return BOM + _csv([[as_text(name) for name in names]])


def rows_csv(rows: Iterable[Row], gets: list[Callable[[Row], Any]]) -> bytes:
    return _csv([_cell(get(row)) for get in gets] for row in rows)


def _csv(rows: Iterable[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return decimal_text(value) if isinstance(value, Decimal) else value


def rows_ndjson(rows: Iterable[Row], names: Sequence[str], gets: list[Callable[[Row], Any]]) -> bytes:
    """One object a line, with every column; amounts are texts, so that none loses a digit."""
    pairs = list(zip(names, gets, strict=True))
    return b"".join(
        orjson.dumps({name: get(row) for name, get in pairs}, default=decimal_text, option=orjson.OPT_APPEND_NEWLINE)
        for row in rows
    )


def escaped(text: str) -> str:
    """A text as XLSX holds it: `_xHHHH_` for a character that XML can't, `_x005F_` for a `_` that would begin such."""
    return _TO_ESCAPE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)


def _fits(value: float | Decimal) -> bool:
    """Whether a sheet keeps every digit of a number; of one that is binary already it keeps what it can."""
    return isinstance(value, float) or len(Decimal(value).normalize().as_tuple().digits) <= MOST_DIGITS


class TooManyRows(Exception):
    """A sheet holds no more."""


class Workbook:
    """An XLSX under way: rows go to disk as they come, so that memory stays flat. Close it in any case."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent)})
        self._sheet = self._book.add_worksheet()
        # The library takes a text from <r> to </r> for markup of its own, and would write it as it is; and of two
        # escapes that share a _ it escapes but one.
        self._sheet._xml_rich_inline_string = self._write_like_any
        self._sheet._escape_control_characters = lambda data: escaped(data) if isinstance(data, str) else data
        for column, name in enumerate(names):
            self._sheet.write_string(0, column, as_text(name))
        self._row = 0

    def add(self, rows: Iterable[Row], gets: list[Callable[[Row], Any]]) -> None:
        for row in rows:
            self._row += 1
            if self._row > MOST_SHEET_ROWS:
                raise TooManyRows
            for column, get in enumerate(gets):
                value = get(row)
                if value is None:
                    continue
                if isinstance(value, bool):
                    self._sheet.write_boolean(self._row, column, value)
                elif isinstance(value, str):
                    self._sheet.write_string(self._row, column, as_text(value)[:MOST_CELL])
                elif _fits(value):
                    self._sheet.write_number(self._row, column, float(value))
                else:
                    self._sheet.write_string(self._row, column, as_text(str(_cell(value))))

    def _write_like_any(self, text: str, attributes: Sequence[Any] = ()) -> None:
        self._sheet._xml_inline_string(text, True, attributes)

    def close(self) -> None:
        self._book.close()
