"""Rules of attribute definitions: what was stored under one stays valid under it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.api import resources
from services.api.attributes.resource import ATTRIBUTES
from services.api.attributes.schemas import AttributeCreate, AttributePatch
from services.api.errors import invalid
from services.api.resources import changes_of
from services.api.wire import check_if_match
from shared.db import Row, Tx
from shared.tenancy import Principal


async def create(tx: Tx, body: AttributeCreate) -> Row:
    if (body.kind == "category") != (body.categories is not None):
        words = "Categories belong to attributes of kind category, and those need them."
        raise invalid("/categories", "required" if body.kind == "category" else "contradiction", words)
    return await resources.create(tx, ATTRIBUTES, _columns(body.model_dump(exclude_none=True)))


async def patch(tx: Tx, principal: Principal, id_: UUID, body: AttributePatch, if_match: str | None) -> Row:
    """Changes label, categories, or whether it is asked for. Categories that are in use can't be taken away."""
    changes = changes_of(body, not_null=("label", "categories", "required", "active"))
    before = await resources.fetch(tx, principal, ATTRIBUTES, id_, lock=True)
    check_if_match(if_match, before["version"])
    if "categories" in changes:
        if before["kind"] != "category":
            raise invalid("/categories", "contradiction", "Only attributes of kind category have categories.")
        gone = [each for each in before["categories"] if each not in changes["categories"]]
        if gone:
            raise invalid("/categories", "immutable", f"Categories only grow; missing: {', '.join(gone[:5])}.")
    return await resources.change(tx, ATTRIBUTES, before, _columns(changes))


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    """The fields with the label as its two columns."""
    if "label" not in values:
        return values
    label = values.pop("label")
    return values | {"label_en": label["en"], "label_zh_hans": label.get("zh_hans")}
