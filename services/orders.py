"""Orders: one object holds all of them, and adds `orders` to every user of the GraphQL schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from seed import create_once

from dohost.gateway import Service, expose, resolves

Count = Annotated[int, msgspec.Meta(ge=1, le=100)]
Total = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
BY_USER = "SELECT * FROM orders WHERE user_id = ? ORDER BY number DESC LIMIT ?"
RECENT = "SELECT * FROM orders ORDER BY number DESC LIMIT ?"
BY_ID = "SELECT * FROM orders WHERE id = ?"


class Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a user bought."""

    id: str
    user_id: str
    sku: str
    total: float


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to order."""

    user_id: str
    sku: str
    total: Total


SAMPLE = [
    (1, "ord-1", "user-123", "SKU-001", 99),
    (2, "ord-2", "alice", "WIDGET-001", 42.5),
    (3, "ord-3", "bob", "GADGET-001", 120),
    (4, "ord-4", "alice", "SKU-001", 99),
]


class OrderServiceDO(Service):
    """Orders by id and by user; writes need a credential."""

    schema = """
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
      type Query { order(id: ID!): Order  recentOrders(first: Int! = 5): [Order!]! }
      type Order @key(fields: "id") { id: ID!  total: Float!  sku: String!  user: User! }
      type User @key(fields: "id") { id: ID!  orders(first: Int! = 10): [Order!]! }
    """

    def setup(self) -> None:
        create_once(
            self,
            "orders",
            schema="CREATE TABLE orders (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
            " user_id TEXT NOT NULL, sku TEXT NOT NULL, total REAL NOT NULL) STRICT",
            rows=SAMPLE,
        )

    @expose("GET /{id}", cache=30, tags=["order:{id}"])
    def get(self, id: str) -> Order | None:
        """Return one order."""
        found = self._select(BY_ID, id)
        return found[0] if found else None

    @expose("GET /", cache=5, tags=["orders"])
    def list(self, user_id: str | None = None, limit: Count = 20) -> Sequence[Order]:
        """Return the newest orders first, of everyone or of one user."""
        if user_id is None:
            return self._select(RECENT, limit)
        return self._select(BY_USER, user_id, limit)

    @expose("GET /recent/{limit}", cache=5, tags=["orders"])
    def recent(self, limit: Count = 5) -> Sequence[Order]:
        """Return the last few orders."""
        return self._select(RECENT, limit)

    @expose("POST /", status=201, invalidates=["orders"])
    def create(self, order: NewOrder) -> Order:
        """Place an order."""
        sql = self.ctx.storage.sql
        number = int(sql.exec("SELECT coalesce(max(number), 0) + 1 AS n FROM orders").one()["n"])
        order_id = f"ord-{number}"
        sql.exec(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
            *(number, order_id, order.user_id, order.sku, order.total),
        )
        return Order(id=order_id, user_id=order.user_id, sku=order.sku, total=order.total)

    @resolves("Query.order")
    def order(self, id: str) -> Order | None:
        return self.get(id)

    @resolves("Order")
    def order_by_representation(self, representation: dict[str, str]) -> Order | None:
        return self.get(representation["id"])

    @resolves("Query.recentOrders")
    def recent_orders(self, first: int = 5) -> Sequence[Order]:
        return self.list(limit=bounded(first))

    @resolves("Order.user")
    def buyer(self, order: Order) -> dict[str, str]:
        return {"id": order.user_id}

    @resolves("User", batch=True)
    def users(self, representations: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
        return representations

    @resolves("User.orders")
    def orders_of(self, user: dict[str, str], first: int = 10) -> Sequence[Order]:
        return self.list(user["id"], bounded(first))

    def _select(self, statement: str, *values: object) -> Sequence[Order]:
        rows = self.ctx.storage.sql.exec(statement, *values)
        return [
            Order(id=row["id"], user_id=row["user_id"], sku=row["sku"], total=row["total"])
            for row in rows
        ]


def bounded(first: int) -> int:
    """Return how many orders a GraphQL client gets: REST's own bounds, without an error."""
    return min(max(first, 1), 100)
