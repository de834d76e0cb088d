"""Founding the demo's workspace: its policy, attributes, members, products and processes."""

from __future__ import annotations

from uuid import UUID

from deploy.demo.world import (
    ATTRIBUTES,
    CURRENCY,
    EQUIPMENT_SALE,
    EQUIPMENT_STAGES,
    MANAGER,
    POLICY,
    PRODUCTS,
    REPS,
    Person,
)
from services.api.attributes import service as attributes
from services.api.attributes.schemas import AttributeCreate
from services.api.auth.identity import make_principal
from services.api.members import service as members
from services.api.members.schemas import MemberCreate
from services.api.policy import service as policy
from services.api.policy.schemas import PolicyDocument
from services.api.processes import service as processes
from services.api.processes.schemas import ProcessCreate
from services.api.products import service as products
from services.api.products.schemas import ProductCreate
from services.api.teams import service as teams
from services.api.teams.schemas import TeamCreate
from shared.db import Tx, sql
from shared.tenancy import Principal

PROCESS_IDS = sql("SELECT id, key FROM sales.processes WHERE workspace_id = :workspace_id AND active")


async def found_team(tx: Tx, admin_id: UUID) -> tuple[dict[str, Principal], dict[str, UUID]]:
    """Records, as the administrator, all that is there before the year begins.

    Returns who acts in whose name by key, and the ids of members, products and processes by key.
    """
    admin = make_principal(tx.workspace_id, admin_id, "admin")
    await policy.replace(tx, admin, PolicyDocument.model_validate(POLICY), None)
    for definition in ATTRIBUTES:
        await attributes.create(tx, AttributeCreate.model_validate(definition))
    ids: dict[str, UUID] = {}
    for person in (MANAGER, *(rep.person for rep in REPS)):
        ids[person.key] = (await members.create(tx, _member(person)))["id"]
    team = [ids[rep.person.key] for rep in REPS]
    await teams.create(tx, TeamCreate(name="包装设备 Packaging", manager_id=ids[MANAGER.key], member_ids=team))
    principals = {
        rep.person.key: make_principal(tx.workspace_id, ids[rep.person.key], "rep", name=rep.person.name)
        for rep in REPS
    }
    principals[MANAGER.key] = make_principal(tx.workspace_id, ids[MANAGER.key], "manager", team=team, name=MANAGER.name)
    for product in PRODUCTS:
        price = {"amount": str(product.price), "currency": CURRENCY}
        body = {"name": product.name, "code": product.code, "series": product.series, "list_price": price}
        new = ProductCreate.model_validate({**body, "margin_rate": product.margin})
        ids[product.key] = (await products.create(tx, new))["id"]
    name = {"en": "Equipment sale", "zh_hans": "设备销售"}
    equipment = {"key": EQUIPMENT_SALE, "name": name, "stages": list(EQUIPMENT_STAGES)}
    await processes.create(tx, admin, ProcessCreate.model_validate(equipment))
    for row in await tx.rows(PROCESS_IDS):
        ids[row["key"]] = row["id"]
    return principals, ids


def _member(person: Person) -> MemberCreate:
    engage, track, monitor = person.capacities or (None, None, None)
    return MemberCreate(
        name=person.name,
        email=person.email,
        role=person.role,
        engage_capacity=engage,
        track_capacity=track,
        monitor_capacity=monitor,
    )
