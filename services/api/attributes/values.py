"""Checking values of custom attributes against the workspace's definitions, and filtering lists by them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from services.api.errors import FieldError, Invalid, InvalidParameter, wrong
from shared.db import Row, Tx, sql

MOST_TEXT = 2000
PLURALS = {"customer": "customers", "opportunity": "opportunities"}
DEFINITIONS = sql(
    "SELECT key, kind, categories, required FROM sales.attribute_definitions"
    " WHERE workspace_id = :workspace_id AND subject = :subject AND active"
)
_CONDITION = re.compile(r"([a-z][a-z0-9_]{0,62})(>=|<=|=)(.{0,500})", re.DOTALL)


async def merged(
    tx: Tx, subject: str, given: Mapping[str, Any] | None, present: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The attributes after a merge-patch (null removes one, or all); raises Invalid naming each wrong attribute.

    `present` is what is stored now; None for a new subject, which must have all required ones.
    """
    definitions = {row["key"]: row for row in await tx.rows(DEFINITIONS, subject=subject)}
    result = dict(present or {})
    given = dict.fromkeys(result) if given is None else given
    errors: list[FieldError] = []
    for key, value in given.items():
        definition = definitions.get(key)
        if definition is None and value is None and key in result:
            del result[key]  # of a definition that is no longer active
        elif definition is None:
            errors.append(
                wrong(f"/attributes/{key}", "unknown_attribute", f"{key} is not defined for {PLURALS[subject]}.")
            )
        elif value is None:
            result.pop(key, None)
        else:
            complaint = wrong_value(definition, value)
            if complaint:
                errors.append(wrong(f"/attributes/{key}", "invalid_value", complaint))
            result[key] = value
    for key, definition in definitions.items():
        if definition["required"] and key not in result and (present is None or key in given):
            errors.append(wrong(f"/attributes/{key}", "required", f"{key} is required."))
    if errors:
        raise Invalid(f"{len(errors)} attribute(s) are wrong: {errors[0].message}", errors=errors)
    return result


def wrong_value(definition: Row, value: Any) -> str | None:
    """What is wrong with a value, in words; None when it fits its definition."""
    kind = definition["kind"]
    if kind == "number":
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
        return None if is_number else "must be a number"
    if kind == "boolean":
        return None if isinstance(value, bool) else "must be true or false"
    if not isinstance(value, str):
        return "must be a text"
    if kind == "date":
        return None if _is_date(value) else "must be a date such as 2026-01-31"
    if kind == "category":
        known = definition["categories"] or []
        return None if value in known else f"must be one of {', '.join(known)}"
    return None if len(value) <= MOST_TEXT else f"must have at most {MOST_TEXT} characters"


def _finite(text: str) -> float:
    value = float(text)
    if "_" in text or not math.isfinite(value):
        raise ValueError("not a number that is stored")
    return value


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


async def conditions(tx: Tx, subject: str, texts: list[str]) -> dict[str, Any]:
    """`["region=north", "size>=10"]` as {"equal": {...}, "at_least": {...}, "at_most": {...}}, typed by definition."""
    definitions = {row["key"]: row for row in await tx.rows(DEFINITIONS, subject=subject)}
    found: dict[str, dict[str, Any]] = {"=": {}, ">=": {}, "<=": {}}
    for text in texts:
        match = _CONDITION.fullmatch(text)
        key = match[1] if match else ""
        if match is None or key not in definitions:
            message = (
                f"attribute={text[:80]} names no attribute of {PLURALS[subject]};"
                " write key=value, key>=value or key<=value."
            )
            raise InvalidParameter(message, errors=[wrong("?attribute", "unknown_attribute", message)])
        found[match[2]][key] = _typed(definitions[key]["kind"], match[2], match[3])
    return {"equal": found["="], "at_least": found[">="], "at_most": found["<="]}


def _typed(kind: str, operator: str, text: str) -> Any:
    try:
        if operator != "=" and kind not in {"number", "date"}:
            raise ValueError("only numbers and dates have an order")
        if kind == "number":
            return _finite(text)
        if kind == "boolean":
            return {"true": True, "false": False}[text]
        if kind == "date" and not _is_date(text):
            raise ValueError("not a date")
    except (ValueError, KeyError) as error:
        message = f"{text[:80]} is not a {kind} to compare with."
        raise InvalidParameter(message, errors=[wrong("?attribute", "invalid_value", message)]) from error
    return text
