"""Custom attributes as inputs of the prior: the workspace's own weights as one expression over all opportunities.

Each attribute pushes on the log-odds by at most `MOST_PUSH` either way, and only where its value is known. Where no
definition says how it counts, the facts query asks for nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from services.scoring.wire import literal

MOST_PUSH: Final = 1.0
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_ATTRIBUTES: Final = {"opportunity": "o.attributes", "customer": "a.attributes"}
CUSTOMERS: Final = (
    "LEFT JOIN sales.customers a ON a.workspace_id = o.workspace_id AND a.id = o.customer_id AND a.attributes <> '{{}}'"
)


@dataclass(frozen=True, slots=True)
class Input:
    """One attribute's say, as SQL: `push` is 0 where its value is unknown. Braces are doubled, for the query it
    becomes part of is filled by `str.format`."""

    subject: str
    push: str


def inputs_of(definitions: Iterable[Mapping[str, Any]] | None) -> tuple[Input, ...]:
    """The inputs of `definitions` (subject, key, kind, model_input); what says nothing usable is left out."""
    found: list[Input] = []
    for each in definitions or ():
        given = each["model_input"]
        if each["subject"] not in _ATTRIBUTES or not _KEY.fullmatch(each["key"]) or not isinstance(given, Mapping):
            continue
        attributes, key = _ATTRIBUTES[each["subject"]], each["key"]
        push = _push(each["kind"], f"{attributes} -> '{key}'", f"{attributes} ->> '{key}'", given)
        if push is not None:
            # Unknown is nothing before it is bounded: a bound would take the place of a null.
            held = f"least(greatest(coalesce({push}, 0), {-MOST_PUSH}), {MOST_PUSH})"
            found.append(Input(each["subject"], held.replace("{", "{{").replace("}", "}}")))
    return tuple(found)


def push_of(inputs: tuple[Input, ...]) -> str:
    """What all attributes push together; null where none is asked for."""
    return " + ".join(each.push for each in inputs) or "NULL"


def _push(kind: str, value: str, text: str, given: Mapping[str, Any]) -> str | None:
    weight = _number(given.get("weight"))
    if kind == "number" and weight is not None:
        centre = _number(given.get("centre")) or 0.0
        return f"CASE WHEN jsonb_typeof({value}) = 'number' THEN {weight!r} * (({text})::float8 - {centre!r}) END"
    if kind == "boolean" and weight is not None:
        return f"CASE ({value})::text WHEN 'true' THEN {weight!r} WHEN 'false' THEN 0.0 END"
    if kind == "date" and weight is not None and (since := _date(given.get("since"))):
        # Null for the 30th of February, where a cast raises; pg_input_is_valid() came with PostgreSQL 16 only.
        day = f"""jsonb_path_query_first({value}, 'strict $.datetime("YYYY-MM-DD")', '{{}}', true) #>> '{{}}'"""
        known = f"{text} ~ '^(?!0000)[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$'"
        return f"CASE WHEN {known} THEN {weight!r} * (({day})::date - DATE '{since}') END"
    weights = given.get("weights")
    if kind == "category" and isinstance(weights, Mapping):
        known_weights = {name: number for name, each in weights.items() if (number := _number(each)) is not None}
        cases = " ".join(f"WHEN {literal(name)} THEN {number!r}" for name, number in known_weights.items())
        return f"CASE {text} {cases} END" if cases else None
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _date(value: Any) -> str | None:
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        return None
