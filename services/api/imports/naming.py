"""How rows name other records: by an id in the source, a name or an e-mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from services.api.errors import FieldError, wrong
from services.api.imports.conversions import Wrong
from services.api.imports.readers import Row
from services.api.imports.values import Reader

_KEPT: Final = 50_000
# Characters of the cells that are kept together: a cell may be a megabyte of blanks.
_LONGEST: Final = 500
_TEXTS: Final = frozenset((str, type(None)))
_UNREAD: Final = object()


class Named(NamedTuple):
    """Another record as a row names it."""

    external_id: str | None
    name: str | None
    email: str | None = None

    @property
    def key(self) -> str | None:
        """What it is known by in the source: its id there, else its e-mail, else its name."""
        return self.external_id or self.email or self.name


class Naming:
    """Reads what rows name of one kind. Files repeat their names: the same cells are read once."""

    def __init__(self, readers: Sequence[Reader | None]) -> None:
        self._readers = readers
        self._cells = sorted({cell for reader in readers if reader for cell in reader.cells})
        self._kept: dict[tuple[Any, ...], Named | None] = {}

    @property
    def pointer(self) -> str:
        """Where to point when what is named can't be taken."""
        return next(reader.pointer for reader in self._readers if reader)

    def read(self, row: Row, errors: list[FieldError]) -> Named | None:
        """What the row names, None where it names nothing; what it gets wrong is added to `errors`."""
        cells = tuple([row[cell] for cell in self._cells])
        # Numbers are no keys: 1, 1.0 and true would be one, and are not the same text.
        alike = _TEXTS.issuperset([cell.__class__ for cell in cells])
        known: Any = self._kept.get(cells, _UNREAD) if alike else _UNREAD
        if known is not _UNREAD:
            return cast("Named | None", known)
        before = len(errors)
        named = Named(*[None if reader is None else self._part(reader, row, errors) for reader in self._readers])
        found = named if named.key else None
        if alike and len(errors) == before and sum(map(len, filter(None, cells))) <= _LONGEST:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[cells] = found
        return found

    def _part(self, reader: Reader, row: Row, errors: list[FieldError]) -> str | None:
        try:
            part: str | None = reader.read(row)
        except Wrong as error:
            errors.append(wrong(reader.pointer, error.code, f"{reader.pointer[1:]} {error.message}."))
            return None
        return part
