"""What a transition asks of the database: where an opportunity stands, and recording what became of it."""

from __future__ import annotations

from sqlalchemy import (
    DateTime,
    Executable,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from shared.db import sql, statement
from shared.models import opportunities, stages
from shared.tenancy import Reach, scoped

_TIME = DateTime(timezone=True)
# The process's stages in order, each with its standing passage, as one document beside the opportunity itself.
_COURSE = """
(SELECT jsonb_agg(jsonb_build_object('id', s.id, 'position', s.position, 'key', s.key, 'milestone_en', s.milestone_en,
    'irreversible', s.irreversible, 'wins', s.wins, 'skippable', s.skippable, 'passage_id', t.id,
    'passed_at', t.occurred_at, 'passage_recorded_at', t.recorded_at) ORDER BY s.position)
  FROM sales.stages s
  LEFT JOIN sales.transitions t ON t.workspace_id = s.workspace_id AND t.stage_id = s.id
    AND t.opportunity_id = opportunities.id AND t.action = 'pass'
    AND NOT EXISTS (
      SELECT FROM sales.transitions c WHERE c.workspace_id = t.workspace_id AND c.passage_id = t.id OFFSET 0)
  WHERE s.workspace_id = opportunities.workspace_id AND s.process_id = opportunities.process_id)
"""
_REOPEN_DAYS = (
    "(SELECT p.document -> 'reopen_days' FROM sales.policies p WHERE p.workspace_id = opportunities.workspace_id)"
)


@statement
def select_with_course(reach: Reach) -> Executable:
    """The opportunity, locked, with its course. Where the lock had to be waited for, the course may be that of the
    moment before: the trigger then refuses what no longer fits."""
    course = literal_column(_COURSE, JSONB()).label("course")
    reopen_days = literal_column(_REOPEN_DAYS, JSONB()).label("reopen_days")
    return (
        scoped(opportunities, reach, *opportunities.c, course, reopen_days)
        .where(opportunities.c.id == bindparam("id"), opportunities.c.deleted_at.is_(None))
        .with_for_update(of=opportunities)
    )


@statement
def pass_where_sound(reach: Reach) -> Executable:
    """Passes the milestone of the stage it stands in, if it is open, within reach, and this is the stage meant."""
    table = opportunities
    now, occurred_at = bindparam("now", type_=_TIME), bindparam("occurred_at", type_=_TIME)
    stage_id = bindparam("stage_id", type_=table.c.stage_id.type)
    standing = (
        scoped(table, reach, table.c.workspace_id, table.c.id, table.c.process_id, table.c.stage_id)
        # What came before may have been recorded by a clock that is fast: this is then taken to follow at once.
        .add_columns(func.coalesce(occurred_at, func.greatest(now, table.c.stage_entered_at)).label("passed_at"))
        .where(table.c.id == bindparam("id"), table.c.deleted_at.is_(None), table.c.status == "open")
        .where(or_(stage_id.is_(None), table.c.stage_id == stage_id))
        .where(or_(occurred_at.is_(None), occurred_at >= table.c.stage_entered_at))
        .with_for_update(of=table)
        .subquery()
    )
    ids = postgresql.ARRAY(postgresql.UUID(as_uuid=True))
    recorded = func.sales.record_transitions(
        standing.c.workspace_id,
        standing.c.id,
        cast(postgresql.array([bindparam("transition_id", type_=ids.item_type)]), ids),
        cast(postgresql.array([standing.c.stage_id]), ids),
        cast(postgresql.array([null()]), ids),
        "pass",
        bindparam("reason", type_=Text()),
        bindparam("note", type_=Text()),
        bindparam("evidence", type_=JSONB()),
        bindparam("member_id", type_=ids.item_type),
        standing.c.passed_at,
        now,
    )
    after = recorded.table_valued(*(column(each.name, each.type) for each in table.c)).lateral("after")
    passed = stages.c.id == standing.c.stage_id
    return (
        select(
            *after.c,
            standing.c.passed_at,
            stages.c.id.label("passed_id"),
            stages.c.key,
            stages.c.irreversible,
            stages.c.wins,
        )
        .select_from(standing)
        .join(stages, and_(stages.c.workspace_id == standing.c.workspace_id, passed))
        .join(after, true())
    )


# Records the rows and gives the opportunity as the trigger leaves it.
RECORD = sql(
    "SELECT * FROM sales.record_transitions(:workspace_id, :opportunity_id, :ids, :stages, :passages, :action, :reason,"
    " :note, CAST(:evidence AS jsonb), :member_id, :occurred_at, :recorded_at)"
)
