"""The catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from seed import create_once

from dohost.gateway import Service, ServiceError, expose, resolves

Sku = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9][A-Z0-9-]{0,63}$")]
Price = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """Something to buy."""

    sku: str
    name: str
    price: float


class NewProduct(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to list a product."""

    sku: Sku
    name: str
    price: Price


SAMPLE = [
    ("GADGET-001", "Gadget", 120),
    ("SKU-001", "Starter kit", 99),
    ("WIDGET-001", "Widget", 42.5),
    ("WIDGET-002", "Large widget", 64),
]


class ProductServiceDO(Service):
    """Products by SKU; writes need a credential."""

    schema = """
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
      type Query { product(sku: ID!): Product  products: [Product!]! }
      type Product @key(fields: "sku") { sku: ID!  name: String!  price: Float! }
    """

    def setup(self) -> None:
        create_once(
            self,
            "products",
            schema="CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT, price REAL) STRICT",
            rows=SAMPLE,
        )

    @expose("GET /{sku}", cache=60, tags=["product:{sku}"])
    def get(self, sku: str) -> Product | None:
        """Return one product."""
        rows = self.ctx.storage.sql.exec("SELECT * FROM products WHERE sku = ?", sku).toArray()
        return Product(**rows[0]) if rows else None

    @expose("GET /", cache=60, tags=["products"])
    def list(self) -> Sequence[Product]:
        """Return the whole catalogue."""
        rows = self.ctx.storage.sql.exec("SELECT * FROM products ORDER BY sku")
        return [Product(**row) for row in rows]

    @expose("POST /", status=201, invalidates=["product:{sku}", "products"])
    def create(self, product: NewProduct) -> Product:
        """List a product; the SKU must be free."""
        if self.get(product.sku) is not None:
            raise ServiceError(409, "product-exists", f"The SKU {product.sku!r} is taken.")
        values = (product.sku, product.name, product.price)
        self.ctx.storage.sql.exec("INSERT INTO products VALUES (?, ?, ?)", *values)
        return Product(sku=product.sku, name=product.name, price=product.price)

    @resolves("Query.product")
    def product(self, sku: str) -> Product | None:
        return self.get(sku)

    @resolves("Product", batch=True)
    def products_by_sku(
        self, representations: Sequence[dict[str, str]]
    ) -> Sequence[Product | None]:
        return [self.get(each["sku"]) for each in representations]

    @resolves("Query.products")
    def products(self) -> Sequence[Product]:
        return self.list()
