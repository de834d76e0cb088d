"""What making an opportunity asks of the database: what it leans on, and all of it in one statement."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Executable, and_, bindparam, exists, insert, or_, select
from sqlalchemy.dialects import postgresql

from services.api.owners import OWNING_ROLES
from shared.db import statement
from shared.models import attribute_definitions, customers, members, opportunities, processes, products, stages
from shared.tenancy import WORKSPACE, Reach, scoped

_UUID = postgresql.UUID(as_uuid=True)


@statement
def select_surroundings(reach: Reach) -> Executable:
    """What a new opportunity leans on, in one row: its customer, process with first stage, owner and product."""
    customer = (
        scoped(customers, reach, customers.c.id, customers.c.owner_id)
        .where(customers.c.id == bindparam("customer_id"), customers.c.deleted_at.is_(None))
        # As below: held, so that it is not deleted before the opportunity is there.
        .with_for_update(of=customers, read=True, key_share=True)
        .subquery()
    )
    process = bindparam("process_id", type_=_UUID)
    chosen = (
        select(processes.c.id, stages.c.id.label("stage_id"))
        .join(
            stages,
            and_(
                stages.c.workspace_id == processes.c.workspace_id,
                stages.c.process_id == processes.c.id,
                stages.c.position == 0,
            ),
        )
        .where(processes.c.workspace_id == WORKSPACE, processes.c.active)
        .where((processes.c.id == process) | (process.is_(None) & processes.c.is_default))
        .subquery()
    )
    owner = select(members.c.role).where(
        members.c.workspace_id == WORKSPACE, members.c.id == bindparam("owner_id", type_=_UUID), members.c.active
    )
    product = select(products.c.id).where(
        products.c.workspace_id == WORKSPACE,
        products.c.id == bindparam("product_id", type_=_UUID),
        products.c.deleted_at.is_(None),
    )
    return select(
        select(customer.c.id).scalar_subquery().label("customer_id"),
        select(customer.c.owner_id).scalar_subquery().label("customer_owner_id"),
        select(chosen.c.id).scalar_subquery().label("process_id"),
        select(chosen.c.stage_id).scalar_subquery().label("stage_id"),
        owner.scalar_subquery().label("owner_role"),
        product.scalar_subquery().label("product_id"),
    )


@statement
def insert_where_sound(reach: Reach, names: tuple[str, ...], customers_owner: bool, named_process: bool) -> Executable:
    """Inserts an opportunity if all it leans on is there, in one statement; else no row comes back."""
    table = opportunities
    bound = {name: bindparam(name, type_=table.c[name].type) for name in names}
    owner = customers.c.owner_id if customers_owner else bindparam("owner_id", type_=_UUID)
    source = (
        scoped(
            customers,
            reach,
            *bound.values(),
            owner.label("owner_id"),
            processes.c.id.label("process_id"),
            stages.c.id.label("stage_id"),
        )
        .join(processes, processes.c.workspace_id == customers.c.workspace_id)
        .join(
            stages,
            and_(
                stages.c.workspace_id == processes.c.workspace_id,
                stages.c.process_id == processes.c.id,
                stages.c.position == 0,
            ),
        )
        .where(customers.c.id == bound["customer_id"], customers.c.deleted_at.is_(None), processes.c.active)
        .where(processes.c.id == bindparam("process_id", type_=_UUID) if named_process else processes.c.is_default)
        .where(~_required_attributes())
    )
    if not customers_owner:
        source = source.where(or_(bindparam("owner_id", type_=_UUID).is_(None), _owner_exists()))
    if "product_id" in names:
        source = source.where(_product_exists())
    # Held until the end: a customer that is being deleted is waited for, and then is not there.
    source = source.with_for_update(of=customers, read=True, key_share=True)
    return insert(table).from_select([*names, "owner_id", "process_id", "stage_id"], source).returning(*table.c)


def _required_attributes() -> ColumnElement[bool]:
    return exists().where(
        attribute_definitions.c.workspace_id == WORKSPACE,
        attribute_definitions.c.subject == "opportunity",
        attribute_definitions.c.active,
        attribute_definitions.c.required,
    )


def _owner_exists() -> ColumnElement[bool]:
    return exists().where(
        members.c.workspace_id == WORKSPACE,
        members.c.id == bindparam("owner_id", type_=_UUID),
        members.c.active,
        or_(*(members.c.role == role for role in OWNING_ROLES)),
    )


def _product_exists() -> ColumnElement[bool]:
    return exists().where(
        products.c.workspace_id == WORKSPACE,
        products.c.id == bindparam("product_id", type_=_UUID),
        products.c.deleted_at.is_(None),
    )
