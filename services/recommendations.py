"""Recommendations: what a user has not bought yet. It owns no data and asks other services."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from dohost.gateway import Service, expose

Count = Annotated[int, msgspec.Meta(ge=1, le=20)]


class RecommendationServiceDO(Service):
    """Suggestions for a user, or for anybody."""

    @expose("GET /", cache=60)
    async def suggest(self, user_id: str | None = None, limit: Count = 3) -> list[dict[str, Any]]:
        """Return products that the user has not ordered."""
        products = await self.services.products.list()
        orders = await self.services.orders.list(user_id=user_id) if user_id else []
        owned = {order["sku"] for order in orders}
        return [each for each in products if each["sku"] not in owned][:limit]
