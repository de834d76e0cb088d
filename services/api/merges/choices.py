"""Whose value each field takes in a merge, and how that is taken back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import orjson
from sqlalchemy import Date

from services.api.errors import Invalid, wrong
from services.api.fields import sort_key
from services.api.merges.resource import Subject
from shared.db import Row


def choose(subject: Subject, into: Row, from_: Row, sides: Mapping[str, str]) -> dict[str, Any]:
    """What changes of the record that stays, by field; raises Invalid for names that are no fields of it."""
    unknown = [name for name in sides if name not in subject.fields]
    if unknown:
        offered = ", ".join(subject.fields)
        errors = [wrong(f"/fields/{name}", "unknown_field", f"Fields here are {offered}.") for name in unknown]
        raise Invalid(f"Not fields of a {subject.kind}: {', '.join(unknown)}.", errors=errors)
    chosen = {name: _value(name, into[name], from_[name], sides.get(name)) for name in subject.fields}
    return {name: value for name, value in chosen.items() if value != into[name]}


def _value(name: str, own: Any, other: Any, side: str | None) -> Any:
    """By default the own value, where there is one; of custom attributes the same, one by one."""
    if side is not None:
        return other if side == "from" else own
    if name == "attributes":
        return {**other, **own}
    return other if own is None else own


def journal(into: Row, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Each changed field before and after, as it can be stored."""
    return {name: {"before": _plain(into[name]), "after": _plain(value)} for name, value in changes.items()}


def take_back(subject: Subject, into: Row, fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What goes back to what it was, and which fields stay because they were changed since."""
    back: dict[str, Any] = {}
    kept: list[str] = []
    for name, each in fields.items():
        if _plain(into[name]) != each["after"]:
            kept.append(name)
            continue
        is_day = isinstance(subject.resource.table.c[name].type, Date)
        back[name] = date.fromisoformat(each["before"]) if is_day and each["before"] else each["before"]
    return back, sorted(kept)


def columns_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as columns: a name carries its sort key."""
    return {**changes, "sort_key": sort_key(changes["name"])} if "name" in changes else dict(changes)


def _plain(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value, default=str))
