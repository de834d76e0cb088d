"""From rows to records of the staging tables: each with all that it leaves behind, made in one go.

Millions of rows pass through here, so what is alike for all rows of a batch is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import count
from typing import Any
from uuid import UUID

import orjson
from asyncpg.pgproto import pgproto
from sqlalchemy import Column
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.api.imports.course import Process, Step
from services.api.imports.kinds import Kind
from services.api.imports.staging import STANDING
from services.api.wire import decimal_text
from shared.ids import new_id

HEAD = ("id", "event_id", "audit_id", "external_id", "is_new", "moved", "changes", "attributes", "data", "sort_key")
Values = Mapping[str, Any]


def make_ids() -> Iterator[UUID]:
    """New ids that count up from one made in the ordinary way: rows written together keep their order, cheaply.

    They are of the driver's own class, which is by far the fastest to make and to send.
    """
    first, make = new_id().int, pgproto.UUID
    return (make((first + step).to_bytes(16, "big")) for step in count())


def _default(column: Column[Any]) -> Any:
    """What the database puts where nothing is given, from the column's definition."""
    if column.server_default is None:
        return None
    if isinstance(column.type, ARRAY):
        return []
    text = str(column.server_default.arg.text)  # type: ignore[attr-defined]  # all defaults here are SQL texts
    if text.startswith("'"):
        return orjson.loads(text[1:-1]) if isinstance(column.type, JSONB) else text[1:-1]
    return orjson.loads(text)


@lru_cache(maxsize=32)
def empty_document(kind: Kind, guarded: bool) -> dict[str, Any]:
    """An event's document of a new row of which nothing is known."""
    row = {str(column.name): _default(column) for column in kind.table.c}
    hidden = kind.hidden(guarded=guarded)
    return {name: value for name, value in kind.resource.wire(row).items() if name not in hidden}


class Teller:
    """Makes the documents of a batch's new rows: what their event says, and what the audit trail keeps."""

    def __init__(self, kind: Kind, columns: Sequence[str], source: str, now: datetime, import_id: str) -> None:
        self._guard, self._guarded = kind.guarded or ("", "")
        self._always = {
            "external_source": source, "occurred_at": now, "recorded_at": now, "updated_at": now,
        }  # fmt: skip
        self._import_id = import_id
        wire = {column: name for name, column in kind.columns.items()}
        self._money = [(column, wire[column]) for column in kind.money if column in columns]
        self._forms = {guarded: self._form(kind, columns, guarded) for guarded in (False, True)}

    def _form(
        self, kind: Kind, columns: Sequence[str], guarded: bool
    ) -> tuple[dict[str, Any], list[str], list[str], frozenset[str]]:
        hidden = kind.hidden(guarded=guarded)
        empty = empty_document(kind, guarded)
        always = {name: value for name, value in self._always.items() if name in empty}
        told = [name for name in columns if name in empty and name not in kind.money]
        return {**empty, **always}, told, [name for name in columns if name != "sort_key"], hidden

    def tell(
        self, id_: UUID, key: str, values: Values, standing: Values | None, contact_ids: Sequence[UUID] = ()
    ) -> tuple[str, str]:
        """(audit changes, event data) of a new row, as JSON. `standing` is where an opportunity stands at once."""
        empty, told, audited, hidden = self._forms[values.get(self._guard) == self._guarded and self._guard != ""]
        document = empty.copy()
        document["id"] = str(id_)
        if "external_id" in document:
            document["external_id"] = key
        for name in told:
            value = values.get(name)
            if value is not None:
                document[name] = value
        currency = values.get("currency")
        for column, name in self._money:
            amount = values.get(column)
            if amount is not None and currency is not None:
                document[name] = {"amount": decimal_text(amount), "currency": currency}
        if standing is not None:
            document.update(standing)
        if contact_ids:
            document["contact_ids"] = sorted(contact_ids)
        changes: dict[str, Any] = {"import_id": self._import_id}
        for name in audited:
            value = values.get(name)
            if value is not None:
                changes[name] = None if name in hidden else (None, value)
        return _json(changes), _json(document)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def make_stander(process: Process) -> Callable[[datetime, Sequence[Step]], dict[str, Any]]:
    """A function from an opportunity's first transitions to where it stands; the database judges it again."""
    process_id = UUID(bytes=process.id.bytes)
    places = [UUID(bytes=stage.id.bytes) for stage in process.stages]
    first = {**dict.fromkeys(STANDING), "process_id": process_id, "stage_position": 0, "status": "open"}
    first["stage_id"] = places[0]

    def stand(occurred_at: datetime, steps: Sequence[Step]) -> dict[str, Any]:
        standing = first.copy()
        standing["stage_entered_at"] = occurred_at
        position = 0
        passed_at: datetime | None = None
        won_at: datetime | None = None
        for step in steps:
            at = step.occurred_at
            if step.action == "pass":
                passed_at = at if passed_at is None or at > passed_at else passed_at
                assert step.stage is not None  # noqa: S101 - a passage is of a stage
                position = step.stage.position + 1
                won_at = at if step.stage.wins else won_at
            else:
                standing["status"] = "lost" if step.action == "lose" else "abandoned"
                standing["closed_at"], standing["close_reason"] = at, step.reason
        if passed_at is not None:
            standing["stage_position"], standing["stage_entered_at"] = position, passed_at
            standing["stage_id"] = places[position] if position < len(places) else None
        if won_at is not None:
            standing["status"], standing["won_at"], standing["closed_at"] = "won", won_at, won_at
            standing["completed_at"] = passed_at if standing["stage_id"] is None else None
        return standing

    return stand
