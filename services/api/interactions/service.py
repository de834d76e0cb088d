"""Rules of interactions: they belong together with what they name, and what was agreed becomes tasks (D8.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.api import resources
from services.api.errors import Forbidden, invalid
from services.api.interactions.resource import INTERACTIONS
from services.api.interactions.schemas import InteractionCreate, InteractionPatch, InteractionUpsert
from services.api.references import References, check
from services.api.resources import changes_of
from services.api.tasks import service as tasks
from services.api.tasks.service import Agreed
from services.api.times import check_not_future
from services.api.wire import check_if_match
from shared.db import Row, Tx, sql
from shared.tenancy import Principal, Reach

_NOT_COLUMNS = {"contact_ids", "promises", "next_step"}
NAME_CONTACTS = sql(
    "WITH gone AS (DELETE FROM sales.interaction_contacts WHERE workspace_id = :workspace_id"
    " AND interaction_id = :interaction_id AND contact_id <> ALL(CAST(:contact_ids AS uuid[])))"
    " INSERT INTO sales.interaction_contacts (workspace_id, interaction_id, contact_id)"
    " SELECT :workspace_id, :interaction_id, c.id FROM unnest(CAST(:contact_ids AS uuid[])) AS c(id)"
    " ON CONFLICT DO NOTHING"
)


async def create(tx: Tx, principal: Principal, body: InteractionCreate) -> Row:
    """Records an interaction with its contacts, and makes tasks of what was agreed, in the same transaction."""
    check_not_future(tx.now, body.occurred_at, "An interaction")
    member_id = body.member_id if "member_id" in body.model_fields_set else principal.member_id
    _check_member(principal, member_id)
    await check(tx, principal, References(body.customer_id, body.opportunity_id, body.contact_ids, body.member_id))
    values = body.model_dump(exclude_none=True, exclude=_NOT_COLUMNS) | {"member_id": member_id}
    row = await resources.create(tx, INTERACTIONS, values | _cost(values))
    tx.effects.events[-1].data["contact_ids"] = body.contact_ids
    if body.contact_ids:
        await tx.run(NAME_CONTACTS, interaction_id=row["id"], contact_ids=body.contact_ids)
    agreed = [Agreed("promise", each.title, each.due_on) for each in body.promises]
    if body.next_step is not None:
        agreed.append(Agreed("next_step", body.next_step.title, body.next_step.due_on))
    if agreed:
        await tasks.create_agreed(tx, row, member_id, agreed)
    return {**dict(row), "contact_ids": sorted(body.contact_ids)}


async def patch(tx: Tx, principal: Principal, id_: UUID, body: InteractionPatch, if_match: str | None) -> Row:
    changes = changes_of(body, not_null=("kind", "direction", "occurred_at", "signals", "contact_ids"))
    before = await resources.fetch(tx, principal, INTERACTIONS, id_, lock=True)
    check_if_match(if_match, before["version"])
    return await _apply(tx, principal, before, changes)


async def upsert(
    tx: Tx, principal: Principal, source: str, external_id: str, body: InteractionUpsert
) -> tuple[Row, bool]:
    """Creates or replaces by external id; True when it was created. Its customer can't be replaced."""
    found = await resources.find_external(tx, principal, INTERACTIONS, source, external_id)
    if found is None:
        given = body.model_dump(exclude_unset=True)
        new = InteractionCreate.model_validate({**given, "external_source": source, "external_id": external_id})
        return await create(tx, principal, new), True
    if body.customer_id != found["customer_id"]:
        raise invalid("/customer_id", "immutable", "customer_id of an interaction can't be changed.")
    changes = body.model_dump(exclude={"customer_id"}) | {"deleted_at": None}
    for field in ("member_id", "occurred_at"):
        if changes[field] is None:
            del changes[field]
    if changes.get("member_id", found["member_id"]) != found["member_id"]:
        _check_member(principal, changes["member_id"])
        await check(tx, principal, References(member_id=changes["member_id"]))
    before = await resources.fetch(tx, principal, INTERACTIONS, found["id"], deleted=True)
    return await _apply(tx, principal, before, changes), False


async def _apply(tx: Tx, principal: Principal, before: Row, changes: dict[str, Any]) -> Row:
    check_not_future(tx.now, changes.get("occurred_at"), "An interaction")
    present = list(before["contact_ids"] or ())
    contact_ids: Sequence[UUID] = changes.pop("contact_ids", present)
    regrouped = sorted(contact_ids) != sorted(present)
    if regrouped or changes.get("opportunity_id") not in {None, before["opportunity_id"]}:
        wanted = References(before["customer_id"], changes.get("opportunity_id"), contact_ids if regrouped else ())
        await check(tx, principal, wanted)
    changes |= _cost(changes)
    if regrouped:
        await tx.run(NAME_CONTACTS, interaction_id=before["id"], contact_ids=list(contact_ids))
        changes["updated_at"] = tx.now
    row = await resources.change(tx, INTERACTIONS, before, changes)
    if row is not before:
        tx.effects.events[-1].data["contact_ids"] = list(contact_ids)
    return {**dict(row), "contact_ids": sorted(contact_ids)}


async def restore(tx: Tx, principal: Principal, id_: UUID) -> Row:
    await resources.restore(tx, principal, INTERACTIONS, id_)
    return await resources.fetch(tx, principal, INTERACTIONS, id_)


def _cost(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the field `cost`, where it is given."""
    if "cost" not in values:
        return {}
    cost = values["cost"]
    return {"cost": cost["amount"] if cost else None, "currency": cost["currency"] if cost else None}


def _check_member(principal: Principal, member_id: UUID | None) -> None:
    if principal.reach is Reach.OWN and member_id != principal.member_id:
        raise Forbidden("A salesperson records their own interactions; a manager may record others'.")
