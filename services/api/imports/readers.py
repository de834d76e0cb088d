"""From a file to rows: CSV, NDJSON and XLSX, each read as a stream.

A reader gives its columns once, then rows as lists in that order, each with its number: the first row after the
header is 1. A row that can't be read at all is a `Spoilt` in its place; what makes the whole file unreadable raises
`Unreadable`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import IO, Any

import orjson

from services.api.imports.mapping import FileOptions

LONGEST_FIELD = 1_000_000
LONGEST_LINE = 10_000_000
MOST_COLUMNS = 2_000
# An XLSX is a ZIP: a megabyte of it can unfold into gigabytes.
MOST_UNPACKED = 1024**3
MOST_SHARED_STRINGS = 256 * 1024**2
MOST_ENTRIES = 2_000
_PIECE = 1024 * 1024

Row = list[Any]


class Unreadable(Exception):
    """The file as a whole can't be read."""

    def __init__(self, pointer: str, code: str, message: str) -> None:
        super().__init__(message)
        self.pointer, self.code, self.message = pointer, code, message


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A row that can't be read."""

    code: str
    message: str


@dataclass(slots=True)
class Source:
    """An open file: its columns, and its rows with their numbers."""

    columns: list[str]
    rows: Iterator[tuple[int, Row | Spoilt]]


def open_source(file: IO[bytes], format_: str, options: FileOptions) -> Source:
    """Begins to read; raises Unreadable."""
    file.seek(0)
    if format_ == "ndjson":
        return _ndjson(file, options)
    source = _xlsx(file, options) if format_ == "xlsx" else _csv(_text(file, options), options)
    return _without_quotes(source) if options.formula_quotes else source


def _without_quotes(source: Source) -> Source:
    """Takes away the apostrophe that an export puts before a text that a spreadsheet would take for a formula."""
    quoted = re.compile(r"'+[=+\-@\t\r]")

    def bare(row: Row) -> Row:
        return [cell[1:] if isinstance(cell, str) and quoted.match(cell) else cell for cell in row]

    columns = [name[1:] if quoted.match(name) else name for name in source.columns]
    rows = ((number, row if isinstance(row, Spoilt) else bare(row)) for number, row in source.rows)
    return Source(columns, rows)


def _text(file: IO[bytes], options: FileOptions) -> io.TextIOWrapper:
    file.seek(0)
    encoding = "utf-8-sig" if options.encoding == "utf-8" else options.encoding
    return io.TextIOWrapper(_Unclosed(file), encoding=encoding, errors="strict", newline="")


class _Unclosed(io.BufferedReader):
    """Lets a text wrapper go without closing the file beneath: it is read again."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(_Raw(file), _PIECE)


class _Raw(io.RawIOBase):
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def check_encoding(file: IO[bytes], format_: str, options: FileOptions) -> None:
    """Raises Unreadable naming the byte and the line at which the file is not in its declared encoding."""
    if format_ == "xlsx":
        return
    file.seek(0)
    decoder = codecs.getincrementaldecoder(options.encoding)("strict")
    seen, lines = 0, 1
    while True:
        piece = file.read(_PIECE)
        held = decoder.getstate()[0]
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            at = seen - len(held) + error.start
            line = lines + (held + piece)[: error.start].count(b"\n")
            raise Unreadable(
                "/mapping/file/encoding",
                "wrong_encoding",
                f"The file is not {options.encoding}: byte {at} (0x{error.object[error.start]:02x}), on line {line}, is"
                " not part of a character. Name its encoding in the mapping, for instance gb18030 or latin-1.",
            ) from error
        if not piece:
            return
        seen += len(piece)
        lines += piece.count(b"\n")


def _csv(text: io.TextIOWrapper, options: FileOptions) -> Source:
    csv.field_size_limit(LONGEST_FIELD)
    held: list[str] = []
    reader = csv.reader(_holding(text, held), delimiter=options.delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader)]
    except StopIteration as error:
        raise Unreadable("/file", "empty_file", "The file is empty.") from error
    except csv.Error as error:
        _check_quotes(held, 1, options.delimiter)
        raise Unreadable("/file", "malformed_file", f"The first line can't be read: {error}.") from error
    _check_columns(columns)
    return Source(columns, _csv_rows(reader, held, len(columns), options.delimiter))


def _holding(text: io.TextIOWrapper, held: list[str]) -> Iterator[str]:
    """The lines, of which those of the row under way stay in `held`: an error tells where its quote opened."""
    for line in text:
        held.append(line)
        yield line


def _csv_rows(reader: Any, held: list[str], width: int, delimiter: str) -> Iterator[tuple[int, Row | Spoilt]]:
    number = 0
    while True:
        held.clear()
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            _check_quotes(held, first, delimiter)
            number += 1
            yield number, Spoilt("malformed_line", f"{_lines(first, reader.line_num)} can't be read: {error}.")
            continue
        if not row:
            continue
        number += 1
        if len(row) == width:
            yield number, row
        else:
            words = f"{_lines(first, reader.line_num)}: {len(row)} columns, but the header has {width}."
            yield number, Spoilt("wrong_column_count", words)


def _lines(first: int, last: int) -> str:
    return f"Line {first}" if first >= last else f"Lines {first} to {last}"


def _check_quotes(held: list[str], first: int, delimiter: str) -> None:
    """Raises Unreadable where a quote of the lines `held` swallowed further lines: those would be lost unnoticed.

    A quote that is wrong within its own line spoils that row alone.
    """
    text = "".join(held)
    end = re.escape(delimiter)
    closed = re.compile(rf'"(?:[^"]++|"")*+"(?=[{end}\r\n]|\Z)')
    unclosed = re.compile(r'"(?:[^"]++|"")*+\Z')
    unquoted = re.compile(rf"[^{end}\r\n]*+")
    at = 0
    while at < len(text):
        if text[at] != '"':
            at = unquoted.match(text, at).end() + 1  # type: ignore[union-attr]  # it matches even nothing
            continue
        found = closed.match(text, at)
        if found:
            at = found.end() + 1
            continue
        opened = next(place for place, upto in enumerate(accumulate(map(len, held))) if at < upto)
        if opened < len(held) - 1 or unclosed.match(text, at):
            words = (
                f"The quote that opens on line {first + opened} is not closed where its text ends, so that what comes"
                " after it can't be told apart and was not read. Nothing was imported: close the quote; one within a"
                ' text is written twice ("").'
            )
            raise Unreadable("/file", "unclosed_quote", words)
        return


def _check_columns(columns: list[str]) -> None:
    if not any(columns):
        raise Unreadable("/file", "no_header", "The first line names no columns.")
    if len(columns) > MOST_COLUMNS:
        raise Unreadable("/file", "too_many_columns", f"The file has more than {MOST_COLUMNS} columns.")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise Unreadable("/file", "duplicate_column", f"The header names a column twice: {', '.join(twice[:5])}.")


def _ndjson(file: IO[bytes], options: FileOptions) -> Source:
    """The columns are those of the first thousand objects; a key that first comes later is not seen."""
    columns: dict[str, int] = {}
    for number, found in _json_lines(_text(file, options)):
        if isinstance(found, dict):
            for name in found:
                columns.setdefault(str(name), len(columns))
        if number >= 1000 or len(columns) > MOST_COLUMNS:
            break
    names = list(columns)
    _check_columns(names or [""])
    return Source(names, _ndjson_rows(_text(file, options), names))


def _ndjson_rows(text: io.TextIOWrapper, names: list[str]) -> Iterator[tuple[int, Row | Spoilt]]:
    for number, found in _json_lines(text):
        yield number, found if isinstance(found, Spoilt) else [_plain(found.get(name)) for name in names]


def _plain(value: Any) -> Any:
    """A nested value is read as its JSON text."""
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _json_lines(text: io.TextIOWrapper) -> Iterator[tuple[int, dict[str, Any] | Spoilt]]:
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise Unreadable("/file", "line_too_long", f"Line {number + 1} has more than {LONGEST_LINE} characters.")
        if not line.strip():
            continue
        number += 1
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield number, Spoilt("malformed_line", f"Line {number} is not valid JSON: {error}.")
            continue
        if isinstance(found, dict):
            yield number, found
        else:
            yield number, Spoilt("malformed_line", f"Line {number} is not a JSON object.")


def _xlsx(file: IO[bytes], options: FileOptions) -> Source:
    import openpyxl

    _check_archive(file)
    file.seek(0)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        if options.sheet is not None and options.sheet not in book.sheetnames:
            words = f"The file has no sheet “{options.sheet}”; it has {', '.join(book.sheetnames[:10])}."
            raise Unreadable("/mapping/file/sheet", "unknown_sheet", words)
        sheet = book[options.sheet] if options.sheet else book.worksheets[0]
        sheet.reset_dimensions()
        cells = sheet.iter_rows(values_only=True)
        header = next(cells, None)
    except Unreadable:
        raise
    except Exception as error:  # the library raises whatever a broken file makes it raise
        raise Unreadable("/file", "malformed_file", f"The file is not a readable XLSX workbook: {error}.") from error
    if header is None:
        raise Unreadable("/file", "empty_file", "The sheet is empty.")
    columns = ["" if name is None else str(name).strip() for name in header]
    _check_columns(columns)
    return Source(columns, _xlsx_rows(book, cells, len(columns)))


def _xlsx_rows(book: Any, cells: Iterator[tuple[Any, ...]], width: int) -> Iterator[tuple[int, Row | Spoilt]]:
    number = 0
    with closing(book):
        while True:
            try:
                cell_values = next(cells)
            except StopIteration:
                return
            except Exception as error:  # the library raises whatever a broken file makes it raise
                raise Unreadable(
                    "/file", "malformed_file", f"The sheet breaks off after row {number}: {error}."
                ) from error
            row = [_cell(value) for value in cell_values[:width]]
            if all(value is None for value in row):
                continue
            number += 1
            yield number, row + [None] * (width - len(row))


def _cell(value: Any) -> Any:
    return value.replace(microsecond=0) if isinstance(value, datetime) else value


def _check_archive(file: IO[bytes]) -> None:
    try:
        entries = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Unreadable("/file", "malformed_file", "The file is not an XLSX workbook.") from error
    unpacked = sum(entry.file_size for entry in entries)
    strings = sum(entry.file_size for entry in entries if entry.filename.endswith("sharedStrings.xml"))
    if len(entries) > MOST_ENTRIES or unpacked > MOST_UNPACKED or strings > MOST_SHARED_STRINGS:
        raise Unreadable("/file", "too_large_unpacked", "The workbook unfolds into more than may be read; send CSV.")
