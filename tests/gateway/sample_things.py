"""Small services and a configuration that the gateway's tests share."""

from __future__ import annotations

from typing import Any

from deployment import ADMIN, Deployment
from workers import Request, Response

from dohost.gateway import Service, ServiceError, expose

CONFIG: dict[str, object] = {
    "services": {
        "things": {"binding": "THING_DO", "scope": "shared"},
        "owned": {"binding": "OWNED_DO", "object": "{id}"},
        "raw": {"binding": "RAW_DO", "scope": "shared", "aggregate": False},
    },
    "routes": {
        "/things/*": "things",
        "GET /owned/{id}": {"service": "owned", "rewrite": "/{id}"},
        "/raw/*": "raw",
        "GET /secret/*": {"service": "things", "scopes": ["things:read"]},
    },
    "rate_limits": {"free": {"rpm": 600, "burst": 100}},
    "circuit_breaker": {"threshold": 3, "timeout_ms": 30000, "half_open_max": 2},
}


class Things(Service):
    """Counts what reaches it."""

    def setup(self) -> None:
        self.seen = 0
        self.broken = False

    @expose("GET /fresh", cache=30, tags=["fresh"])
    def fresh(self) -> int:
        self.seen += 1
        return self.seen

    @expose("GET /plain")
    def plain(self) -> int:
        self.seen += 1
        return self.seen

    @expose("POST /fresh", invalidates=["fresh"])
    def renew(self) -> None:
        self.seen = 100

    @expose("GET /fragile")
    def fragile(self) -> str:
        self.seen += 1
        if self.broken:
            raise RuntimeError("a secret of the service")
        return "ok"

    @expose("GET /refused")
    def refused(self) -> None:
        raise ServiceError(409, "not-now", "Not now.")

    @expose("GET /who")
    def who(self) -> dict[str, object]:
        caller = self.caller
        return {"tenant": caller.tenant, "tier": caller.tier, "scopes": sorted(caller.scopes)}


class Owned(Service):
    """One object per id."""

    @expose("GET /{id}")
    def get(self, id: str) -> str | None:
        return self.ctx.id.name


class Raw(Service):
    """Takes requests as they come."""

    async def fetch(self, request: Request) -> Response:
        told = {"url": request.url, "headers": dict(request.headers.items())}
        told["redirect"] = request.redirect
        return Response.json({**told, "body": await request.text()})


SERVICES: dict[str, type[Service]] = {"THING_DO": Things, "OWNED_DO": Owned, "RAW_DO": Raw}


def things_deployment(**changes: object) -> Deployment:
    """Return the services under the configuration, with tables replaced."""
    return Deployment({**CONFIG, **changes}, SERVICES)


def thing(gateway: Deployment) -> Any:
    return gateway.services["THING_DO"].object("main")


async def new_key(gateway: Deployment, **grant: object) -> dict[str, str]:
    made = await gateway.send("POST", "/api/keys", {"tenant": "acme", **grant}, headers=ADMIN)
    assert made.status == 201
    return {"X-API-Key": made.json["key"]}
