"""From a file to rows: CSV, NDJSON and XLSX, each read as a stream.

A reader gives its columns once, then rows as lists in that order, each with its number: the first row after the
header is 1. A row that can't be read at all is a `Spoilt` in its place; what makes the whole file unreadable raises
`Unreadable`.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import accumulate, islice
from typing import IO, Any

import orjson

from services.api.imports.mapping import FileOptions

LONGEST_FIELD = 1_000_000
LONGEST_LINE = 10_000_000
MOST_COLUMNS = 2_000
# An XLSX is a ZIP: a megabyte of it can unfold into gigabytes.
MOST_UNPACKED = 1024**3
# Of a column's name: a mapping names none that is longer than 200.
LONGEST_NAME = 1_000
_QUOTED, _LISTED = 80, 20
_PIECE = 1024 * 1024
# The objects of an NDJSON file that name its columns.
_NAMING = 1_000
# UTF-8 and UTF-16 know their own; this one's codec takes it for a character.
_MARK_GB18030 = "\ufeff".encode("gb18030")

Row = list[Any]


class ErrorCell(str):
    """What a formula of a workbook came to where it could not be worked out, such as #REF!: no value of any field."""

    __slots__ = ()


def cut(text: str, most: int = _QUOTED) -> str:
    """A text of the file as a message quotes it."""
    return text if len(text) <= most else f"{text[:most]}…"


def listed(names: Iterable[str], most: int = _LISTED) -> str:
    """The first of the names, each cut."""
    first = list(islice(names, most + 1))
    return ", ".join([cut(name) for name in first[:most]] + (["…"] if len(first) > most else []))


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
    quoted = re.compile(r"'+[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")

    def bare(row: Row) -> Row:
        return [cell[1:] if isinstance(cell, str) and quoted.match(cell) else cell for cell in row]

    columns = [name[1:] if quoted.match(name) else name for name in source.columns]
    rows = ((number, row if isinstance(row, Spoilt) else bare(row)) for number, row in source.rows)
    return Source(columns, rows)


def _text(file: IO[bytes], options: FileOptions) -> io.TextIOWrapper:
    file.seek(0)
    encoding = "utf-8-sig" if options.encoding == "utf-8" else options.encoding
    if encoding == "gb18030" and file.read(len(_MARK_GB18030)) != _MARK_GB18030:
        file.seek(0)
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
    long = next((name for name in columns if len(name) > LONGEST_NAME), None)
    if long is not None:
        words = f"The column “{cut(long)}” has a name of {len(long)} characters, at most {LONGEST_NAME} are read."
        raise Unreadable("/file", "column_name_too_long", words)
    twice = sorted(name for name, times in Counter(columns).items() if name and times > 1)
    if twice:
        raise Unreadable("/file", "duplicate_column", f"The header names a column twice: {listed(twice, 5)}.")


class _AnyColumns(list[str]):
    """The columns of a file without a row: whichever a mapping names, for no row will ever be read by its place."""

    def index(self, *_: Any) -> int:
        return 0


class _KeysOfTheFirst(list[str]):
    """The columns of an NDJSON file, which has no header."""


def no_column(name: str, columns: list[str]) -> str:
    """Says that the file has no such column, and which it has."""
    if isinstance(columns, _KeysOfTheFirst):
        return (
            f"None of the first {_NAMING:,} lines has the key “{cut(name)}”; they have {listed(columns)}. In NDJSON"
            " these lines say which columns there are: put one that has the key (with null, if need be) among them."
        )
    return f"The file has no column “{cut(name)}”; it has {listed(columns)}."


def _ndjson(file: IO[bytes], options: FileOptions) -> Source:
    """The columns are those of the first thousand lines; a key that first comes later is not seen.

    A file without a byte, such as the export of nothing, is one without rows: nothing in it could name columns.
    """
    if not file.seek(0, io.SEEK_END):
        return Source(_AnyColumns(), iter(()))
    columns: dict[str, int] = {}
    for number, found in _json_lines(_text(file, options)):
        if isinstance(found, dict):
            for name in found:
                columns.setdefault(str(name), len(columns))
        if number >= _NAMING or len(columns) > MOST_COLUMNS:
            break
    names = _KeysOfTheFirst(columns)
    _check_columns(names or [""])
    return Source(names, _ndjson_rows(_text(file, options), names))


def _ndjson_rows(text: io.TextIOWrapper, names: list[str]) -> Iterator[tuple[int, Row | Spoilt]]:
    for number, found in _json_lines(text):
        yield number, found if isinstance(found, Spoilt) else [found.get(name) for name in names]


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
            yield number, _exact(line, found, number)
        else:
            yield number, Spoilt("malformed_line", f"Line {number} is not a JSON object.")


def _xlsx(file: IO[bytes], options: FileOptions) -> Source:
    # Loaded by who reads a workbook: nobody else needs the library.
    from services.api.imports.sheets import read_sheet

    rows = read_sheet(file, options.sheet)
    header = next(rows, None)
    if header is None:
        raise Unreadable("/file", "empty_file", "The sheet is empty.")
    if isinstance(header, Spoilt):
        raise Unreadable("/file", "malformed_file", f"The header can't be read: {header.message}")
    columns = ["" if name is None else str(name).strip() for name in header]
    _check_columns(columns)
    return Source(columns, _xlsx_rows(rows, len(columns)))


def _xlsx_rows(rows: Iterator[tuple[Any, ...] | Spoilt], width: int) -> Iterator[tuple[int, Row | Spoilt]]:
    number = 0
    for found in rows:
        if isinstance(found, Spoilt):
            number += 1
            yield number, found
            continue
        used = next((at for at in range(len(found), 0, -1) if found[at - 1] not in {None, ""}), 0)
        if not used:
            continue
        number += 1
        if used > width:
            words = f"Row {number} after the header fills {used} columns, but the header has {width}."
            yield number, Spoilt("wrong_column_count", words)
        else:
            yield number, [*found[:width], *([None] * (width - len(found)))]


def _exact(line: str, found: dict[str, Any], number: int) -> dict[str, Any] | Spoilt:
    """The object with every digit of its numbers: a binary one holds only seventeen."""
    if float not in map(type, found.values()):
        return found
    try:
        exact: dict[str, Any] = json.loads(line, parse_float=Decimal)
    except (ValueError, InvalidOperation, RecursionError):
        return Spoilt("malformed_line", f"Line {number} holds a number or a depth that can't be read.")
    return exact
