"""Examples of events: made from their schemas, with values that could stand in a real one."""

from __future__ import annotations

import hashlib
from typing import Any

from shared.event_data import Schema

TIME = "2026-03-02T09:30:00Z"
_VALUES: dict[str, Any] = {
    "name": "Press line 3",
    "amount": "125000.50",
    "currency": "CNY",
    "label": {"en": "Region", "zh_hans": "地区"},
    "time_zone": "Asia/Shanghai",
    "locale": "zh-Hans",
    "key": "needs_confirmed",
    "role": "rep",
    "direction": "two_way",
    "line": "short",
    "status": "open",
    "interest": "interested",
    "purchase_date": "2026-06-01",
    "resume_on": None,
    "due_on": "2026-03-09",
    "function": "technical",
    "level": "executive",
    "title": "Director",
    "industry": "steel",
    "source": "fair",
    "tier": "key",
    "website": "https://northwind.example",
    "last4": "x7Qd",
    "scopes": ["opportunities:read"],
    "format": "csv",
    "file_name": "customers.csv",
    "signals": ["asks_questions"],
    "code": "overtook",
    "from": "track",
    "to": "engage",
    "band": "engage",
    "rank": 3,
    "class": "B",
    "class_before": "A",
    "probability": 0.42,
    "probability_before": 0.31,
    "priority": 812.4,
    "model_version": "prior-1",
    "request_id": "4d2a6c1e0f7b4a0f",
    "type": "opportunity.milestone_passed",
    "subject_type": "opportunity",
    "event": {
        "type": "opportunity.milestone_passed",
        "subject_type": "opportunity",
        "subject_id": "019c0de0-0000-7000-8000-000000000001",
    },
    "by": {"type": "opportunity", "id": "019c0de0-0000-7000-8000-000000000002", "event": "opportunity.scored"},
    "minutes": 40,
    "rows_read": 8800,
    "rows_imported": 8790,
    "rows_failed": 10,
    "rows_total": 8800,
    "total_bytes": 1_204_233,
    "version": 3,
    "stage_position": 2,
    "engage": 16,
    "track": 100,
    "monitor": 400,
    "margin_rate": 0.3,
    "fit_score": 0.7,
    "external_source": "erp",
    "external_id": "4711",
    "attempts": 4,
    "event_types": ["opportunity.*"],
    "api_version": "v1",
    "signatures": ["v1"],
    "retry_schedule": None,
    "owner_ids": None,
    "opportunity_ids": None,
    "throttle_rate": None,
    "timeout_seconds": 15,
    "header_names": ["Authorization"],
    "disabled_reason": None,
    "disabled_at": None,
    "event_type": "opportunity.won",
    "last_status": 503,
    "last_error": None,
    "total": 120,
    "done": 120,
    "requested": 118,
}
# Nothing that most records have.
_EMPTY = frozenset(
    (
        "deleted_at", "won_at", "closed_at", "completed_at", "close_reason", "revoked_at", "interaction_id", "problem",
        "product_id", "categories", "reason", "finished_at", "kept", "template",
    )
)  # fmt: skip


def example_of(schema: Schema, subject: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object that the schema allows; `given` sets values of this one event."""
    made = {name: _value(name, each, subject) for name, each in schema["properties"].items()}
    return made | {name: value for name, value in (given or {}).items() if name in schema["properties"]}


def id_of(name: str) -> str:
    """The same UUIDv7 for the same name."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"019c0de0-0000-7000-8000-{digits[:12]}"


def _value(name: str, schema: Schema, subject: str) -> Any:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if name in _EMPTY and "null" in kinds:
        return None
    if name in _VALUES and _kind(_VALUES[name]) in kinds:
        return _VALUES[name]
    kind = kinds[0]
    if kind == "object":
        return example_of(schema, subject) if "properties" in schema else {}
    if kind == "array":
        return ["name"] if name == "changed" else [_value(name.removesuffix("s"), schema["items"], subject)]
    if kind == "string":
        return _text(name, schema.get("format"), subject)
    return {"integer": 1, "number": 0.5, "boolean": False}[kind]


def _kind(value: Any) -> str:
    names = {str: "string", int: "integer", float: "number", dict: "object", list: "array", type(None): "null"}
    return names[type(value)]


def _text(name: str, form: str | None, subject: str) -> str:
    if form == "uuid":
        return id_of(subject if name == "id" else name)
    return {"date-time": TIME, "date": "2026-06-01"}.get(form or "", name)
