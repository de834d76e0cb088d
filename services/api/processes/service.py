"""Rules of processes. A process's stages never change: a change is a new edition, and live opportunities stay put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.catalog.templates import ProcessTemplate
from shared.db import Tx, sql
from shared.effects import AuditEntry, Event
from shared.ids import new_id

MAKE_PROCESS = sql(
    "INSERT INTO sales.processes (workspace_id, id, key, edition, name_en, name_zh_hans, template, is_default,"
    " occurred_at, recorded_at, updated_at) VALUES (:workspace_id, :id, :key, :edition, :name_en,"
    " CAST(:name_zh_hans AS text), CAST(:template AS text), :is_default, :now, :now, :now)"
)
MAKE_STAGES = sql(
    """
    INSERT INTO sales.stages (workspace_id, id, process_id, position, key, name_en, name_zh_hans, purpose, milestone_en,
      milestone_zh_hans, irreversible, wins, side, skippable, typical_days, typical_hours, base_win_rate,
      evidences_class)
    SELECT :workspace_id, s.id, :process_id, s.position, s.key, s.name_en, s.name_zh_hans, s.purpose, s.milestone_en,
      s.milestone_zh_hans, s.irreversible, s.wins, s.side, s.skippable, s.typical_days, s.typical_hours,
      s.base_win_rate, s.evidences_class
    FROM jsonb_to_recordset(CAST(:stages AS jsonb)) AS s(id uuid, position int, key text, name_en text,
      name_zh_hans text, purpose text, milestone_en text, milestone_zh_hans text, irreversible boolean, wins boolean,
      side text, skippable boolean, typical_days float, typical_hours float, base_win_rate float, evidences_class text)
    """
)
NO_DEFAULT = sql(
    "UPDATE sales.processes SET is_default = false, version = version + 1, updated_at = :now"
    " WHERE workspace_id = :workspace_id AND is_default"
)


@dataclass(frozen=True, slots=True)
class NewProcess:
    """A process to be stored; each stage is a mapping with the columns of `sales.stages`."""

    key: str
    edition: int
    name_en: str
    name_zh_hans: str | None
    template: str | None
    is_default: bool
    stages: Sequence[dict[str, Any]]


async def store(tx: Tx, process: NewProcess) -> UUID:
    """Stores a process with its stages in order; the id of the process."""
    process_id = new_id()
    if process.is_default:
        await tx.run(NO_DEFAULT, now=tx.now)
    await tx.run(
        MAKE_PROCESS,
        id=process_id,
        key=process.key,
        edition=process.edition,
        name_en=process.name_en,
        name_zh_hans=process.name_zh_hans,
        template=process.template,
        is_default=process.is_default,
        now=tx.now,
    )
    rows = [{"id": str(new_id()), "position": n, **stage} for n, stage in enumerate(process.stages)]
    await tx.run(MAKE_STAGES, process_id=process_id, stages=rows)
    data = {"id": process_id, "key": process.key, "edition": process.edition}
    tx.effects.emit(Event("process.created", "process", process_id, tx.now, data, 1))
    tx.effects.audit.append(AuditEntry("process.created", "process", process_id, 1, {"key": [None, process.key]}))
    return process_id


async def create_from_template(tx: Tx, template: ProcessTemplate, *, is_default: bool) -> UUID:
    """Stores a shipped template as a process of this workspace."""
    stages = [
        {
            "key": stage.key,
            "name_en": stage.name.en,
            "name_zh_hans": stage.name.zh_hans,
            "purpose": stage.purpose,
            "milestone_en": stage.milestone.en,
            "milestone_zh_hans": stage.milestone.zh_hans,
            "irreversible": stage.irreversible,
            "wins": stage.wins,
            "side": stage.side,
            "skippable": stage.skippable,
            "typical_days": stage.typical_days,
            "typical_hours": stage.typical_hours,
            "base_win_rate": stage.base_win_rate,
            "evidences_class": stage.evidences_class,
        }
        for stage in template.stages
    ]
    new = NewProcess(template.key, 1, template.name.en, template.name.zh_hans, template.key, is_default, stages)
    return await store(tx, new)
