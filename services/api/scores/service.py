"""What is judged of one opportunity. Reading it computes nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from services.api import resources
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.reasons.facts import (
    FACT_COLUMNS,
    FACT_JOINS,
    MODELS,
    SCORE_COLUMNS,
    SCORE_JOIN,
    STEP_JOIN,
    Situation,
)
from services.api.reasons.judged import Judged, criteria_wire, label, labelled, shown
from services.api.reasons.sentences import sentence
from shared.catalog.scoring import FACTORS, FLAGS, PARTS, UNKNOWNS
from shared.catalog.selling import CLASS_CODES
from shared.db import Row, Tx, sql
from shared.tenancy import Principal

# Of many rows the first alone brings the codes of all models.
_MODELS = f"CASE WHEN row_number() OVER () = 1 THEN {MODELS.removesuffix(' AS models')} END AS models"
_STEP = STEP_JOIN.format(workspace="o.workspace_id", opportunity="o.id", customer="o.customer_id")
SCORES = sql(
    f"""
    SELECT o.id, o.version, o.status, w.currency AS workspace_currency, w.time_zone, d.regime,
      s.owner_id AS seat_owner, s.band, s.rank, s.since, {_MODELS},
      (EXISTS (SELECT FROM scoring.dirty_marks m WHERE m.workspace_id = o.workspace_id
          AND (m.subject_type, m.subject_id) IN (('opportunity', o.id), ('customer', o.customer_id),
            ('workspace', o.workspace_id)))) AS pending,
      {FACT_COLUMNS}, {SCORE_COLUMNS}
    FROM sales.opportunities o
    JOIN sales.workspaces w ON w.id = o.workspace_id
    {FACT_JOINS} {_STEP} {SCORE_JOIN}
    LEFT JOIN scoring.models d ON d.workspace_id = sc.workspace_id AND d.version = sc.model_version
    LEFT JOIN scoring.seats s ON s.workspace_id = o.workspace_id AND s.subject_type = 'opportunity'
      AND s.subject_id = o.id
    WHERE o.workspace_id = CAST(:workspace_id AS uuid) AND o.id = ANY(CAST(:ids AS uuid[]))
    """
)


async def score(tx: Tx, principal: Principal, id_: UUID, language: str) -> dict[str, Any]:
    """The judgement of an opportunity within reach; raises NotFound for any other."""
    opportunity = await resources.fetch(tx, principal, OPPORTUNITIES, id_)
    if opportunity["status"] != "open":
        return _closed(opportunity)
    found = await scores_of(tx, [id_], language)
    return found[opportunity["id"]]


async def scores_of(tx: Tx, ids: Collection[UUID], language: str) -> dict[UUID, dict[str, Any]]:
    """The judgements of opportunities that the caller is known to see, by id, in one statement."""
    if not ids:
        return {}
    rows = await tx.rows(SCORES, ids=list(ids))
    return {row["id"]: _told_of(row, rows[0]["models"], tx, language) for row in rows}


def _told_of(row: Row, models: Mapping[str, Any] | None, tx: Tx, language: str) -> dict[str, Any]:
    if row["status"] != "open":
        return _closed(row)
    judged = Judged.of(row, models)
    if judged is None:
        return _blank(row, "pending") | {"pending": True}
    about = Situation(row, tx.now, row["time_zone"], row["workspace_currency"], language)
    return _judged(row, about, judged)


def _blank(opportunity: Row, status: str) -> dict[str, Any]:
    return {
        "opportunity_id": opportunity["id"],
        "status": status,
        "outcome": None,
        "version": opportunity["version"],
        "probability": None,
        "model": None,
        "contributions": [],
        "criteria": [],
        "parts": [],
        "priority": None,
        "class": None,
        "seat": None,
        "unknowns": [],
        "flags": [],
        "next_due_at": None,
        "scored_at": None,
        "facts_version": None,
        "stale": False,
        "pending": False,
    }


def _closed(opportunity: Row) -> dict[str, Any]:
    """An outcome and no estimate, from the moment it closed: whether it was judged again since or not."""
    won = opportunity["status"] == "won"
    return _blank(opportunity, "closed") | {"outcome": opportunity["status"], "class": "D" if won else None}


def _judged(opportunity: Row, about: Situation, judged: Judged) -> dict[str, Any]:
    row, language = about.row, about.language
    seat = None
    if row["band"] is not None:
        seat = {
            "owner_id": row["seat_owner"],
            "band": row["band"],
            "rank": row["rank"] or None,
            "since": row["since"],
        }
    return _blank(opportunity, "judged") | {
        "probability": judged.probability_wire,
        "model": {"version": row["model_version"], "regime": row["regime"]},
        "contributions": [
            {"code": code, "label": label(code, FACTORS, language), "value": value or 0.0, "text": text}
            for code, value, text in _told(about, judged)
        ],
        "criteria": criteria_wire(judged, language),
        "parts": [
            {"code": code, "label": label(code, PARTS, language), "value": value}
            for code, value in judged.parts.items()
        ],
        "priority": {
            "value": shown(judged.priority),
            "currency": row["workspace_currency"],
            "parts": judged.parts_wire,
        },
        "class": CLASS_CODES[row["score_class"]],
        "seat": seat,
        "unknowns": labelled(judged.unknowns, UNKNOWNS, language),
        "flags": labelled(judged.flags, FLAGS, language),
        "next_due_at": row["next_due_at"],
        "scored_at": row["scored_at"],
        "facts_version": row["facts_version"],
        "stale": row["facts_version"] < opportunity["version"],
        "pending": row["pending"],
    }


def _told(about: Situation, judged: Judged) -> list[tuple[str, float | None, str]]:
    """Every contribution; what pushed nothing is named and told no more of."""
    return [
        (code, value, sentence(code, about, judged) if value else label(code, FACTORS, about.language))
        for code, value in judged.contributions.items()
    ]
