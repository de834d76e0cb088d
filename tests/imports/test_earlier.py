"""The rows that a dry run keeps on disk: cell for cell as they were read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.api.imports.earlier import Earlier
from services.api.imports.mapping import Mapping
from services.api.imports.plan import Parsed
from services.api.imports.readers import ErrorCell

MAPPING: dict[str, Any] = {"source": "old", "kind": "customers", "fields": {"external_id": "id", "name": "name"}}
CELLS: list[Any] = [
    "text", "", "\x00\ud800", None, True, False, 7, -(10**40), 0.1, -0.0, 1e300, float("inf"),
    Decimal("1.50"), Decimal("-0"), Decimal("1E+400"), Decimal("12345678901234567890.12345678901234567890"),
    datetime(2026, 2, 28, 23, 59, 59, 123456), datetime(2026, 2, 28, tzinfo=UTC), date(1899, 12, 31),  # noqa: DTZ001
    time(23, 59, 59, 1), timedelta(days=-3, microseconds=1), timedelta(days=400_000), ErrorCell("#REF!"),
    [], {}, [1, [Decimal("2.0"), {"a": None}]], {"Decimal": ["Decimal", "1"], "": {"x": Decimal("1e-7")}},
]  # fmt: skip


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Earlier]:
    with closing(Earlier(Mapping.model_validate(MAPPING), tmp_path)) as made:
        yield made


def again(earlier: Earlier, *keys: str) -> list[list[tuple[int, Any]]]:
    return earlier.before([Parsed(1_000, key=key) for key in keys], {})


def test_every_cell_comes_back_as_it_was(earlier: Earlier) -> None:
    earlier.add(1, [(Parsed(1, key="a"), CELLS)], {}, {})
    ((number, cells),) = again(earlier, "a")[0]
    assert number == 1
    assert cells == CELLS
    assert repr(cells) == repr(CELLS)
    assert [cell.__class__ for cell in cells] == [cell.__class__ for cell in CELLS]


def test_a_cell_may_be_as_deep_as_a_file_can_be_read(earlier: Earlier) -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    earlier.add(1, [(Parsed(1, key="a"), [deep])], {}, {})
    assert again(earlier, "a") == [[(1, [deep])]]


def test_rows_come_batch_by_batch_in_their_order_with_one_question(
    earlier: Earlier, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier.add(1, [(Parsed(2, key="b"), ["b1"]), (Parsed(1, key="a"), ["a1"])], {}, {})
    earlier.add(2, [(Parsed(4, key="a"), ["a2"]), (Parsed(3, key="c"), ["c"])], {}, {})
    asked: list[str] = []
    earlier._file.set_trace_callback(asked.append)
    assert again(earlier, "a", "b") == [[(1, ["a1"]), (2, ["b1"])], [(4, ["a2"])]]
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 1
    assert again(earlier, "none") == []
