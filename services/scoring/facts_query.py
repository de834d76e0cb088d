"""The one query that turns facts in the database into the rows that the core judges.

Its columns are those of the core's `FIELDS`, in that order, then the version of the facts. Everything is aggregated
set-based for all opportunities at once; unknown is NaN, never zero.
"""

from __future__ import annotations

import re
from typing import Final

from services.scoring.core.facts import FIELDS, Kind
from services.scoring.inputs import CUSTOMERS, Input, push_of
from services.scoring.wire import Column, Layout
from shared.catalog.interactions import MEETING_KINDS, NEGATIVE_SIGNALS, POSITIVE_SIGNALS

FACTS: Final = Layout(
    (
        *(Column(name, "uuid" if kind is Kind.UUID else "float8") for name, kind in FIELDS),
        Column("facts_version", "float8"),
    )
)
SIGNAL_DAYS: Final = 90

_NONE: Final = "'00000000-0000-0000-0000-000000000000'::uuid"
_WORKSPACE: Final = "(SELECT current_setting('app.workspace_id')::uuid)"


def _array(values: tuple[str, ...]) -> str:
    return "ARRAY[" + ", ".join(f"'{value}'" for value in values) + "]"


def _given(signals: tuple[str, ...]) -> str:
    """How many of `signals` an interaction gave."""
    return " + ".join(f"('{signal}' = ANY (signals))::int" for signal in signals)


def _rank(column: str, *codes: str) -> str:
    """The place of a code in its scale, null where the fact is unknown."""
    cases = " ".join(f"WHEN '{code}' THEN {place}" for place, code in enumerate(codes))
    return f"CASE {column} {cases} END"


def _time(column: str) -> str:
    return f"date_part('epoch', {column}) / 86400.0"


def _date(column: str) -> str:
    return f"CASE WHEN isfinite({column}) THEN {column} - DATE '1970-01-01' END"


def _money(column: str) -> str:
    """An amount in the workspace's currency; unknown where there is no rate for its own."""
    return f"o.{column}::float8 * r.rate"


def _known(column: str) -> str:
    """Whether a text was filled in; a text never asked for is unknown, not missing."""
    return f"CASE WHEN {column} IS NOT NULL THEN (trim({column}) <> '')::int END"


def _seen(column: str) -> str:
    """A count over recorded interactions: of an imported past that came without any, nothing is known."""
    return f"CASE WHEN i.touches IS NULL AND o.historical THEN NULL ELSE coalesce(i.{column}, 0) END"


def _met(column: str, nobody: str) -> str:
    """Something of the customer's contacts: of an imported past that came without any, nothing is known."""
    return f"CASE WHEN k.contacts IS NULL AND o.historical THEN NULL ELSE coalesce(k.{column}, {nobody}) END"


_COLUMNS: Final[dict[str, str]] = {
    "created_at": _time("o.occurred_at"),
    "amount": _money("amount"),
    "margin_rate": "o.margin_rate",
    "cost_to_deliver": _money("cost_to_deliver"),
    "delivery_risk": "o.delivery_risk",
    "payment_risk": "o.payment_risk",
    "budget_amount": _money("budget_amount"),
    "budget_status": _rank("o.budget_status", "none", "indicated", "requested", "approved", "locked"),
    "purchase_date": _date("o.purchase_date"),
    "purchase_date_firmness": _rank("o.purchase_date_firmness", "guessed", "stated", "firm"),
    "purchase_date_slips": "CASE WHEN o.purchase_date IS NOT NULL THEN o.purchase_date_slips END",
    "fit_score": "o.fit_score",
    "rival_fit_score": "o.rival_fit_score",
    "need_known": _known("o.need"),
    "pain_known": _known("o.pain"),
    "line": _rank("o.line", "short", "long"),
    "resume_on": _date("o.resume_on"),
    "stage_position": "o.stage_position",
    "stage_entered_at": _time("coalesce(o.stage_entered_at, o.occurred_at)"),
    "stage_typical_days": "p.typical_days",
    "stage_class": _rank("p.evidences_class", "A", "B", "C"),
    "remaining_win_rate": "p.remaining_win_rate",
    "remaining_days": "p.remaining_days",
    "remaining_hours": "p.remaining_hours",
    "two_way_count": _seen("two_way"),
    "meeting_count": _seen("meetings"),
    "last_two_way_at": "i.last_two_way_at",
    "last_touch_at": "i.last_touch_at",
    "positive_signals": _seen("positive"),
    "negative_signals": _seen("negative"),
    "quiet_signal_at": "i.quiet_at",
    "confidence": "i.last_confidence[2]",
    "contact_count": _met("contacts", "0"),
    "has_coach": _met("coach::int", "0"),
    "has_executive": _met("executive::int", "0"),
    "next_step_on": _date("t.next_step_on"),
    "promises_kept": "coalesce(t.kept, 0)",
    "promises_broken": "coalesce(t.broken, 0)",
    "promises_overdue": "coalesce(t.overdue, 0)",
    "source_rate": "NULL",
    "interest": _rank("o.interest", "none", "weak", "interested", "firm"),
    "owner_changed_at": _time("o.owner_changed_at"),
    "attribute_push": "NULL",
}


def _select(name: str, kind: Kind) -> str:
    if kind is Kind.UUID:
        return f"coalesce(o.{name}, {_NONE})" if name == "owner_id" else f"o.{name}"
    return f"coalesce(({_COLUMNS[name]})::float8, 'NaN'::float8)"


# What other tables tell is joined to the chosen opportunities; all else is worked out where they are read, so that
# only what is asked for is carried along.
_JOINED: Final = re.compile(r"\b[prikt]\.")
_OWN: Final = tuple((name, kind) for name, kind in FIELDS if not _JOINED.search(_COLUMNS.get(name, "")))
# Where the workspace's own attributes come in, when any of them count.
_PUSH: Final = f"{_select('attribute_push', Kind.LOG_ODDS)} AS attribute_push"
_OWN_SELECTED: Final = ",\n    ".join(f"{_select(name, kind)} AS {name}" for name, kind in _OWN)
_SELECTED: Final = ",\n  ".join(f"o.{name}" if (name, kind) in _OWN else _select(name, kind) for name, kind in FIELDS)

# Nearly all interactions give one signal or none, which is told without going through all that there are.
_IS_QUIET: Final = f"signals && {_array(NEGATIVE_SIGNALS)}"


def _counted(signals: tuple[str, ...]) -> str:
    return (
        "CASE WHEN signals = '{{}}' OR occurred_at < {signals_since}::timestamptz THEN 0"
        f" WHEN cardinality(signals) = 1 THEN (signals[1] = ANY ({_array(signals)}))::int ELSE {_given(signals)} END"
    )


# `touched` and `promised` count what names the opportunity, and what names only its customer for each of the
# customer's opportunities. The stages' running products go from each stage to the one that wins.
FACTS_QUERY: Final = f"""
WITH o AS MATERIALIZED (
  SELECT o.workspace_id, o.version::float8 AS version, o.historical, o.stage_id, o.currency,
    o.amount::float8 AS amount, o.cost_to_deliver::float8 AS cost_to_deliver, o.budget_amount::float8 AS budget_amount,
    {_OWN_SELECTED}
  FROM sales.opportunities o {{customers}}
  WHERE o.workspace_id = {_WORKSPACE} AND ({{chosen}}) AND o.status = 'open' AND o.deleted_at IS NULL
    AND NOT EXISTS (
      SELECT FROM sales.customers c
      WHERE c.workspace_id = o.workspace_id AND c.id = o.customer_id AND c.deleted_at IS NOT NULL)
), n AS MATERIALIZED (
  SELECT workspace_id, id, customer_id FROM o
), r AS MATERIALIZED (
  SELECT key AS currency, value::float8 AS rate FROM jsonb_each_text({{rates}}::jsonb)
), p AS MATERIALIZED (
  SELECT s.id, s.typical_days, s.evidences_class,
    exp(sum(ln(n.base_win_rate))) AS remaining_win_rate, sum(n.typical_days) AS remaining_days,
    sum(n.typical_hours) AS remaining_hours
  FROM sales.stages s
  LEFT JOIN sales.stages w ON w.workspace_id = s.workspace_id AND w.process_id = s.process_id AND w.wins
  LEFT JOIN sales.stages n ON n.workspace_id = s.workspace_id AND n.process_id = s.process_id
    AND n.position BETWEEN s.position AND w.position
  WHERE s.workspace_id = {_WORKSPACE}
  GROUP BY s.id, s.typical_days, s.evidences_class
), touched AS (
  SELECT o.id, x.occurred_at, x.kind, x.direction, x.signals, x.confidence FROM n o
  JOIN sales.interactions x ON x.workspace_id = o.workspace_id AND x.opportunity_id = o.id AND x.deleted_at IS NULL
  UNION ALL
  SELECT o.id, x.occurred_at, x.kind, x.direction, x.signals, x.confidence FROM n o
  JOIN sales.interactions x ON x.workspace_id = o.workspace_id AND x.customer_id = o.customer_id
    AND x.opportunity_id IS NULL AND x.deleted_at IS NULL
), i AS (
  SELECT id, count(*) AS touches,
    count(*) FILTER (WHERE direction = 'two_way') AS two_way,
    count(*) FILTER (WHERE kind = ANY ({_array(MEETING_KINDS)})) AS meetings,
    date_part('epoch', max(occurred_at) FILTER (WHERE direction = 'two_way')) / 86400.0 AS last_two_way_at,
    date_part('epoch', max(occurred_at)) / 86400.0 AS last_touch_at,
    sum({_counted(POSITIVE_SIGNALS)}) AS positive,
    sum({_counted(NEGATIVE_SIGNALS)}) AS negative,
    date_part('epoch', max(occurred_at) FILTER (WHERE signals <> '{{{{}}}}' AND {_IS_QUIET})) / 86400.0 AS quiet_at,
    max(ARRAY[date_part('epoch', occurred_at), confidence]) FILTER (WHERE confidence IS NOT NULL) AS last_confidence
  FROM touched GROUP BY id
), k AS (
  SELECT b.customer_id, count(*) AS contacts, bool_or(x.is_coach) AS coach,
    bool_or(x.level = 'executive') AS executive
  FROM (SELECT DISTINCT workspace_id, customer_id FROM n) b
  JOIN sales.contacts x ON x.workspace_id = b.workspace_id AND x.customer_id = b.customer_id AND x.deleted_at IS NULL
  GROUP BY b.customer_id
), promised AS (
  SELECT o.id, x.kind, x.status, x.due_on, x.kept FROM n o
  JOIN sales.tasks x ON x.workspace_id = o.workspace_id AND x.opportunity_id = o.id AND x.deleted_at IS NULL
  UNION ALL
  SELECT o.id, x.kind, x.status, x.due_on, x.kept FROM n o
  JOIN sales.tasks x ON x.workspace_id = o.workspace_id AND x.customer_id = o.customer_id
    AND x.opportunity_id IS NULL AND x.deleted_at IS NULL
), t AS (
  SELECT id,
    min(due_on) FILTER (WHERE status = 'open' AND kind <> 'greeting') AS next_step_on,
    count(*) FILTER (WHERE kind = 'promise' AND kept) AS kept,
    count(*) FILTER (WHERE kind = 'promise' AND NOT kept) AS broken,
    count(*) FILTER (WHERE kind = 'promise' AND status = 'open' AND due_on < {{today}}::date) AS overdue
  FROM promised GROUP BY id
)
SELECT {_SELECTED},
  o.version
FROM o
LEFT JOIN r ON r.currency = o.currency
LEFT JOIN p ON p.id = o.stage_id
LEFT JOIN i ON i.id = o.id
LEFT JOIN k ON k.customer_id = o.customer_id
LEFT JOIN t ON t.id = o.id
"""


def facts_query(columns: tuple[str, ...], inputs: tuple[Input, ...] = ()) -> str:
    """The query over the opportunities chosen by `columns`, with the attributes that count for the workspace."""
    query = FACTS_QUERY.replace("{chosen}", " OR ".join(f"o.{column} = ANY ({{{column}}})" for column in columns))
    joined = any(each.subject == "customer" for each in inputs)
    query = query.replace("{customers}", CUSTOMERS if joined else "")
    if not inputs:
        return query
    return query.replace(_PUSH, f"coalesce(({push_of(inputs)})::float8, 'NaN'::float8) AS attribute_push", 1)


# What the core's medians are taken over: the newest open and won opportunities of the workspace, for a bounded cost.
# What was won tells what such deals are worth; what is still to do, and when they will buy, only open ones tell.
MEDIAN_FIELDS: Final = (
    "amount",
    "margin_rate",
    "cost_to_deliver",
    "delivery_risk",
    "payment_risk",
    "purchase_date",
    "remaining_win_rate",
    "remaining_days",
    "remaining_hours",
)
MEDIANS: Final = Layout((Column("process_id", "uuid"), *(Column(name, "float8") for name in MEDIAN_FIELDS)))
MEDIAN_SAMPLE: Final = 20_000
_STILL_OPEN: Final = "purchase_date"
_MEDIAN_SELECTED: Final = ", ".join(
    f"CASE WHEN o.status = 'open' THEN {_select(name, Kind.MONEY)} ELSE 'NaN' END"
    if name == _STILL_OPEN
    else _select(name, Kind.MONEY)
    for name in MEDIAN_FIELDS
)
MEDIANS_QUERY: Final = f"""
WITH o AS (
  SELECT * FROM sales.opportunities
  WHERE workspace_id = {_WORKSPACE} AND status IN ('open', 'won') AND deleted_at IS NULL
  ORDER BY id DESC LIMIT {MEDIAN_SAMPLE}
), r AS MATERIALIZED (
  SELECT key AS currency, value::float8 AS rate FROM jsonb_each_text({{rates}}::jsonb)
), p AS MATERIALIZED (
  SELECT s.id, exp(sum(ln(n.base_win_rate))) AS remaining_win_rate, sum(n.typical_days) AS remaining_days,
    sum(n.typical_hours) AS remaining_hours
  FROM sales.stages s
  JOIN sales.stages w ON w.workspace_id = s.workspace_id AND w.process_id = s.process_id AND w.wins
  JOIN sales.stages n ON n.workspace_id = s.workspace_id AND n.process_id = s.process_id
    AND n.position BETWEEN s.position AND w.position
  WHERE s.workspace_id = {_WORKSPACE}
  GROUP BY s.id
)
SELECT o.process_id, {_MEDIAN_SELECTED}
FROM o LEFT JOIN r ON r.currency = o.currency LEFT JOIN p ON p.id = o.stage_id AND o.status = 'open'
"""
