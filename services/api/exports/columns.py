"""The columns of each kind of export, and the rows they are taken from, a batch at a time by id.

A column is named as the api names its field; what stands in another table is named after it: `customer_name`. Every
column that an import needs to take the file back is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    Table,
    bindparam,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.api.contacts.resource import CONTACTS
from services.api.contacts.schemas import ContactFilters
from services.api.customers.resource import CUSTOMERS
from services.api.customers.schemas import CustomerFilters
from services.api.fields import Instant
from services.api.filters import after, equals
from services.api.interactions.resource import INTERACTIONS
from services.api.interactions.schemas import InteractionFilters
from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import OpportunityFilters
from services.api.pagination import Filter, ListParams
from services.api.products.resource import PRODUCTS
from services.api.products.schemas import ProductFilters
from services.api.resources import Resource
from services.api.tasks.resource import TASKS
from services.api.tasks.schemas import TaskFilters
from shared import models
from shared.db import Row, statement
from shared.tenancy import Reach, scoped, visible

Get = Callable[[Row], Any]
# What is told of another record is read with that record's scope.
_REFERRED = {
    "customer": "customers:read", "owner": "members:read", "member": "members:read", "assignee": "members:read",
    "product": "products:read", "opportunity": "opportunities:read",
}  # fmt: skip
# The file holds what was there when the export began; what comes later has a later id as well.
NOT_A_FILTER = frozenset(("limit", "cursor", "sort", "include_deleted", "expand", "fields"))


@dataclass(frozen=True)
class Kind:
    """One kind of export: where its rows come from, and what of them is shown."""

    name: str
    table: Table
    columns: tuple[str, ...]
    params: type[BaseModel]
    filters: dict[str, Filter]
    scope: str
    # Columns beside the table's own, each a scalar of the same statement.
    beside: tuple[ColumnElement[Any], ...] = ()
    money: tuple[str, ...] = ()
    # Whose custom attributes its rows have.
    subject: str = ""
    of_stages: bool = False
    bound: Callable[[Select[Any], Reach], Select[Any]] = field(default=lambda query, _: query)


def _of(own: Table, column: str, target: Table, *names: str) -> tuple[ColumnElement[Any], ...]:
    """Columns of the row that `column` refers to: (customers, owner_id, members, name) is `owner_name`."""
    there = target.alias()
    base = column.removesuffix("_id")
    return tuple(
        select(there.c[name])
        .where(there.c.workspace_id == own.c.workspace_id, there.c.id == own.c[column])
        .correlate(own)
        .scalar_subquery()
        .label(f"{base}_{name}")
        for name in names
    )


_PASSED = literal_column(
    "(SELECT jsonb_object_agg(s.key, p.occurred_at) FROM sales.transitions p JOIN sales.stages s"
    " ON s.workspace_id = p.workspace_id AND s.id = p.stage_id WHERE p.workspace_id = opportunities.workspace_id"
    " AND p.opportunity_id = opportunities.id AND p.action = 'pass' AND NOT EXISTS (SELECT FROM sales.transitions c"
    " WHERE c.workspace_id = p.workspace_id AND c.passage_id = p.id))",
    JSONB(),
).label("passed")


def _within_reach(query: Select[Any], reach: Reach) -> Select[Any]:
    """Transitions of opportunities that the caller may see."""
    deals = models.opportunities
    mine = exists().where(
        deals.c.workspace_id == models.transitions.c.workspace_id,
        deals.c.id == models.transitions.c.opportunity_id,
        deals.c.deleted_at.is_(None),
    )
    seen = visible(deals, reach)
    return query.where(mine if seen is None else mine.where(seen))


class TransitionParams(ListParams):
    """Filters of an export of transitions."""

    opportunity_id: UUID | None = None
    recorded_after: Instant | None = None


def _kind(resource: Resource, params: type[BaseModel], columns: str, *beside: ColumnElement[Any], **more: Any) -> Kind:
    name = str(resource.table.name)
    return Kind(
        name, resource.table, tuple(columns.split()), params, dict(resource.filters), f"{name}:read", beside, **more
    )


_TAIL = " external_source external_id version occurred_at recorded_at updated_at deleted_at"
_C, _P, _O, _I, _T, _K = (
    models.contacts, models.products, models.opportunities, models.interactions, models.transitions, models.customers,
)  # fmt: skip
_CONTACT_IDS = (
    select(func.jsonb_agg(models.interaction_contacts.c.contact_id))
    .where(
        models.interaction_contacts.c.workspace_id == _I.c.workspace_id,
        models.interaction_contacts.c.interaction_id == _I.c.id,
    )
    .correlate(_I)
    .scalar_subquery()
    .label("contact_ids")
)
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind(
            CUSTOMERS,
            CustomerFilters,
            "id name kind owner_id owner_name owner_email phone email website address industry source tier notes"
            + _TAIL,
            *_of(_K, "owner_id", models.members, "name", "email"),
            subject="customer",
        ),
        _kind(
            CONTACTS,
            ContactFilters,
            "id customer_id customer_name name title function level personality is_coach is_external phone email"
            " birthday notes" + _TAIL,
            *_of(_C, "customer_id", models.customers, "name"),
        ),
        _kind(
            PRODUCTS,
            ProductFilters,
            "id name code series list_price currency margin_rate active" + _TAIL,
            money=("list_price",),
        ),
        _kind(
            OPPORTUNITIES,
            OpportunityFilters,
            "id name customer_id customer_name owner_id owner_name owner_email product_id product_name process_key"
            " standing status stage_key stage_entered_at won_at closed_at completed_at close_reason amount currency"
            " margin_rate cost_to_deliver delivery_risk payment_risk budget_amount budget_status purchase_date"
            " purchase_date_firmness fit_score rival_fit_score need pain interest line resume_on source notes" + _TAIL,
            *_of(_O, "customer_id", models.customers, "name"),
            *_of(_O, "owner_id", models.members, "name", "email"),
            *_of(_O, "product_id", models.products, "name"),
            *_of(_O, "process_id", models.processes, "key"),
            *_of(_O, "stage_id", models.stages, "key"),
            _PASSED,
            money=("amount", "cost_to_deliver", "budget_amount"),
            subject="opportunity",
            of_stages=True,
        ),
        _kind(
            INTERACTIONS,
            InteractionFilters,
            "id customer_id customer_name opportunity_id opportunity_name member_id member_name member_email kind"
            " direction purpose purpose_reached summary place setting_quality minutes cost currency signals confidence"
            " contact_ids" + _TAIL,
            *_of(_I, "customer_id", models.customers, "name"),
            *_of(_I, "opportunity_id", models.opportunities, "name"),
            *_of(_I, "member_id", models.members, "name", "email"),
            _CONTACT_IDS,
            money=("cost",),
        ),
        _kind(
            TASKS,
            TaskFilters,
            "id kind title customer_id customer_name opportunity_id assignee_id assignee_name due_on status"
            " completed_at kept" + _TAIL,
            *_of(models.tasks, "customer_id", models.customers, "name"),
            *_of(models.tasks, "assignee_id", models.members, "name"),
        ),
        Kind(
            "transitions",
            _T,
            (
                "id",
                "opportunity_id",
                "opportunity_name",
                "action",
                "stage_key",
                "passage_id",
                "reason",
                "note",
                "criteria",
                "imported",
                "historical",
                "member_id",
                "member_name",
                "occurred_at",
                "recorded_at",
            ),
            TransitionParams,
            {"opportunity_id": equals(_T.c.opportunity_id), "recorded_after": after(_T.c.recorded_at)},
            "opportunities:read",
            (
                *_of(_T, "opportunity_id", models.opportunities, "name"),
                *_of(_T, "stage_id", models.stages, "key"),
                *_of(_T, "member_id", models.members, "name"),
            ),
            bound=_within_reach,
        ),
    )
}


def scope_of(column: str) -> str | None:
    """The scope that a column needs beside its kind's own: `owner_email` is read with `members:read`."""
    base, _, what = column.rpartition("_")
    return _REFERRED.get(base) if what in {"name", "email"} else None


@statement
def select_rows(name: str, reach: Reach, filters: tuple[str, ...], deleted: bool) -> Executable:
    """A batch in the order of ids; parameters `f_…`, `after_id`, `until`, `batch` and the principal's."""
    kind = KINDS[name]
    table = kind.table
    query = kind.bound(scoped(table, reach).add_columns(*kind.beside), reach)
    if "deleted_at" in table.c and not deleted:
        query = query.where(table.c.deleted_at.is_(None))
    for each in filters:
        spec = kind.filters[each]
        query = query.where(spec.bind(bindparam(f"f_{each}", type_=spec.type_)))
    query = query.where(
        table.c.id > bindparam("after_id", type_=table.c.id.type),
        table.c.recorded_at <= bindparam("until", type_=table.c.recorded_at.type),
    )
    return query.order_by(table.c.id).limit(bindparam("batch"))


def standing(row: Row) -> str:
    """Where an opportunity stands, in one word that an import's mapping can name: see `mappings`."""
    status, stage = row["status"], row["stage_key"] or ""
    if status in {"lost", "abandoned"}:
        return f"{status}/{row['close_reason']}/{stage}"
    return stage if status == "open" else str(status)
