"""Products as they are read."""

from __future__ import annotations

from services.api.expand import FieldNames
from services.api.products.resource import PRODUCTS
from services.api.products.schemas import Product, ProductFilters
from services.api.reads import readable


class ProductListParams(ProductFilters):
    """How to read a list of products."""

    fields: FieldNames | None = None


READ_PRODUCTS = readable(PRODUCTS, Product)
