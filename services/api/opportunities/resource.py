"""How opportunities are stored, shown, filtered and judged."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from sqlalchemy import Numeric, Select, and_, cast, func, literal

from services.api.filters import (
    after,
    at_least,
    at_most,
    attributes_match,
    by_day_or_latest,
    by_id,
    by_number,
    by_text,
    by_time,
    equals,
    is_null,
)
from services.api.pagination import Sort
from services.api.resources import Resource
from services.api.wire import money
from shared.db import Row
from shared.effects import Mark
from shared.models import opportunities, scores

_PLAIN_1 = (
    "id", "name", "customer_id", "process_id", "owner_id", "owner_reason", "product_id", "status", "stage_id",
    "stage_position",
    "stage_entered_at", "won_at", "closed_at", "completed_at", "close_reason",
)  # fmt: skip
_PLAIN_2 = (
    "budget_status", "purchase_date", "purchase_date_firmness", "purchase_date_slips", "fit_score", "rival_fit_score",
    "need", "pain", "interest", "line", "line_reason", "resume_on", "source", "notes", "attributes",
    "external_source", "external_id", "version", "occurred_at", "recorded_at", "updated_at", "deleted_at",
)  # fmt: skip
# Free text about people stays out of events and audit; among the attributes there may be some.
PERSONAL = frozenset(("notes", "need", "pain", "line_reason", "owner_reason", "attributes"))


def wire(row: Row) -> dict[str, Any]:
    currency = row["currency"]
    body = {name: row[name] for name in _PLAIN_1}
    body["amount"] = money(row["amount"], currency)
    body["margin_rate"] = row["margin_rate"]
    body["cost_to_deliver"] = money(row["cost_to_deliver"], currency)
    body["delivery_risk"] = row["delivery_risk"]
    body["payment_risk"] = row["payment_risk"]
    body["budget"] = money(row["budget_amount"], currency)
    for name in _PLAIN_2:
        body[name] = row[name]
    return body


def personal(row: Row) -> frozenset[str]:
    """Where a won contract was cancelled, `close_reason` is no code but what a manager wrote."""
    return PERSONAL | {"close_reason"} if row["status"] == "cancelled" else PERSONAL


def marks(row: Row) -> Iterable[Mark]:
    """The opportunity itself, and its customer: an open opportunity more or less decides about a seat of its own."""
    return (Mark("opportunity", row["id"]), Mark("customer", row["customer_id"]))


def _with_scores(query: Select[Any]) -> Select[Any]:
    return query.add_columns(scores.c.priority).join(
        scores,
        and_(scores.c.workspace_id == opportunities.c.workspace_id, scores.c.opportunity_id == opportunities.c.id),
    )


# Only what has been judged has a priority: a list sorted by it shows open opportunities with a score.
_by_priority = Sort(
    scores.c.priority, lambda row: row["priority"], float, prepare=_with_scores, tie=scores.c.opportunity_id
)
_amount = func.coalesce(opportunities.c.amount, cast(literal(-1), Numeric(18, 4)))

OPPORTUNITIES = Resource(
    name="opportunity",
    path="/v1/opportunities",
    table=opportunities,
    wire=wire,
    personal=personal,
    marks=marks,
    default_sort="-id",
    sorts={
        "id": by_id(opportunities.c.id),
        "name": by_text(opportunities.c.sort_key, "sort_key"),
        "recorded_at": by_time(opportunities.c.recorded_at, "recorded_at"),
        "updated_at": by_time(opportunities.c.updated_at, "updated_at"),
        "amount": by_number(_amount, lambda row: Decimal(-1) if row["amount"] is None else row["amount"]),
        "purchase_date": by_day_or_latest(opportunities.c.purchase_date, "purchase_date"),
        "priority": _by_priority,
    },
    filters={
        "owner_id": equals(opportunities.c.owner_id),
        "unassigned": is_null(opportunities.c.owner_id),
        "customer_id": equals(opportunities.c.customer_id),
        "process_id": equals(opportunities.c.process_id),
        "stage_id": equals(opportunities.c.stage_id),
        "product_id": equals(opportunities.c.product_id),
        "status": equals(opportunities.c.status),
        "line": equals(opportunities.c.line),
        "source": equals(opportunities.c.source),
        "external_source": equals(opportunities.c.external_source),
        "amount_gte": at_least(opportunities.c.amount),
        "amount_lte": at_most(opportunities.c.amount),
        "purchase_date_gte": at_least(opportunities.c.purchase_date),
        "purchase_date_lte": at_most(opportunities.c.purchase_date),
        "closed_after": after(opportunities.c.closed_at),
        "updated_after": after(opportunities.c.updated_at),
        "attribute": attributes_match(opportunities.c.attributes),
    },
)
