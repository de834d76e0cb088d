"""What a delta sync asks of the database: the rows written since, and what has come within the caller's reach."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects import postgresql

from services.api.merges.tombstones import KINDS, survivor
from services.api.resources import Resource
from shared.db import statement
from shared.models import audit_entries, customers, opportunities, opportunity_members
from shared.tenancy import WORKSPACE, Reach, owned, visible

# Row headers hold so many numbers of transactions.
XIDS = 2**32
_UUID = postgresql.UUID(as_uuid=True)
_LOW = bindparam("low", type_=customers.c.updated_at.type)


def _written_since(table: Table) -> ColumnElement[bool]:
    """Whether a transaction from the horizon on wrote the row. Row headers hold 32 bits of its number: they go round.

    A savepoint's own number is greater than its transaction's, so that what is compared is never too small.
    """
    writer = cast(cast(literal_column(f"{table.fullname}.xmin"), Text), BigInteger)
    ahead = (writer - bindparam("horizon", type_=BigInteger())).op("&")(literal(XIDS - 1, BigInteger()))
    return ahead < literal(XIDS // 2, BigInteger())


def _seen(table: Table, reach: Reach) -> ColumnElement[bool]:
    seen = visible(table, reach)
    return literal(True) if seen is None else seen


def _changed(table: Table) -> ColumnElement[bool]:
    return and_(table.c.updated_at > _LOW, _written_since(table))


def _came_in(resource: Resource) -> ColumnElement[bool]:
    """Rows that did not change themselves, but whose customer or opportunity has come within reach."""
    table = resource.table
    by_customer = table.c.id if table is customers else table.c.get("customer_id")
    by_opportunity = table.c.id if table is opportunities else table.c.get("opportunity_id")
    named = [
        column == bindparam(name, type_=postgresql.ARRAY(_UUID)).any_()
        for column, name in ((by_customer, "came_customers"), (by_opportunity, "came_opportunities"))
        if column is not None and not (table is opportunities and name == "came_customers")
    ]
    return or_(*named)


def _handed_over(resource: Resource) -> ColumnElement[bool]:
    """Rows that were ours until somebody handed them to another."""
    table = resource.table
    before = func.coalesce(audit_entries.c.changes["owner_id"].op("->>")(literal_column("0")), "")
    return and_(
        table.c.owner_changed_at > _LOW,
        exists().where(
            audit_entries.c.workspace_id == table.c.workspace_id,
            audit_entries.c.subject_type == resource.name,
            audit_entries.c.subject_id == table.c.id,
            audit_entries.c.recorded_at > _LOW,
            audit_entries.c.action == f"{resource.name}.reassigned",
            before == bindparam("ours", type_=postgresql.ARRAY(Text)).any_(),
        ),
    )


@statement
def select_changes(resource: Resource, reach: Reach, since: bool, came_in: bool, after: bool) -> Executable:
    table = resource.table
    seen = visible(table, reach)
    within = _seen(table, reach).label("within_reach")
    query = resource.prepare(select(table, within)).where(table.c.workspace_id == WORKSPACE)
    if since and table in KINDS:
        # Asked only of what is gone: of all else nothing was merged away.
        query = query.add_columns(case((table.c.deleted_at.is_not(None), survivor(table))).label("survivor_id"))
    if since:
        query = query.where(or_(_changed(table), _came_in(resource)) if came_in else _changed(table))
    else:
        query = query.where(table.c.deleted_at.is_(None))
    if seen is not None:
        tell = since and "owner_changed_at" in table.c
        query = query.where(or_(seen, _handed_over(resource)) if tell else seen)
    key = tuple_(table.c.updated_at, table.c.id)
    if after:
        place = tuple_(bindparam("after_time", type_=table.c.updated_at.type), bindparam("after_id", type_=_UUID))
        query = query.where(key > place)
    return query.order_by(table.c.updated_at, table.c.id).limit(bindparam("page_limit"))


@statement
def select_arrivals(reach: Reach) -> Executable:
    """Customers and opportunities that have come within the caller's reach: handed over, made, or shared.

    No more than `most` of them, of which one too many says that there may be any number.
    """
    shared = select(opportunity_members.c.opportunity_id).where(
        opportunity_members.c.workspace_id == WORKSPACE,
        opportunity_members.c.member_id == bindparam("me", type_=_UUID),
        opportunity_members.c.recorded_at > _LOW,
        _written_since(opportunity_members),
    )
    handed = or_(opportunities.c.owner_changed_at > _LOW, opportunities.c.recorded_at > _LOW)
    arrived = (
        select(opportunities.c.id, opportunities.c.customer_id)
        .where(opportunities.c.workspace_id == WORKSPACE, opportunities.c.deleted_at.is_(None))
        .where(or_(and_(_changed(opportunities), handed), opportunities.c.id.in_(shared)))
        .where(_seen(opportunities, reach))
        .cte("arrived")
    )
    of_ours = customers.c.id.in_(select(arrived.c.customer_id)) & ~func.coalesce(owned(customers, reach), False)
    given = and_(_changed(customers), customers.c.owner_changed_at > _LOW, owned(customers, reach))
    both = union_all(
        select(literal("opportunity").label("kind"), arrived.c.id),
        select(literal("customer"), customers.c.id).where(customers.c.workspace_id == WORKSPACE, or_(of_ours, given)),
    ).subquery("both")
    return select(both).limit(bindparam("most"))
