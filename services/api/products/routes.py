"""Products over HTTP."""

from __future__ import annotations

from services.api.expand import ReadParams
from services.api.products import schemas, service
from services.api.products.views import READ_PRODUCTS, ProductListParams
from services.api.routing import Router
from services.api.standard import Routes

router = Router(prefix="/v1/products", tags=["products"])
routes = Routes(router, READ_PRODUCTS, schemas.Product, "Product", "Products")
routes.add_list(ProductListParams, "Products, a page at a time.")
routes.add_sync()
routes.add_create(schemas.ProductCreate, lambda tx, _, body: service.create(tx, body), "Records a product.")
routes.add_get(ReadParams, "One product, whether it is still sold or not.")
routes.add_patch(schemas.ProductPatch, service.patch, "Changes a product (JSON merge-patch).")
routes.add_delete("Deletes a product softly; it can be restored for 30 days.")
routes.add_restore("Undoes a deletion of the last 30 days.")
routes.add_upsert(
    schemas.ProductUpsert, service.upsert, "Creates or replaces the product that another system knows under this id."
)
