"""Version 2 of the API: the same users in a new shape, without a second copy of the data."""

from __future__ import annotations

from typing import Any

from dohost.gateway import Service, expose


class V2ServiceDO(Service):
    """Answers `/api/v2/*` from the services behind version 1."""

    @expose("GET /")
    def index(self) -> dict[str, Any]:
        """Say what this version is and what it has."""
        return {"version": "v2", "resources": ["users"]}

    @expose("GET /users/{id}", cache=30, tags=["user:{id}"])
    async def user(self, id: str) -> dict[str, Any] | None:
        """Return a user in an envelope, with links."""
        user = await self.services.users.get(id)
        if user is None:
            return None
        return {"data": user, "links": {"orders": f"/api/v1/orders?userId={id}"}}
