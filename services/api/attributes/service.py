"""Rules of attribute definitions: what was stored under one stays valid under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from services.api import resources
from services.api.attributes.resource import ATTRIBUTES
from services.api.attributes.schemas import AttributeCreate, AttributePatch
from services.api.errors import Invalid, invalid, wrong
from services.api.resources import changes_of
from services.api.wire import check_if_match
from shared.db import Row, Tx
from shared.effects import BULK, Mark
from shared.tenancy import Principal

# By kind: what must be said of how it counts, and what may be.
INPUT_FIELDS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "number": (("weight",), ("weight", "centre")),
    "boolean": (("weight",), ("weight",)),
    "date": (("weight", "since"), ("weight", "since")),
    "category": (("weights",), ("weights",)),
}


async def create(tx: Tx, body: AttributeCreate) -> Row:
    if (body.kind == "category") != (body.categories is not None):
        words = "Categories belong to attributes of kind category, and those need them."
        raise invalid("/categories", "required" if body.kind == "category" else "contradiction", words)
    values = _columns(body.model_dump(exclude_none=True))
    if body.model_input is not None:
        stated = body.model_input.model_dump(exclude_none=True, mode="json")
        values["model_input"] = _checked_input(body.kind, body.categories, stated)
    row = await resources.create(tx, ATTRIBUTES, values)
    if row["model_input"] is not None:
        _judge_again(tx)
    return row


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
    given = changes.get("model_input")
    if given is not None and body.model_input is not None:
        stated = body.model_input.model_dump(exclude_none=True, mode="json")
        changes["model_input"] = _checked_input(before["kind"], changes.get("categories", before["categories"]), stated)
    row = await resources.change(tx, ATTRIBUTES, before, _columns(changes))
    if _counts(row) != _counts(before):
        _judge_again(tx)
    return row


def _counts(row: Row) -> Any:
    """How values count at present; None when they do not."""
    return row["model_input"] if row["active"] else None


def _judge_again(tx: Tx) -> None:
    """Whatever is open may come out otherwise."""
    tx.effects.mark(Mark("workspace", tx.workspace_id, BULK))


def _checked_input(kind: str, categories: Sequence[str] | None, given: dict[str, Any]) -> dict[str, Any]:
    """How an attribute counts, when its kind can count so. Raises Invalid naming each field that does not fit."""
    needed, allowed = INPUT_FIELDS.get(kind, ((), ()))
    if not allowed:
        raise invalid("/model_input", "contradiction", f"An attribute of kind {kind} can't count in the probability.")
    errors = [
        wrong(f"/model_input/{name}", "contradiction", f"An attribute of kind {kind} takes no {name}.")
        for name in given
        if name not in allowed
    ]
    errors += [
        wrong(f"/model_input/{name}", "required", f"An attribute of kind {kind} needs {name}.")
        for name in needed
        if name not in given
    ]
    errors += [
        wrong(f"/model_input/weights/{name}", "unknown_category", f"{name} is none of the categories.")
        for name in given.get("weights", ())
        if name not in (categories or ())
    ]
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    return given


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    """The fields with the label as its two columns."""
    if "label" not in values:
        return values
    label = values.pop("label")
    return values | {"label_en": label["en"], "label_zh_hans": label.get("zh_hans")}
