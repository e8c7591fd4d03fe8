"""The parts of one gateway object, built and wired once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from dohost.clock import Clock, Entropy
from dohost.gateway.aggregate_run import AggregateRunner
from dohost.gateway.breakers import Breakers
from dohost.gateway.cache import Cache
from dohost.gateway.control_calls import CONTROL
from dohost.gateway.dispatch import NS_PER_MS, Dispatcher
from dohost.gateway.graphql import GraphqlEndpoint
from dohost.gateway.http_cache import HttpCache
from dohost.gateway.limits import Limits
from dohost.gateway.plan import Planner
from dohost.gateway.reports import ReportedCircuits, ReportNamespace, Reports
from dohost.gateway.service_calls import ServiceCalls
from dohost.gateway.settings import Settings
from dohost.gateway.state import ObjectState, Storage
from dohost.gateway.stats import Stats
from dohost.gateway.tables import (
    BreakerRows,
    CacheRows,
    CountRows,
    KeyRows,
    LimitMarks,
    Tables,
    TenantRows,
)
from dohost.gateway.versions import Versions
from dohost.telemetry import Log


class Parts:
    """What the stages and the built-in pages work with."""

    # The wiring of one object: each of these is one thing that only the object's host or class knows.
    def __init__(
        self,
        ctx: ObjectState,
        env: object,
        *,
        settings: Settings,
        binding: str,
        clock: Clock,
        entropy: Entropy,
        log: Log,
    ) -> None:
        config = settings.config
        tables = Tables(ctx.storage.sql)
        self.env = env
        self.settings = settings
        self.config = config
        self.clock = clock
        self.entropy = entropy
        self.log = log
        self.stats = Stats()
        self.versions = Versions(config.versions)
        self.keys = KeyRows(tables)
        self.tenants = TenantRows(tables)

        def when_durable(then: Callable[[], None]) -> None:
            ctx.waitUntil(after_sync(ctx.storage, then))

        self.limits = Limits(config, LimitMarks(tables), when_durable=when_durable)
        self.planner = Planner(settings, self.versions, self.limits)
        self.cache = Cache(config.cache, CacheRows(tables))
        now_ms = clock.realtime_ns() // NS_PER_MS
        self.breakers = Breakers(config.circuit_breaker, BreakerRows(tables), now_ms=now_ms)
        self.dispatcher = Dispatcher(env, self.breakers, stats=self.stats, clock=clock, log=log)
        self.calls = ServiceCalls(config, self.dispatcher, self.cache, clock=clock)
        self.aggregates = AggregateRunner(self.calls, config.aggregate, clock=clock)
        self.graphql = GraphqlEndpoint(config, self.calls, self.dispatcher, clock=clock)

        def later(work: Awaitable[object]) -> None:
            ctx.waitUntil(work)

        self.circuits = ReportedCircuits()
        self.counts = CountRows(tables)
        name = ctx.id.name or "unnamed"
        namespace = cast("ReportNamespace | None", getattr(env, binding, None))
        self.reports = Reports(
            name,
            self.stats,
            circuits=self.circuit_states,
            namespace=None if name == CONTROL else namespace,
            later=later,
            log=log,
        )
        if name == CONTROL and (counted := self.counts.load()) is not None:
            self.stats.add(counted)
        self.http_cache = HttpCache(
            self.cache, config.cache, clock=clock, entropy=entropy, later=later
        )

    def circuit_states(self) -> dict[str, str]:
        """Return the state of each service's breaker in this object."""
        now_ms = self.clock.realtime_ns() // NS_PER_MS
        return {
            name: str(self.breakers.status(name, service.circuit_breaker, now_ms=now_ms)["state"])
            for name, service in self.config.services.items()
        }


async def after_sync(storage: Storage, then: Callable[[], None]) -> None:
    """Call back when everything that was written before is durable."""
    await storage.sync()
    then()
