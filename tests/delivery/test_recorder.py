"""Outcomes are written once each, whatever goes wrong between two of them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest

from services.api.delivery.outcomes import Outcome
from services.api.delivery.recorder import Recorder
from shared.ids import new_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _outcome(claimed: Any) -> Outcome:
    return Outcome(claimed, NOW, NOW, "delivered", 1)


async def test_what_is_written_one_by_one_is_not_written_again() -> None:
    """One of three can't be stored, and the database goes away before the last: only that one comes again."""
    claimed: Any = SimpleNamespace(workspace_id=new_id())
    line: Any = SimpleNamespace(unsettled=0)
    nobody: Any = None
    recorder = Recorder(nobody, nobody, nobody)
    outcomes = [_outcome(claimed) for _ in range(3)]
    for outcome in outcomes:
        recorder.add(line, outcome)
    calls: list[list[Any]] = []

    async def settle(_: Any, ended: list[Any]) -> None:
        calls.append([outcome.id for _, outcome in ended])
        if len(calls) == 1:
            raise asyncpg.UntranslatableCharacterError("unsupported Unicode escape sequence")
        if len(calls) == 4:
            raise ConnectionError
        line.unsettled -= len(ended)

    with patch.object(recorder, "_settle", settle):
        with pytest.raises(ConnectionError):
            await recorder.work()
        assert line.unsettled == 1
        await recorder.work()
    ids = [outcome.id for outcome in outcomes]
    assert calls == [ids, ids[:1], ids[1:2], ids[2:], ids[2:]]
    assert line.unsettled == 0
    assert not recorder._ended
