"""What a workspace sets: its policy, its capacities, its rates and where its day begins."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from services.scoring.core.policy import Policy
from services.scoring.facts_query import SIGNAL_DAYS
from services.scoring.inputs import Input, inputs_of
from shared.db import Tx, sql

log = logging.getLogger(__name__)

_EPOCH = date(1970, 1, 1)
_SECONDS_PER_DAY = 86_400
_WORKSPACE = sql(
    "SELECT w.currency, w.time_zone, coalesce(p.document, '{}') AS document,"
    " (SELECT jsonb_agg(jsonb_build_object('subject', d.subject, 'key', d.key, 'kind', d.kind,"
    "   'model_input', d.model_input) ORDER BY d.subject, d.key)"
    "  FROM sales.attribute_definitions d"
    "  WHERE d.workspace_id = w.id AND d.active AND d.model_input IS NOT NULL) AS inputs"
    " FROM sales.workspaces w"
    " LEFT JOIN sales.policies p ON p.workspace_id = w.id AND p.id = ("
    "  SELECT id FROM sales.policies WHERE workspace_id = :workspace_id ORDER BY recorded_at DESC, id DESC LIMIT 1)"
    " WHERE w.id = :workspace_id"
)
_NAMES = frozenset(field.name for field in fields(Policy))
_BANDS = ("engage", "track", "monitor", "backlog")


@dataclass(frozen=True)
class Workspace:
    """A workspace as a judgement sees it at the moment `now` (UTC)."""

    id: UUID
    currency: str
    policy: Policy
    rates: dict[str, float]
    now: datetime
    inputs: tuple[Input, ...] = ()

    @cached_property
    def now_days(self) -> float:
        """`now` in days since the Unix epoch."""
        return days_of(self.now)

    @cached_property
    def today(self) -> date:
        """The calendar date of `now` in the workspace's time zone."""
        return _EPOCH + timedelta(days=self.policy.today(self.now_days))

    @cached_property
    def query_values(self) -> dict[str, str]:
        """What the facts query needs, as text."""
        since = self.policy.day_start(self.policy.today(self.now_days) - SIGNAL_DAYS)
        return {
            "rates": orjson.dumps(self.rates).decode(),
            "signals_since": moment_of(since).isoformat(),
            "today": self.today.isoformat(),
        }


async def read_workspace(tx: Tx, now: datetime) -> Workspace | None:
    """The workspace of the transaction; None when it does not exist (any more)."""
    row = await tx.row(_WORKSPACE)
    if row is None:
        return None
    document: Mapping[str, Any] = row["document"]
    offset = now.astimezone(ZoneInfo(row["time_zone"])).utcoffset()
    hours = offset.total_seconds() / 3600 if offset else 0.0
    return Workspace(
        tx.workspace_id,
        row["currency"],
        policy_of(document, hours),
        rates_of(document, row["currency"]),
        now,
        inputs_of(row["inputs"]),
    )


def policy_of(document: Mapping[str, Any], utc_offset_hours: float) -> Policy:
    """The core's policy from the workspace's document; what it leaves out, or sets out of range, is the default."""
    given: dict[str, Any] = {}
    for name in _NAMES & document.keys():
        value = document[name]
        if isinstance(value, Mapping):
            value = [value[band] for band in _BANDS if band in value]
        given[name] = tuple(value) if isinstance(value, list) else value
    given["utc_offset_hours"] = utc_offset_hours
    try:
        return Policy(**given)
    except (TypeError, ValueError) as error:
        log.warning("policy_refused: %s; the defaults hold", error)
        return Policy(utc_offset_hours=utc_offset_hours)


def rates_of(document: Mapping[str, Any], currency: str) -> dict[str, float]:
    """Units of the workspace's currency for one unit of each other; the workspace's own is always 1."""
    rates: dict[str, float] = {}
    given = document.get("rates")
    for code, value in given.items() if isinstance(given, Mapping) else ():
        try:
            rate = float(value)
        except (TypeError, ValueError):
            rate = 0.0
        if 0 < rate < float("inf"):
            rates[str(code)] = rate
        else:
            log.warning("rate_refused: %s of %s is not a positive number", value, code)
    rates[currency] = 1.0
    return rates


def own_policy(policy: Policy, own: tuple[int | None, int | None, int | None]) -> Policy:
    """The policy with a member's own capacities; an outer one is never smaller than an inner one."""
    if own == (None, None, None):
        return policy
    engage, track, monitor = (
        default if mine is None else max(mine, 0) for default, mine in zip(policy.capacities, own, strict=True)
    )
    track = max(engage, track)
    return replace(policy, capacities=(engage, track, max(track, monitor)))


def days_of(moment: datetime) -> float:
    """Days since the Unix epoch, UTC."""
    return moment.timestamp() / _SECONDS_PER_DAY


def moment_of(days: float) -> datetime:
    """The moment that lies `days` after the Unix epoch, UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
