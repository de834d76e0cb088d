"""The facts that reasons are told with, as SQL to be joined to opportunities `o`, and as Python reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.catalog.interactions import MEETING_KINDS, NEGATIVE_SIGNALS, POSITIVE_SIGNALS
from shared.db import Row


def _listed(values: tuple[str, ...]) -> str:
    return "ARRAY[" + ", ".join(f"'{value}'" for value in values) + "]"


SCORE_COLUMNS = """
  sc.model_version, sc.facts_version, sc.probability, sc.probability_low, sc.probability_high,
  sc.priority AS score_priority, sc.margin, sc.urgency, sc.slack_days AS score_slack_days, sc.hours, sc.flags,
  sc.unknowns, sc.imputed, sc.criteria, sc.parts, sc.contributions, sc.next_due_at, sc.scored_at,
  sc.class_code AS score_class
"""
FACT_COLUMNS = """
  o.interest, o.budget_status, o.budget_amount, o.amount, o.currency, o.purchase_date, o.purchase_date_firmness,
  o.purchase_date_slips, o.fit_score, o.rival_fit_score, o.owner_changed_at,
  coalesce(o.stage_entered_at, o.occurred_at) AS stage_entered_at,
  st.id AS stage_id, st.key AS stage_key, st.name_en AS stage_name_en, st.name_zh_hans AS stage_name_zh_hans,
  st.typical_days, i.two_way, i.meetings, i.last_two_way_at, i.positive, i.negative, i.quiet_at, i.confidence,
  k.contacts, k.coach, k.executive, n.next_step_title, n.next_step_on, n.kept, n.made
"""
# What names the opportunity counts, and what names only its customer: as the judgement counts them. (num_nonnulls, for
# IS NULL can lead the planner to read all interactions that name no opportunity, of whatever customer.)
FACT_JOINS = f"""
LEFT JOIN sales.stages st ON st.workspace_id = o.workspace_id AND st.id = o.stage_id
LEFT JOIN LATERAL (
  SELECT count(*) FILTER (WHERE x.direction = 'two_way') AS two_way,
    count(*) FILTER (WHERE x.kind = ANY ({_listed(MEETING_KINDS)})) AS meetings,
    max(x.occurred_at) FILTER (WHERE x.direction = 'two_way') AS last_two_way_at,
    max(x.occurred_at) FILTER (WHERE x.signals && {_listed(NEGATIVE_SIGNALS)}) AS quiet_at,
    (max(ARRAY[date_part('epoch', x.occurred_at), x.confidence]) FILTER (WHERE x.confidence IS NOT NULL))[2]
      AS confidence,
    sum((SELECT count(*) FROM unnest(x.signals) g WHERE g = ANY ({_listed(POSITIVE_SIGNALS)})))
      FILTER (WHERE x.signals <> '{{}}' AND x.occurred_at > now() - interval '90 days') AS positive,
    sum((SELECT count(*) FROM unnest(x.signals) g WHERE g = ANY ({_listed(NEGATIVE_SIGNALS)})))
      FILTER (WHERE x.signals <> '{{}}' AND x.occurred_at > now() - interval '90 days') AS negative
  FROM (
    SELECT occurred_at, kind, direction, signals, confidence FROM sales.interactions
    WHERE workspace_id = o.workspace_id AND opportunity_id = o.id AND deleted_at IS NULL
    UNION ALL
    SELECT occurred_at, kind, direction, signals, confidence FROM sales.interactions
    WHERE workspace_id = o.workspace_id AND customer_id = o.customer_id AND num_nonnulls(opportunity_id) = 0
      AND deleted_at IS NULL
  ) x
) i ON o.id IS NOT NULL
LEFT JOIN LATERAL (
  SELECT count(*) AS contacts, bool_or(is_coach) AS coach, bool_or(level = 'executive') AS executive
  FROM sales.contacts
  WHERE workspace_id = o.workspace_id AND customer_id = o.customer_id AND deleted_at IS NULL
) k ON o.id IS NOT NULL
"""
# Takes customers too: a next step may be about somebody who buys nothing yet.
STEP_JOIN = """
LEFT JOIN LATERAL (
  SELECT (array_agg(x.title ORDER BY x.due_on, x.id) FILTER (WHERE x.ahead))[1] AS next_step_title,
    min(x.due_on) FILTER (WHERE x.ahead) AS next_step_on,
    count(*) FILTER (WHERE x.kind = 'promise' AND x.kept) AS kept,
    count(*) FILTER (WHERE x.kind = 'promise' AND x.kept IS NOT NULL) AS made
  FROM (
    SELECT t.*, t.status = 'open' AND t.kind <> 'greeting' AND t.due_on IS NOT NULL AS ahead FROM sales.tasks t
    WHERE t.workspace_id = {workspace} AND t.opportunity_id = {opportunity} AND t.deleted_at IS NULL
    UNION ALL
    SELECT t.*, t.status = 'open' AND t.kind <> 'greeting' AND t.due_on IS NOT NULL AS ahead FROM sales.tasks t
    WHERE t.workspace_id = {workspace} AND t.customer_id = {customer} AND num_nonnulls(t.opportunity_id) = 0
      AND t.deleted_at IS NULL
  ) x
) n ON true
"""
SCORE_JOIN = """
LEFT JOIN scoring.scores sc ON sc.workspace_id = o.workspace_id AND sc.opportunity_id = o.id
"""
MODELS = (
    "(SELECT jsonb_object_agg(version, codes) FROM scoring.models"
    " WHERE workspace_id = CAST(:workspace_id AS uuid)) AS models"
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a reason may be told with: a row of `FACT_COLUMNS`, and how its reader counts days and money."""

    row: Row
    now: datetime
    time_zone: str
    currency: str
    language: str

    @property
    def today(self) -> date:
        return self.day(self.now)

    def day(self, moment: datetime) -> date:
        """The date of a moment where the workspace is."""
        return moment.astimezone(ZoneInfo(self.time_zone)).date()

    def days_since(self, moment: Any) -> int | None:
        return None if moment is None else max((self.today - self.day(moment)).days, 0)

    def days_until(self, day: Any) -> int | None:
        return None if day is None else (day - self.today).days
