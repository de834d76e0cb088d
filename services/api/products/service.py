"""Rules of products."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.api import resources
from services.api.products.resource import PRODUCTS
from services.api.products.schemas import ProductCreate, ProductPatch, ProductUpsert
from services.api.resources import changes_of
from shared.db import Row, Tx
from shared.tenancy import Principal


async def create(tx: Tx, body: ProductCreate) -> Row:
    return await resources.create(tx, PRODUCTS, _columns(body.model_dump(exclude_none=True)))


async def patch(tx: Tx, principal: Principal, id_: UUID, body: ProductPatch, if_match: str | None) -> Row:
    changes = _columns(changes_of(body, not_null=("name", "active")))
    return await resources.patch(tx, principal, PRODUCTS, id_, changes, if_match)


async def upsert(tx: Tx, principal: Principal, source: str, external_id: str, body: ProductUpsert) -> tuple[Row, bool]:
    """Creates or replaces by external id; True when it was created."""
    found = await resources.find_external(tx, principal, PRODUCTS, source, external_id)
    if found is None:
        given = body.model_dump(exclude_unset=True)
        new = ProductCreate.model_validate({**given, "external_source": source, "external_id": external_id})
        return await create(tx, new), True
    changes = _columns(body.model_dump(exclude={"occurred_at"})) | {"deleted_at": None}
    return await resources.change(tx, PRODUCTS, found, changes), False


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    """The fields with the price as its two columns."""
    if "list_price" not in values:
        return values
    price = values.pop("list_price")
    return values | {
        "list_price": price["amount"] if price else None,
        "currency": price["currency"] if price else None,
    }
