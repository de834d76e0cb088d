"""Rules of processes. A process's stages never change: a change is a new edition, and live opportunities stay put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.api import resources
from services.api.errors import Conflict, FieldError, Invalid, invalid, wrong
from services.api.processes.resource import PROCESSES
from services.api.processes.schemas import ProcessCreate, ProcessPatch, StageCreate
from services.api.resources import changes_of
from services.api.wire import check_if_match
from shared.catalog.templates import TEMPLATES, ProcessTemplate
from shared.db import Row, Tx, sql
from shared.effects import AuditEntry, Event
from shared.ids import new_id
from shared.tenancy import Principal

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
    " WHERE workspace_id = :workspace_id AND is_default RETURNING *"
)
# Editions are counted and the default changes hands one request at a time.
ONE_AT_A_TIME = sql("SELECT id FROM sales.workspaces WHERE id = :workspace_id FOR NO KEY UPDATE")
EDITIONS = sql(
    "SELECT coalesce(max(edition) FILTER (WHERE key = :key), 0) AS latest,"
    " coalesce(bool_or(is_default) FILTER (WHERE key = :key), false) AS is_default,"
    " coalesce(bool_or(is_default), false) AS has_default"
    " FROM sales.processes WHERE workspace_id = :workspace_id"
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
    id: UUID | None = None


async def get(tx: Tx, principal: Principal, id_: UUID) -> Row:
    """A process with its stages; raises NotFound."""
    return await resources.fetch(tx, principal, PROCESSES, id_)


async def create(tx: Tx, principal: Principal, body: ProcessCreate) -> Row:
    """A new process, or the next edition of its key. The default passes on to the next edition of the default."""
    named, stages = _given(body)
    await tx.run(ONE_AT_A_TIME)
    known = await tx.row(EDITIONS, key=body.key)
    assert known is not None  # noqa: S101 - an aggregate always gives one row
    inherits = known["is_default"] or not known["has_default"]
    new = NewProcess(
        body.key,
        known["latest"] + 1,
        *named,
        body.template,
        inherits if body.is_default is None or not known["has_default"] else body.is_default,
        stages,
        body.id,
    )
    return await get(tx, principal, await store(tx, new))


def _given(body: ProcessCreate) -> tuple[tuple[str, str | None], list[dict[str, Any]]]:
    """Name and stages of a new process; raises Invalid naming what contradicts."""
    if (body.template is None) == (body.stages is None):
        raise invalid("/stages", "contradiction", "Give either stages of your own or a template, and not both.")
    if body.template is not None:
        template = TEMPLATES[body.template]
        name = (body.name.en, body.name.zh_hans) if body.name else (template.name.en, template.name.zh_hans)
        return name, _template_stages(template)
    stages = body.stages or []
    _check_stages(stages)
    if body.name is None:
        raise invalid("/name", "required", "A process with stages of its own needs a name.")
    return (body.name.en, body.name.zh_hans), [_columns(stage) for stage in stages]


def _check_stages(stages: Sequence[StageCreate]) -> None:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for place, stage in enumerate(stages):
        if stage.key in seen:
            errors.append(wrong(f"/stages/{place}/key", "taken", f"Two stages have the key {stage.key}."))
        seen.add(stage.key)
        if stage.wins and stage.skippable:
            errors.append(
                wrong(f"/stages/{place}/skippable", "contradiction", "The stage whose milestone wins can't be skipped.")
            )
    winning = [place for place, stage in enumerate(stages) if stage.wins]
    if not winning:
        errors.append(wrong("/stages", "required", "One stage's milestone must win."))
    errors += [
        wrong(f"/stages/{place}/wins", "contradiction", "Only one stage's milestone can win.") for place in winning[1:]
    ]
    if errors:
        raise Invalid(errors[0].message, errors=errors)


def _columns(stage: StageCreate) -> dict[str, Any]:
    plain = stage.model_dump(exclude={"name", "milestone"})
    return {
        **plain,
        "name_en": stage.name.en,
        "name_zh_hans": stage.name.zh_hans,
        "milestone_en": stage.milestone.en,
        "milestone_zh_hans": stage.milestone.zh_hans,
    }


async def patch(tx: Tx, principal: Principal, id_: UUID, body: ProcessPatch, if_match: str | None) -> Row:
    """Turns a process on or off, or makes it the default. A workspace is never left without a default."""
    changes = changes_of(body, not_null=("active", "is_default"))
    if changes:
        await tx.run(ONE_AT_A_TIME)
    before = await resources.fetch(tx, principal, PROCESSES, id_, lock=True)
    check_if_match(if_match, before["version"])
    after = {**dict(before), **changes}
    if before["is_default"] and not (after["is_default"] and after["active"]):
        raise Conflict("This is the default process: make another one the default first.")
    if after["is_default"] and not after["active"]:
        raise Conflict("A process that is not active can't be the default.")
    if after["is_default"] and not before["is_default"]:
        await _take_default(tx)
    await resources.change(tx, PROCESSES, before, changes)
    return await get(tx, principal, id_)


async def _take_default(tx: Tx) -> None:
    row = await tx.row(NO_DEFAULT, now=tx.now)
    if row is not None:
        resources.note(tx, PROCESSES, "updated", {**dict(row), "is_default": True}, row)


async def store(tx: Tx, process: NewProcess) -> UUID:
    """Stores a process with its stages in order; the id of the process."""
    process_id = process.id or new_id()
    if process.is_default:
        await _take_default(tx)
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
    data = {"id": process_id, "key": process.key, "edition": process.edition, "is_default": process.is_default}
    tx.effects.emit(Event("process.created", "process", process_id, tx.now, data, 1))
    audited = {"key": [None, process.key], "edition": [None, process.edition], "is_default": [None, process.is_default]}
    tx.effects.audit.append(AuditEntry("process.created", "process", process_id, 1, audited))
    return process_id


async def create_from_template(tx: Tx, template: ProcessTemplate, *, is_default: bool) -> UUID:
    """Stores a shipped template as a process of this workspace."""
    name, stages = template.name, _template_stages(template)
    return await store(tx, NewProcess(template.key, 1, name.en, name.zh_hans, template.key, is_default, stages))


def _template_stages(template: ProcessTemplate) -> list[dict[str, Any]]:
    return [
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
