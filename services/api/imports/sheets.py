"""The rows of an XLSX sheet, read as a stream: what a small archive unfolds into stays bounded while it is read.

A part of the archive is refused by the size it declares, of which no more than that is ever inflated, and again by how
much of it goes by before a row, or a shared text, comes to its end: only that much is held at a time.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any

from defusedxml.common import DefusedXmlException
from openpyxl.cell.text import Text
from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import apply_stylesheet
from openpyxl.worksheet._reader import INLINE_STRING, ROW_TAG, WorkSheetParser
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS
from openpyxl.xml.functions import iterparse

from services.api.imports import readers
from services.api.imports.readers import LONGEST_FIELD, ErrorCell, Spoilt, Unreadable, cut, listed

MOST_SHARED_STRINGS = 128 * 1024**2
MOST_STRINGS = 5_000_000
# Parts that are read whole: styles, relations, the list of sheets.
MOST_PART = 16 * 1024**2
# Between the ends of two rows, or of two shared texts.
MOST_AT_ONCE = 8 * 1024**2
MOST_ENTRIES = 2_000
# Sheets of a million like rows come to about 50; only what was made to unfold comes to more than this.
MOST_RATIO = 200
RATIO_COUNTS_FROM = 32 * 1024**2
# What a sheet holds.
MOST_ROWS = 1_048_576
_TEXT_TAG, _PLAIN_TAG = f"{{{SHEET_MAIN_NS}}}si", f"{{{SHEET_MAIN_NS}}}t"
# A character beyond the first 65,536 is two of them.
_ESCAPED = re.compile(r"_x([dD][89abAB][0-9a-fA-F]{2})__x([dD][c-fC-F][0-9a-fA-F]{2})_|_x([0-9a-fA-F]{4})_")
# Whatever else is raised under way, a broken file made the libraries raise; within a row, a cell did.
_NOT_OURS = (Unreadable, MemoryError)
_OF_A_CELL = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def read_sheet(file: IO[bytes], name: str | None) -> Iterator[tuple[Any, ...] | Spoilt]:
    """The rows of the sheet `name`, by default the first, header and all; raises Unreadable."""
    archive = _open(file)
    try:
        path, parser = _prepare(file, archive, name)
        with archive.open(path) as part:
            stream = _Watched(part)
            parser.source = stream
            yield from _rows(parser, stream)
    except _NOT_OURS:
        raise
    except DefusedXmlException as error:
        words = "The workbook declares entities of its own or names files outside, which no spreadsheet needs: save it"
        raise Unreadable("/file", "malformed_file", f"{words} anew, or send CSV.") from error
    except Exception as error:  # the library raises whatever a broken file makes it raise
        words = "The file is not a readable XLSX workbook: it is cut off, or a part of it is broken."
        raise Unreadable("/file", "malformed_file", words) from error
    finally:
        archive.close()


class _Archive(zipfile.ZipFile):
    """Reads no part whole that is larger than such parts are."""

    def read(self, name: Any, pwd: bytes | None = None) -> bytes:
        if self.getinfo(name).file_size > MOST_PART:
            raise _too_large()
        return super().read(name, pwd)


class _Watched:
    """A part under way, which may not go on for long without an end of what is read from it."""

    def __init__(self, part: IO[bytes]) -> None:
        self._part = part
        self._since = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._part.read(size)
        self._since += len(piece)
        if self._since > MOST_AT_ONCE:
            words = f"One row or text of the workbook is longer than {MOST_AT_ONCE // 1024**2} MB; send CSV."
            raise Unreadable("/file", "too_large_unpacked", words)
        return piece

    def mark(self) -> None:
        self._since = 0


def _open(file: IO[bytes]) -> _Archive:
    file.seek(0)
    try:
        archive = _Archive(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Unreadable("/file", "malformed_file", "The file is not an XLSX workbook.") from error
    entries = archive.infolist()
    unfolds = any(
        entry.file_size > RATIO_COUNTS_FROM and entry.file_size > MOST_RATIO * entry.compress_size for entry in entries
    )
    if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > readers.MOST_UNPACKED or unfolds:
        raise _too_large()
    return archive


def _too_large() -> Unreadable:
    words = "The workbook unfolds into more than may be read; send CSV."
    return Unreadable("/file", "too_large_unpacked", words)


def _prepare(file: IO[bytes], archive: _Archive, name: str | None) -> tuple[str, Any]:
    """The part with the sheet, and a parser that knows the workbook's texts and formats of dates."""
    reader: Any = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
    reader.archive = archive
    reader.read_manifest()
    reader.read_workbook()
    parts = archive.NameToInfo
    sheets = {
        sheet.name: relation.target
        for sheet, relation in reader.parser.find_sheets()
        if relation.target in parts and "chartsheet" not in relation.Type
    }
    if name is not None and name not in sheets:
        words = f"The file has no sheet “{cut(name)}”; it has {listed(sheets)}."
        raise Unreadable("/mapping/file/sheet", "unknown_sheet", words)
    if not sheets:
        raise Unreadable("/file", "empty_file", "The workbook has no sheet.")
    apply_stylesheet(archive, reader.wb)
    book = reader.wb
    make: Any = _Cells
    parser = make(
        None, _shared_texts(archive, reader.package), data_only=True, epoch=book.epoch,
        date_formats=book._date_formats, timedelta_formats=book._timedelta_formats,
    )  # fmt: skip
    return sheets[name] if name is not None else next(iter(sheets.values())), parser


def _shared_texts(archive: _Archive, package: Any) -> list[str]:
    found = package.find(SHARED_STRINGS)
    if found is None:
        return []
    path = found.PartName[1:]
    if archive.getinfo(path).file_size > MOST_SHARED_STRINGS:
        raise _too_large()
    texts: list[str] = []
    with archive.open(path) as part:
        stream = _Watched(part)
        for _, element in iterparse(stream):
            if element.tag == _TEXT_TAG:
                stream.mark()
                texts.append(_whole_text(element))
                element.clear()
                if len(texts) > MOST_STRINGS:
                    raise _too_large()
    return texts


def _whole_text(element: Any) -> str:
    """Most are one plain text; those of several formats are put together."""
    if not len(element):
        return ""
    if len(element) == 1 and element[0].tag == _PLAIN_TAG:
        return unescaped(element[0].text or "")
    formatted: Any = Text.from_tree(element)
    return "".join(unescaped(each) for each in (formatted.t, *(run.t for run in formatted.r)) if each)


def unescaped(text: str) -> str:
    """A text as it was before `_xHHHH_` was written for what XML can't hold, and `_x005F_` for a `_` that begins such.

    (ECMA-376 part 1, 22.9.2.19.) Half of a character alone is none, and stays as it is written.
    """
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    if found[3] is None:
        return chr(0x10000 + (int(found[1], 16) - 0xD800) * 0x400 + int(found[2], 16) - 0xDC00)
    code = int(found[3], 16)
    return found[0] if 0xD800 <= code < 0xE000 else chr(code)


class _Cells(WorkSheetParser):
    """Reads texts as they are meant, and errors as such."""

    def parse_cell(self, element: Any) -> dict[str, Any]:
        kind = element.get("t")
        inline = element.find(INLINE_STRING) if kind == "inlineStr" else None
        if inline is not None:
            element.remove(inline)
        cell: dict[str, Any] = super().parse_cell(element)
        if inline is not None:
            cell["value"] = _whole_text(inline)
        elif kind == "str" and cell["value"] is not None:
            cell["value"] = unescaped(cell["value"])
        elif cell["data_type"] == "e" and cell["value"] is not None:
            cell["value"] = ErrorCell(cell["value"])
        return cell


def _rows(parser: Any, stream: _Watched) -> Iterator[tuple[Any, ...] | Spoilt]:
    number = 0
    for _, element in iterparse(stream):
        if element.tag != ROW_TAG:
            continue
        stream.mark()
        number += 1
        if number > MOST_ROWS:
            raise _too_large()
        yield _row(parser, element, number)
        element.clear()


def _row(parser: Any, element: Any, number: int) -> tuple[Any, ...] | Spoilt:
    try:
        _, cells = parser.parse_row(element)
        width = max((cell["column"] for cell in cells), default=0)
        values: list[Any] = [None] * width
        for cell in cells:
            values[cell["column"] - 1] = _value(cell["value"])
    except _OF_A_CELL:
        return Spoilt("malformed_line", f"Row {number} of the sheet holds a cell that can't be read.")
    if any(isinstance(value, str) and len(value) > LONGEST_FIELD for value in values):
        return Spoilt("malformed_line", f"Row {number} of the sheet: a cell has more than {LONGEST_FIELD} characters.")
    return tuple(values)


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        # A spreadsheet makes it of any cell in which somebody types it, a name as well.
        return str(value)
    return value.replace(microsecond=0) if isinstance(value, datetime) else value
