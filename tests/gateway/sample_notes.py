"""A cached service and a gateway before it, for tests of what the entry point answers by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from deployment import Deployment, Reply
from workers import Response

from dohost.gateway import Gateway, Service, expose
from dohost.gateway.exchange import Exchange

CONFIG: dict[str, object] = {
    "services": {"notes": {"binding": "NOTE_DO", "scope": "shared"}},
    "routes": {"/notes/*": {"service": "notes", "cache": {"ttl": 30, "scope": "tenant"}}},
    "rate_limits": {"free": {"rpm": 600, "burst": 40}},
    "auth": {"anonymous": "all"},
    "cors": {"origins": ["https://a.example", "https://b.example"]},
}
Fields = dict[str, str]


class Notes(Service):
    """Texts by name, and how often each was read."""

    def setup(self) -> None:
        self.texts = {"a": "first", "b": "other"}
        self.reads = 0

    @expose("GET /{name}", cache=30, tags=["note:{name}"])
    def get(self, name: str) -> str | None:
        self.reads += 1
        return self.texts.get(name)

    @expose("PUT /{name}", invalidates=["note:{name}"])
    def put(self, name: str, text: str) -> str:
        self.texts[name] = text
        return text


class Visited(Gateway):
    """A gateway whose every request visits its object, because it has a hook."""

    async def on_request(self, exchange: Exchange) -> Response | None:
        return None


def deployment(config: dict[str, object] | None = None) -> Deployment:
    return Deployment({**CONFIG, **(config or {})}, {"NOTE_DO": Notes})


def visits(gateway: Deployment) -> int:
    return sum(call == "fetch" for _, call in gateway.gateways.calls)


async def hit(gateway: Deployment, path: str = "/notes/a", **options: Any) -> Reply:
    """Ask until a request costs no visit, and return that one's answer."""
    for _ in range(4):
        before = visits(gateway)
        reply = await gateway.send("GET", path, **options)
        if visits(gateway) == before:
            return reply
        await asyncio.sleep(0)
    raise AssertionError("every request visited the object")


def told(reply: Reply) -> tuple[int, bytes, Fields]:
    """Return an answer without what is its own: its id."""
    fields = dict(reply.headers.items())
    del fields["x-request-id"]
    return reply.status, reply.body, fields
