"""One result a row: what was measured, against which reference of the same run, and whether its target holds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """`ratio` is value ÷ reference; without a target a row is only reported."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    target: float | None = None
    holds: bool | None = None


@dataclass
class Results:
    """All rows of a run."""

    rows: list[Row] = field(default_factory=list)

    def report(self, name: str, value: float, unit: str) -> None:
        """A row without a gate: seconds and rates depend on the machine."""
        self.rows.append(Row(name, value, unit))

    def floor(self, name: str, value: float, unit: str, target: float) -> None:
        """A rate that must reach a number the issue names."""
        self.rows.append(Row(name, value, unit, None, None, target, value >= target))

    def ratio(self, name: str, pairs: list[tuple[float, float]], unit: str, target: float | None) -> None:
        """Ours and the reference, measured turn by turn: the median of the turns' ratios is what counts."""
        ratios = [ours / reference for ours, reference in pairs]
        ratio = statistics.median(ratios)
        ours = statistics.median(pair[0] for pair in pairs)
        reference = statistics.median(pair[1] for pair in pairs)
        self.rows.append(Row(name, ours, unit, reference, ratio, target, None if target is None else ratio >= target))

    @property
    def all_hold(self) -> bool:
        return all(row.holds is not False for row in self.rows)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(row) for row in self.rows], indent=2) + "\n")

    def show(self) -> None:
        table = Table(title="Bench")
        for heading in ("name", "value", "unit", "reference", "ratio", "target", "holds"):
            table.add_column(heading, justify="left" if heading in {"name", "unit"} else "right")
        for row in self.rows:
            holds = {True: "yes", False: "NO", None: ""}[row.holds]
            numbers = (
                [_text(value) for value in (row.value,)],
                [_text(v) for v in (row.reference, row.ratio, row.target)],
            )
            table.add_row(row.name, *numbers[0], row.unit, *numbers[1], holds)
        Console().print(table)


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


async def in_turns(
    ours: Callable[[], Awaitable[float]], reference: Callable[[], Awaitable[float]], turns: int = 5
) -> list[tuple[float, float]]:
    """Measures both in turn, so that what else the machine does falls on both alike; the first turn warms up."""
    pairs = []
    for turn in range(turns + 1):
        pair = (await ours(), await reference()) if turn % 2 else tuple(reversed((await reference(), await ours())))
        if turn:
            pairs.append((pair[0], pair[1]))
    return pairs
