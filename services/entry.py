"""The Worker: every request enters here. Classes that bindings name are exported from this file."""

from __future__ import annotations

from analytics import AnalyticsServiceDO
from gateway import GatewayDO
from inventory import InventoryServiceDO
from orders import OrderServiceDO
from products import ProductServiceDO
from recommendations import RecommendationServiceDO
from users import UserServiceDO
from v2 import V2ServiceDO

from dohost.gateway import check as check_gateway
from dohost.gateway import entrypoint

__all__ = [
    "AnalyticsServiceDO",
    "Default",
    "GatewayDO",
    "InventoryServiceDO",
    "OrderServiceDO",
    "ProductServiceDO",
    "RecommendationServiceDO",
    "UserServiceDO",
    "V2ServiceDO",
    "check",
]

SERVICES = (
    AnalyticsServiceDO,
    InventoryServiceDO,
    OrderServiceDO,
    ProductServiceDO,
    RecommendationServiceDO,
    UserServiceDO,
    V2ServiceDO,
)

Default = entrypoint("GATEWAY_DO")


def check(env: object) -> list[str]:
    """Return what is wrong in configuration or schemas; a reload that finds anything is not made."""
    return check_gateway(env, SERVICES)
