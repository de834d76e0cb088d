"""Rules of the policy: one document a workspace, which holds only what differs from the defaults."""

from __future__ import annotations

from typing import Any

from services.api import resources
from services.api.errors import invalid
from services.api.policy.schemas import PolicyDocument, PolicyPatch
from services.api.resources import Resource
from services.api.wire import check_if_match, columns
from shared.db import Row, Tx
from shared.effects import BULK, Mark
from shared.models import policies
from shared.tenancy import Principal


def wire(row: Row) -> dict[str, Any]:
    """The whole policy: what is stored over the defaults."""
    document = complete(row["document"]).model_dump(mode="json")
    return {**document, **columns(row, ("version", "updated_at"))}


# A change of policy judges the whole workspace again, once, behind interactive work (DOMAIN §14).
POLICIES = Resource(
    name="policy",
    path="/v1/policy",
    table=policies,
    wire=wire,
    marks=lambda row: [Mark("workspace", row["workspace_id"], BULK)],
    sorts={},
    default_sort="",
)


def complete(document: dict[str, Any]) -> PolicyDocument:
    known = {name: value for name, value in document.items() if name in PolicyDocument.model_fields}
    return PolicyDocument.model_validate(known)


async def get(tx: Tx, principal: Principal, *, lock: bool = False) -> Row:
    """The policy's row; its id is the workspace's."""
    return await resources.fetch(tx, principal, POLICIES, principal.workspace_id, lock=lock)


async def replace(tx: Tx, principal: Principal, body: PolicyDocument, if_match: str | None) -> Row:
    """Takes the document as the whole policy: what it leaves out is the default again."""
    before = await get(tx, principal, lock=True)
    check_if_match(if_match, before["version"])
    return await _store(tx, before, body.model_dump(mode="json", exclude_unset=True))


async def patch(tx: Tx, principal: Principal, body: PolicyPatch, if_match: str | None) -> Row:
    before = await get(tx, principal, lock=True)
    check_if_match(if_match, before["version"])
    document = _cleared(before["document"], body.clear)
    for name, value in body.model_dump(mode="json", exclude_unset=True, exclude={"clear"}).items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return await _store(tx, before, document)


def _cleared(document: dict[str, Any], names: list[str]) -> dict[str, Any]:
    result = {name: dict(value) if isinstance(value, dict) else value for name, value in document.items()}
    for name in names:
        outer, _, inner = name.partition(".")
        if outer not in PolicyDocument.model_fields:
            raise invalid("/clear", "unknown_field", f"{name} is not a field of the policy.")
        if inner:
            result.get(outer, {}).pop(inner, None)
        else:
            result.pop(outer, None)
    return result


async def _store(tx: Tx, before: Row, document: dict[str, Any]) -> Row:
    policy = complete(document)
    seats = policy.capacities
    if not seats.engage <= seats.track <= seats.monitor:
        raise invalid("/capacities", "not_nested", "The bands are nested: engage ≤ track ≤ monitor.")
    # What is set by band is stored for every band: its readers take it whole or not at all.
    stored = policy.model_dump(mode="json", include=set(document))
    return await resources.change(tx, POLICIES, before, {"document": stored})
