"""Stock by SKU, also as a field of the catalogue's products."""

from __future__ import annotations

from typing import Annotated

import msgspec
from seed import create_once

from dohost.gateway import Service, ServiceError, expose, resolves

Quantity = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """How many of a product are on the shelf."""

    sku: str
    stock: int


SAMPLE = [("GADGET-001", 7), ("SKU-001", 42), ("WIDGET-001", 120), ("WIDGET-002", 0)]


class InventoryServiceDO(Service):
    """Stock levels; reservations need a credential."""

    schema = """
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
      type Product @key(fields: "sku") { sku: ID!  stock: Int!  inStock: Boolean! }
    """

    def setup(self) -> None:
        create_once(
            self,
            "stock",
            schema="CREATE TABLE stock (sku TEXT PRIMARY KEY, stock INTEGER NOT NULL) STRICT",
            rows=SAMPLE,
        )

    @expose("GET /")
    def check(self, sku: str | None = None) -> Stock | list[Stock] | None:
        """Return the stock of one SKU, or of everything."""
        if sku is not None:
            return self.get(sku)
        return [Stock(**row) for row in self.ctx.storage.sql.exec("SELECT * FROM stock")]

    @expose("GET /{sku}")
    def get(self, sku: str) -> Stock | None:
        """Return the stock of one SKU."""
        rows = self.ctx.storage.sql.exec("SELECT * FROM stock WHERE sku = ?", sku).toArray()
        return Stock(**rows[0]) if rows else None

    @expose("POST /{sku}/reservations")
    def reserve(self, sku: str, quantity: Quantity = 1) -> Stock:
        """Take `quantity` from the shelf, or refuse and change nothing."""
        held = self.get(sku)
        if held is None:
            raise ServiceError(404, "sku-unknown", f"There is no SKU {sku!r}.")
        if held.stock < quantity:
            raise ServiceError(409, "out-of-stock", f"Only {held.stock} of {sku!r} are left.")
        left = held.stock - quantity
        self.ctx.storage.sql.exec("UPDATE stock SET stock = ? WHERE sku = ?", left, sku)
        return Stock(sku=sku, stock=left)

    @resolves("Product", batch=True)
    def stock_of(self, representations: list[dict[str, str]]) -> list[Stock]:
        return [
            self.get(each["sku"]) or Stock(sku=each["sku"], stock=0) for each in representations
        ]

    @resolves("Product.inStock")
    def in_stock(self, product: Stock) -> bool:
        return product.stock > 0
