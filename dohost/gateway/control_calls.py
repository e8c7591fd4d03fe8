"""What the entry point asks of `$control`, remembered for a few seconds.

A key's or tenant's verdict may be up to `verdict_ttl_s` old, so a revocation takes effect within that
time; 0 asks each time. Everything is forgotten at once, when a generation ends: what follows from an
answer may then be remembered for the same generation, and is never older than an answer may be.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable
from typing import Protocol

import msgspec

from dohost.clock import Clock
from dohost.gateway.api_keys import KeyRecord
from dohost.gateway.config_tables import TenantConfig

CONTROL = "$control"
ENTRIES_MAX = 10_000


class ControlStub(Protocol):
    """The object `$control`."""

    def gateway_key(self, key_id: str) -> Awaitable[object]: ...
    def gateway_tenant(self, tenant: str) -> Awaitable[object]: ...


class Namespace(Protocol):
    """The gateway's Durable Object binding."""

    def getByName(self, name: str) -> ControlStub: ...


class ControlCalls:
    """Looks keys and tenants up in `$control`."""

    def __init__(self, namespace: Namespace, *, ttl_s: float, clock: Clock) -> None:
        self._namespace = namespace
        self._ttl_s = ttl_s
        self._clock = clock
        self._held: OrderedDict[tuple[str, str], object] = OrderedDict()
        self._generation = 0
        self._ends = clock.monotonic()

    def generation(self) -> int:
        """Return the number of the present generation; another number means: forget."""
        now = self._clock.monotonic()
        if now >= self._ends:
            self._ends = now + self._ttl_s
            self._generation += 1
            self._held.clear()
        return self._generation

    async def key(self, key_id: str) -> KeyRecord | None:
        """Return an API key's record."""
        found = await self._ask("key", key_id)
        return None if found is None else msgspec.convert(found, KeyRecord)

    async def tenant(self, tenant: str) -> TenantConfig | None:
        """Return a tenant that was made at run time."""
        found = await self._ask("tenant", tenant)
        return None if found is None else msgspec.convert(found, TenantConfig)

    async def _ask(self, kind: str, name: str) -> object:
        generation = self.generation()
        if (kind, name) in self._held:
            return self._held[kind, name]
        stub = self._namespace.getByName(CONTROL)
        found = await (stub.gateway_key(name) if kind == "key" else stub.gateway_tenant(name))
        # The answer is as old as the question.
        if generation == self.generation():
            self._held[kind, name] = found
            if len(self._held) > ENTRIES_MAX:
                self._held.popitem(last=False)
        return found
