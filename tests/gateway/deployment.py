"""A gateway with services on the fakes, and a client that speaks to its entry point."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from gateway_fakes import FakeEnv, FakeNamespace
from workers import Request, Response

from dohost.clock import ManualClock, SeededEntropy
from dohost.gateway import Gateway, Service, entrypoint
from dohost.telemetry import Event, Log

ROOT = Path(__file__).parents[2]
ADMIN_TOKEN = "an-admin-token-of-a-test"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


class Reply:
    """An answer with its body read."""

    def __init__(self, response: Response, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Deployment:
    """Gateway objects, services and an entry point over one clock."""

    def __init__(
        self, config: dict[str, object], services: dict[str, type[Service]], **variables: object
    ) -> None:
        self.clock = ManualClock()
        self.events: list[Event] = []
        entropy, log = SeededEntropy(1), Log(self.events.append)
        parts = {"clock": self.clock, "entropy": entropy, "log": log}
        self.env = FakeEnv(GATEWAY=config, GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN, **variables)
        self.gateways = self.env.bind("GATEWAY_DO", type("GatewayUnderTest", (Gateway,), parts))
        self.services: dict[str, FakeNamespace] = {
            name: self.env.bind(name, type(cls.__name__, (cls,), {"clock": self.clock}))
            for name, cls in services.items()
        }
        self._default = type("Default", (entrypoint("GATEWAY_DO"),), parts)(None, self.env)

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        ip: str = "203.0.113.1",
    ) -> Reply:
        """Send one request to the entry point; a body that is no text or bytes is sent as JSON."""
        fields = {"Host": "localhost", "CF-Connecting-IP": ip, **(headers or {})}
        options: dict[str, Any] = {"method": method}
        if body is not None:
            options["body"] = body if isinstance(body, (str, bytes)) else json.dumps(body)
            fields.setdefault("Content-Type", "application/json")
        request = Request(f"http://localhost{path}", headers=fields, **options)
        response = await self._default.fetch(request)
        return Reply(response, await response.bytes())


def sample_deployment() -> Deployment:
    """Return the project's own services under its own wrangler.toml."""
    if str(ROOT / "services") not in sys.path:
        sys.path.insert(0, str(ROOT / "services"))
    import entry

    config = tomllib.loads((ROOT / "wrangler.toml").read_text())
    services = {
        each["name"]: getattr(entry, each["class_name"])
        for each in config["durable_objects"]["bindings"]
        if each["name"] != "GATEWAY_DO"
    }
    return Deployment(config["vars"]["GATEWAY"], services)
