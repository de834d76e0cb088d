"""What rows name is read once for the same cells, and means what it would if it were read each time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.api.errors import FieldError
from services.api.imports import naming
from services.api.imports.conversions import Place
from services.api.imports.kinds import Field, Type
from services.api.imports.mapping import ValueSpec
from services.api.imports.naming import Named, Naming
from services.api.imports.readers import ErrorCell
from services.api.imports.values import compile_value

COLUMNS = ["id", "name", "other"]
PLACE = Place(ZoneInfo("UTC"))


def made(**specs: Any) -> Naming:
    """Reads an id and a name, each as its spec says; the name is that of its column where nothing is said."""
    given = {"name": {"column": "name"}, **specs}
    readers = [
        compile_value(ValueSpec.model_validate(given[part]), Field(Type.NAME), COLUMNS, PLACE, f"/mapping/owner/{part}")
        if part in given
        else None
        for part in ("external_id", "name")
    ]
    return Naming([*readers, None])


def read(names: Naming, *row: Any) -> tuple[Named | None, list[str]]:
    errors: list[FieldError] = []
    return names.read(list(row), errors), [error.code for error in errors]


def test_the_same_cells_are_the_same_name() -> None:
    names = made(external_id={"column": "id"})
    first, _ = read(names, "1", " Ann ", "x")
    again, _ = read(names, "1", " Ann ", "y")
    assert first == Named("1", "Ann")
    assert again is first
    assert read(names, "2", " Ann ", "x")[0] == Named("2", "Ann")
    assert read(names, "", "", "x") == read(names, "", "", "x") == (None, [])


def test_what_is_equal_and_not_alike_is_read_each_for_itself() -> None:
    names = made()
    cells: list[Any] = ["1", 1, 1.0, True, Decimal(1), ["1"], {"1": 1}, ErrorCell("1")]
    said = [read(names, None, cell, None) for cell in cells]
    assert [named and named.name for named, _ in said] == ["1", "1", "1.0", None, "1", None, None, None]
    assert [bool(codes) for _, codes in said] == [False, False, False, True, False, True, True, True]
    assert [read(names, None, cell, None) for cell in reversed(cells)] == said[::-1]


def test_what_is_wrong_is_told_of_every_row() -> None:
    names = made()
    for _ in range(3):
        assert read(names, None, "x" * 201, None) == (None, ["too_long"])


def test_all_cells_of_a_template_count() -> None:
    names = made(name={"template": "{name} {other}"})
    assert read(names, None, "Ann", "Lee")[0] == Named(None, "Ann Lee")
    assert read(names, None, "Ann", "Wu")[0] == Named(None, "Ann Wu")


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_KEPT", 10)
    names = made()
    for number in range(100):
        assert read(names, None, f"Name {number % 25}", None)[0] == Named(None, f"Name {number % 25}")
        assert read(names, None, f"Name {number}{' ' * 10_000}", None)[0] == Named(None, f"Name {number}")
    assert len(names._kept) <= 10
    assert max(len(cell) for cells in names._kept for cell in cells) < 100
