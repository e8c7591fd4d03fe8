"""The mission's own examples, against the sample services under the project's configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))

from deployment import ADMIN, Deployment, sample_deployment


@pytest.fixture
def gateway() -> Deployment:
    return sample_deployment()


async def test_a_route_reaches_its_service(gateway: Deployment) -> None:
    reply = await gateway.send("GET", "/api/v1/users/alice")
    assert reply.status == 200
    assert reply.json == {"id": "alice", "name": "Alice", "tier": "pro"}
    assert reply.headers["ratelimit-policy"] == '"free";q=100;w=60;dohost-burst=10'


async def test_the_aggregate_of_the_mission(gateway: Deployment) -> None:
    calls = [
        {"service": "users", "method": "get", "args": ["user-123"]},
        {"service": "orders", "method": "list", "args": [{"userId": "user-123"}]},
        {"service": "inventory", "method": "check", "args": ["SKU-001"]},
    ]
    reply = await gateway.send("POST", "/api/aggregate", {"calls": calls})
    assert reply.status == 200
    assert list(reply.json) == ["users", "orders", "inventory"]
    assert reply.json["users"].items() >= {"id": "user-123", "name": "Alice"}.items()
    assert reply.json["orders"][0].items() >= {"id": "ord-1", "total": 99}.items()
    assert reply.json["inventory"] == {"sku": "SKU-001", "stock": 42}
    assert reply.headers["x-gateway-complete"] == "true"


async def test_the_query_of_the_mission(gateway: Deployment) -> None:
    query = '{ user(id: "alice") { name orders { total } } }'
    reply = await gateway.send("POST", "/graphql", {"query": query})
    assert reply.json == {
        "data": {"user": {"name": "Alice", "orders": [{"total": 99}, {"total": 42.5}]}}
    }


async def test_the_call_style_of_the_mission(gateway: Deployment) -> None:
    owner = gateway.gateways.object("acme")
    services = owner.services
    merged = await owner.aggregate(
        user=services.users.get("alice"),
        orders=services.orders.recent(5),
        inventory=services.inventory.check(),
        recommendations=services.recommendations.suggest(),
    )
    assert list(merged) == ["user", "orders", "inventory", "recommendations"]
    assert merged["user"]["name"] == "Alice"
    assert len(merged["orders"]) == 4
    assert len(merged["recommendations"]) == 3
    assert await services.users.get("bob") == {"id": "bob", "name": "Bob", "tier": "starter"}


async def test_version_two_is_another_shape_of_the_same_users(gateway: Deployment) -> None:
    reply = await gateway.send("GET", "/api/v2/users/alice")
    assert reply.json["data"]["name"] == "Alice"


async def test_reads_are_public_and_writes_need_a_credential(gateway: Deployment) -> None:
    dave = {"id": "dave", "name": "Dave"}
    refused = await gateway.send("POST", "/api/v1/users", dave)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    made = await gateway.send("POST", "/api/v1/users", dave, headers=ADMIN)
    assert (made.status, made.json["id"]) == (201, "dave")
    twice = await gateway.send("POST", "/api/v1/users", dave, headers=ADMIN)
    assert (twice.status, twice.json["code"]) == (409, "user-exists")


async def test_a_reservation_takes_from_the_shelf_or_changes_nothing(gateway: Deployment) -> None:
    path = "/api/v1/inventory/SKU-001/reservations"
    taken = await gateway.send("POST", path, {"quantity": 40}, headers=ADMIN)
    assert taken.json == {"sku": "SKU-001", "stock": 2}
    refused = await gateway.send("POST", path, {"quantity": 3}, headers=ADMIN)
    assert (refused.status, refused.json["code"]) == (409, "out-of-stock")
    left = await gateway.send("GET", "/api/v1/inventory/SKU-001")
    assert left.json["stock"] == 2


async def test_seed_rows_that_were_deleted_stay_deleted(gateway: Deployment) -> None:
    await gateway.send("DELETE", "/api/v1/users/bob", headers=ADMIN)
    gateway.services["USER_DO"].restart()
    reply = await gateway.send("GET", "/api/v1/users/bob")
    assert reply.status == 404


async def test_recommendations_leave_out_what_was_ordered(gateway: Deployment) -> None:
    reply = await gateway.send("GET", "/api/v1/recommendations?userId=alice")
    assert [each["sku"] for each in reply.json] == ["GADGET-001", "WIDGET-002"]


async def test_analytics_count_events(gateway: Deployment) -> None:
    await gateway.send("POST", "/api/v1/analytics/events", {"name": "page.viewed"}, headers=ADMIN)
    reply = await gateway.send("GET", "/api/v1/analytics/summary")
    assert {"name": "page.viewed", "count": 193} in reply.json


async def test_products_and_their_stock_are_one_type(gateway: Deployment) -> None:
    query = '{ product(sku: "WIDGET-002") { name stock inStock } recentOrders(first: 1) { user { name } } }'
    reply = await gateway.send("POST", "/graphql", {"query": query})
    assert reply.json["data"]["product"] == {"name": "Large widget", "stock": 0, "inStock": False}
    assert reply.json["data"]["recentOrders"] == [{"user": {"name": "Alice"}}]


def test_the_sample_has_no_problem_to_report(gateway: Deployment) -> None:
    import entry

    assert entry.check(gateway.env) == []
