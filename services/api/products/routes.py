"""Products over HTTP."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from services.api import resources
from services.api.edge import EdgeTransaction, requires
from services.api.fields import ExternalText
from services.api.pagination import Page
from services.api.products import schemas, service
from services.api.products.resource import PRODUCTS
from services.api.routing import IfMatch, Router, answers
from services.api.wire import answer, created, no_content, one
from shared.tenancy import Principal

router = Router(prefix="/v1/products", tags=["products"])
ProductsRead = Annotated[Principal, requires("products:read")]
ProductsWrite = Annotated[Principal, requires("products:write")]


def _shown(row: Any) -> Response:
    return answer(PRODUCTS.wire(row), version=row["version"])


@router.get("", response_model=Page[schemas.Product], operation_id="listProducts")
async def list_products(
    request: Request, principal: ProductsRead, tx: EdgeTransaction, params: Annotated[schemas.ProductFilters, Query()]
) -> Response:
    """Products, a page at a time."""
    return answer(await resources.fetch_page(tx, principal, PRODUCTS, params, request.app.state.cursors))


@router.post(
    "",
    status_code=201,
    response_model=schemas.Product,
    operation_id="createProduct",
    dependencies=[requires("products:write")],
)
async def create_product(tx: EdgeTransaction, body: schemas.ProductCreate) -> Response:
    """Records a product."""
    row = await service.create(tx, body)
    return created(PRODUCTS.wire(row), f"{PRODUCTS.path}/{row['id']}", row["version"])


@router.get("/{id}", response_model=schemas.Product, operation_id="getProduct")
async def get_product(request: Request, principal: ProductsRead, tx: EdgeTransaction, id: UUID) -> Response:
    """One product."""
    row = await resources.fetch(tx, principal, PRODUCTS, id)
    return one(request, PRODUCTS.wire(row), row["version"])


@router.patch("/{id}", response_model=schemas.Product, operation_id="updateProduct")
async def update_product(
    principal: ProductsWrite, tx: EdgeTransaction, id: UUID, body: schemas.ProductPatch, if_match: IfMatch = None
) -> Response:
    """Changes a product (JSON merge-patch)."""
    return _shown(await service.patch(tx, principal, id, body, if_match))


@router.delete("/{id}", status_code=204, operation_id="deleteProduct")
async def delete_product(principal: ProductsWrite, tx: EdgeTransaction, id: UUID, if_match: IfMatch = None) -> Response:
    """Deletes a product softly; it can be restored for 30 days."""
    await resources.delete(tx, principal, PRODUCTS, id, if_match)
    return no_content()


@router.post("/{id}:restore", response_model=schemas.Product, operation_id="restoreProduct")
async def restore_product(principal: ProductsWrite, tx: EdgeTransaction, id: UUID) -> Response:
    """Undoes a deletion of the last 30 days."""
    return _shown(await resources.restore(tx, principal, PRODUCTS, id))


@router.put(
    "/by-external-id/{source}/{external_id}",
    response_model=schemas.Product,
    responses=answers(201, schemas.Product),
    operation_id="upsertProduct",
)
async def upsert_product(
    principal: ProductsWrite,
    tx: EdgeTransaction,
    source: ExternalText,
    external_id: ExternalText,
    body: schemas.ProductUpsert,
) -> Response:
    """Creates or replaces the product that another system knows under this id."""
    row, is_new = await service.upsert(tx, principal, source, external_id, body)
    if is_new:
        return created(PRODUCTS.wire(row), f"{PRODUCTS.path}/{row['id']}", row["version"])
    return _shown(row)
