"""The gateway object: one per tenant, the stages of a request in order on one screen.

    plan (route → version → authorise) → limit → cache → breaker → service → cache → headers

What comes before (request id, canonical path, authentication, tenant) the entry point did and told in
`X-Gateway-Context`. This object holds its tenant's buckets, breakers, cache and counters, in memory and
in its own SQL tables, so one tenant's load can't touch another's. The object named `$control` holds what
tenants share. Every stage returns its decision as a value; a `Problem` ends the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from workers import DurableObject, Request, Response

from dohost.clock import Clock, Entropy, SystemClock, SystemEntropy
from dohost.gateway.builtin import BUILTINS, Found
from dohost.gateway.calls import Services
from dohost.gateway.cors import cors_headers
from dohost.gateway.exchange import Exchange, read_exchange
from dohost.gateway.forward import Answer, Terms, forward
from dohost.gateway.http_cache import Visit
from dohost.gateway.identity import Identity, local_identity
from dohost.gateway.parts import Parts
from dohost.gateway.plan import Plan, Refusal
from dohost.gateway.problems import Problem
from dohost.gateway.python_calls import GatewayCalls, aggregate_calls
from dohost.gateway.reports import Report
from dohost.gateway.settings import settings_of
from dohost.gateway.shortcuts import Shelf, put_up
from dohost.gateway.state import ObjectState
from dohost.telemetry import Log, stderr_log

Header = tuple[str, str]


class Gateway(DurableObject):
    """A tenant's gateway; subclass it to add `on_request` and `on_response`.

    `binding` is the name under which the class is bound; under another, `$control` hears of no object.
    """

    ctx: ObjectState
    binding: ClassVar[str] = "GATEWAY_DO"
    clock: ClassVar[Clock] = SystemClock()
    entropy: ClassVar[Entropy] = SystemEntropy()
    log: ClassVar[Log] = stderr_log()

    def __init__(self, ctx: ObjectState, env: object) -> None:
        super().__init__(ctx, env)
        self._settings = settings_of(env)
        self._parts = Parts(
            ctx,
            env,
            settings=self._settings,
            binding=self.binding,
            clock=self.clock,
            entropy=self.entropy,
            log=self.log,
        )
        self._shelf: Shelf | None = None
        if not self._has_hooks():
            self._shelf = Shelf(self._parts)
            put_up(self._shelf, env, str(ctx.id))

    async def on_request(self, exchange: Exchange) -> Response | None:
        """Look at a request before it is routed; a response ends it."""
        return None

    async def on_response(self, exchange: Exchange, response: Response) -> Response:
        """Look at an answer before it leaves, and return it or another."""
        return response

    async def fetch(self, request: Request) -> Response:
        """Answer one request that the entry point authenticated."""
        exchange = read_exchange(request)
        if isinstance(exchange, Response):
            return exchange
        # A hook that nobody overrode would cost a coroutine for nothing.
        cls, response = type(self), None
        if cls.on_request is not Gateway.on_request:
            response = await self.on_request(exchange)
        if response is None:
            response = await self._answer(exchange)
        if cls.on_response is not Gateway.on_response:
            response = await self.on_response(exchange, response)
        return response

    async def _answer(self, exchange: Exchange) -> Response:
        found = BUILTINS.find(self._settings.config, exchange.method, exchange.path.text)
        if isinstance(found, Found):
            answered = await found.handler(self._parts, exchange, found.parameters)
            return self._finish(exchange, answered, ())
        if isinstance(found, Problem):
            return self._finish(exchange, found, ())
        return await self._routed(exchange)

    async def _routed(self, exchange: Exchange) -> Response:
        """Plan → limit → cache → breaker → service → headers."""
        began = self.clock.monotonic()
        parts, identity = self._parts, exchange.identity
        now_ns = self.clock.realtime_ns()
        plan = parts.planner.plan(exchange, now_ns)
        if isinstance(plan, Refusal):
            return self._refused(exchange, plan, now_ns)
        route, version = plan.match.route, plan.version
        charged = parts.limits.charge_policies(plan.policies, identity, now_ns, cost=route.cost)
        if isinstance(charged, Problem):
            return self._finish(exchange, charged, version.headers)

        answer = await self._answered(exchange, plan)
        response = self._finish(exchange, answer, (*charged, *version.headers))
        took_ms = (self.clock.monotonic() - began) * 1_000
        parts.stats.count(route.pattern, response.status, version=version.version, took_ms=took_ms)
        if parts.reports.is_due:
            parts.reports.begin()
        return response

    async def _answered(self, exchange: Exchange, plan: Plan) -> Answer | Problem:
        """Cache → breaker → service → cache."""
        cache, key = self._parts.http_cache, plan.cache_key
        if key is None:
            return cache.written(exchange, await self._from_service(exchange, plan))
        found = cache.look_up(exchange, key)
        if isinstance(found, Answer):
            if self._shelf is not None:
                self._shelf.offer(exchange, plan, found)
            return found
        visit = Visit(
            exchange=exchange,
            route=plan.match.route,
            key=key,
            fetch=lambda validators: self._from_service(exchange, plan, validators),
        )
        return await cache.answer(visit, found)

    def _refused(self, exchange: Exchange, refusal: Refusal, now_ns: int) -> Response:
        told = refusal.problem
        if refusal.is_charged:
            charged = self._parts.limits.charge(exchange.identity, now_ns, cost=1)
            told = charged if isinstance(charged, Problem) else told
        return self._finish(exchange, told, refusal.headers)

    async def _from_service(
        self, exchange: Exchange, plan: Plan, validators: tuple[Header, ...] = ()
    ) -> Answer | Problem:
        target = plan.target
        if isinstance(target, Problem):
            return target
        timeout_ms = plan.match.route.timeout_ms or target.service.timeout_ms
        return await forward(
            exchange,
            plan,
            target=target,
            dispatcher=self._parts.dispatcher,
            terms=Terms(
                body_bytes_max=self._settings.config.limits.body_bytes_max,
                timeout_s=exchange.remaining_s(self.clock.realtime_ns(), timeout_ms=timeout_ms),
                validators=validators,
            ),
        )

    def _finish(
        self, exchange: Exchange, answered: Answer | Problem | Response, headers: tuple[Header, ...]
    ) -> Response:
        if isinstance(answered, Response):
            return answered
        origin = exchange.headers.get("origin")
        headers = (
            *headers,
            *cors_headers(self._settings.config.cors, origin),
            ("X-Request-Id", exchange.identity.request_id),
        )
        if isinstance(answered, Answer):
            if exchange.method == "HEAD":
                answered = msgspec.structs.replace(answered, body=b"")
            return answered.to_response(headers)
        told = msgspec.structs.replace(answered, headers=(*answered.headers, *headers))
        return told.to_response(instance=exchange.path.raw, request_id=exchange.identity.request_id)

    @property
    def services(self) -> Services:
        """Handles on the services, called under this gateway's limiter, breakers and cache."""
        runner = GatewayCalls(self._parts, self._own_identity())
        return Services(runner, self._settings.config.services)

    async def aggregate(
        self, calls: Mapping[str, object] | None = None, /, **named: object
    ) -> dict[str, object]:
        """Run calls in parallel and return their results by name, as plain JSON types.

        Values are calls, handles (whose `get` is meant) or objects `{service, method, args}`; over RPC,
        where keywords arrive as one trailing object, only the last. A failed call's result is None
        and `errors` lists it, as over HTTP.
        """
        given = {**(calls or {}), **named}
        return await aggregate_calls(self._parts, self._own_identity(), given)

    def gateway_key(self, key_id: str) -> object:
        """Return an API key's record as plain data; for the entry point, in `$control`."""
        record = self._parts.keys.find(key_id)
        return None if record is None else plain(record)

    def gateway_tenant(self, tenant: str) -> object:
        """Return a tenant made at run time as plain data; for the entry point, in `$control`."""
        found = self._parts.tenants.find(tenant)
        return None if found is None else plain(found)

    def gateway_report(self, report: object) -> None:
        """Take another gateway object's report, in `$control`."""
        told = msgspec.convert(report, Report)
        self._parts.stats.add(told.counts)
        self._parts.counts.save(self._parts.stats.counts())
        self._parts.circuits.note(told.object, told.circuits, self.clock.monotonic())

    @classmethod
    def _has_hooks(cls) -> bool:
        return (cls.on_request, cls.on_response) != (Gateway.on_request, Gateway.on_response)

    def _own_identity(self) -> Identity:
        name = self.ctx.id.name or "anonymous"
        return local_identity(
            self._settings.config,
            tenant=name,
            now_ns=self.clock.realtime_ns(),
            entropy=self.entropy,
        )


def plain(value: msgspec.Struct) -> object:
    """Return a value as RPC can carry it: objects and lists, no tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))
