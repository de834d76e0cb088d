"""How processes are stored and shown; the stages come with the process, in the same statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, literal_column
from sqlalchemy.dialects.postgresql import JSONB

from services.api.filters import after, by_text, by_time, equals
from services.api.localized import localized
from services.api.resources import Resource
from services.api.wire import columns
from shared.catalog.templates import ProcessTemplate
from shared.db import Row
from shared.models import processes

_PLAIN = ("template", "is_default", "active")
_LAST = ("version", "occurred_at", "recorded_at", "updated_at")
_STAGE = (
    "purpose", "irreversible", "wins", "side", "skippable", "typical_days", "typical_hours", "base_win_rate",
    "evidences_class",
)  # fmt: skip
_STAGES = literal_column(
    "(SELECT jsonb_agg(to_jsonb(s) ORDER BY s.position) FROM sales.stages s"
    " WHERE s.workspace_id = processes.workspace_id AND s.process_id = processes.id)",
    JSONB,
).label("stages")


def wire(row: Row) -> dict[str, Any]:
    body = {
        **columns(row, ("id", "key", "edition")),
        "name": localized(row["name_en"], row["name_zh_hans"]),
        **columns(row, _PLAIN),
    }
    stages = row.get("stages")  # not read where a process is only changed
    if stages is not None:
        body["stages"] = [_stage(stage) for stage in stages]
    return body | columns(row, _LAST)


def _stage(stage: Row) -> dict[str, Any]:
    return {
        **columns(stage, ("id", "position", "key")),
        "name": localized(stage["name_en"], stage["name_zh_hans"]),
        "milestone": localized(stage["milestone_en"], stage["milestone_zh_hans"]),
        **columns(stage, _STAGE),
    }


def template_wire(template: ProcessTemplate) -> dict[str, Any]:
    """A shipped template, in the shape of a process without an id."""
    stages = [
        {
            "position": position,
            "key": stage.key,
            "name": localized(*stage.name),
            "milestone": localized(*stage.milestone),
            **{name: getattr(stage, name) for name in _STAGE},
        }
        for position, stage in enumerate(template.stages)
    ]
    return {"key": template.key, "name": localized(*template.name), "stages": stages}


def _with_stages(query: Select[Any]) -> Select[Any]:
    return query.add_columns(_STAGES)


PROCESSES = Resource(
    name="process",
    path="/v1/processes",
    table=processes,
    wire=wire,
    prepare=_with_stages,
    default_sort="key",
    sorts={
        "key": by_text(processes.c.key, "key"),
        "recorded_at": by_time(processes.c.recorded_at, "recorded_at"),
        "updated_at": by_time(processes.c.updated_at, "updated_at"),
    },
    filters={
        "key": equals(processes.c.key),
        "template": equals(processes.c.template),
        "active": equals(processes.c.active),
        "is_default": equals(processes.c.is_default),
        "updated_after": after(processes.c.updated_at),
    },
)
