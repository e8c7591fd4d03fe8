"""Calls of exposed methods by name, under authorisation, cache and breakers.

`begin` is synchronous once the services' descriptions are known (`prepare`), so an aggregate starts
all its calls before it waits for any. A cached result, an identical call under way and a refusal need
no object at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping

import msgspec

from dohost.clock import Clock
from dohost.gateway.auth import authorise
from dohost.gateway.cache import Cache, Fresh
from dohost.gateway.cache_keys import partition, rpc_key
from dohost.gateway.cache_policy import rpc_entry
from dohost.gateway.calls import CallSpec
from dohost.gateway.config import GatewayConfig
from dohost.gateway.describe import MethodDescription
from dohost.gateway.descriptions import Descriptions, Offer
from dohost.gateway.dispatch import Dispatcher, Pending
from dohost.gateway.identity import Identity
from dohost.gateway.problems import PROBLEM_TYPES, Problem, problem
from dohost.gateway.replies import result_of
from dohost.gateway.service_error import ServiceError
from dohost.gateway.upstream import Target, route_values, target_chosen, target_of

NS_PER_MS = 1_000_000
Result = bytes | Problem


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A call that may be made: its object, its method, and its key in the cache if it has one."""

    spec: CallSpec
    target: Target
    method: MethodDescription
    cache_key: str | None


class ServiceCalls:
    """Makes calls for one gateway object."""

    def __init__(
        self, config: GatewayConfig, dispatcher: Dispatcher, cache: Cache, *, clock: Clock
    ) -> None:
        self._config = config
        self._dispatcher = dispatcher
        self._cache = cache
        self._clock = clock
        self._descriptions = Descriptions(dispatcher.stub, clock=clock, log=dispatcher.log)

    async def learn(self, services: Iterable[str]) -> None:
        """Make the descriptions of these services known, asking those that are not, all at once."""
        known = self._config.services
        missing = [
            known[name]
            for name in dict.fromkeys(services)
            if name in known and known[name].binding and self._descriptions.known(name) is None
        ]
        if missing:
            await asyncio.gather(*(self._descriptions.ask(each) for each in missing))

    async def offer(self, service: str) -> Offer | Problem:
        """Return what a service offers."""
        return await self._descriptions.ask(self._config.services[service])

    def prepare(self, spec: CallSpec, identity: Identity) -> Prepared | Problem:
        """Return the call if it exists and the caller may make it."""
        service = self._config.services.get(spec.service)
        if service is None or service.binding is None:
            return problem("unknown-service", f"There is no service {spec.service!r}.")
        offer = self._descriptions.known(spec.service)
        if offer is None:
            return problem("upstream-failed", f"The service {spec.service} can't be described.")
        method = offer.methods.get(spec.method)
        if method is None or not method.is_aggregatable or not service.aggregate:
            return problem("unknown-method", f"The service {spec.service} has no such method.")
        forbidden = authorise(
            identity.principal,
            required=(),
            method="GET" if method.is_safe else "POST",
            config=self._config.auth,
        )
        if forbidden is not None:
            return forbidden
        if spec.object_value is None:
            target = target_of(service, identity.tenant, values=route_values({}, spec.args))
        else:
            target = target_chosen(service, identity.tenant, spec.object_value)
        if isinstance(target, Problem):
            return target
        key = self._key(spec, target, method=method, identity=identity)
        return Prepared(spec=spec, target=target, method=method, cache_key=key)

    def begin(self, prepared: Prepared, identity: Identity, *, timeout_s: float) -> CallInFlight:
        """Start a call; a fresh cached result is its own answer."""
        now_ns = self._clock.realtime_ns()
        if prepared.cache_key is not None:
            held = self._cache.lookup(prepared.cache_key, now_ns)
            if isinstance(held, Fresh):
                return CallInFlight(self, prepared, held.entry.body)
        spec, context = prepared.spec, identity.caller().to_plain()
        started = self._dispatcher.begin(
            prepared.target,
            lambda stub: stub.gateway_call(spec.method, spec.args, context),
            timeout_s=timeout_s,
            request_id=identity.request_id,
        )
        return CallInFlight(self, prepared, started)

    def keep(self, prepared: Prepared, reply: Mapping[str, object], body: bytes) -> None:
        """Store a cacheable result, and drop what a write invalidates."""
        if isinstance(tags := reply.get("invalidates"), list):
            self._cache.invalidate(tags)
        if prepared.cache_key is None:
            return
        listed = reply.get("tags")
        entry = rpc_entry(
            body,
            ttl_s=int(prepared.method.cache_ttl_s or 0),
            tags=frozenset(listed if isinstance(listed, list) else ()),
            config=self._config.cache,
            now_ns=self._clock.realtime_ns(),
        )
        self._cache.put(prepared.cache_key, entry)

    def _key(
        self, spec: CallSpec, target: Target, *, method: MethodDescription, identity: Identity
    ) -> str | None:
        if not (method.is_safe and method.cache_ttl_s and self._config.cache.enabled):
            return None
        owner = partition(None, tenant=identity.tenant, subject=identity.principal.subject)
        return rpc_key(owner, (spec.service, target.object_name, spec.method), spec.args)


class CallInFlight:
    """A call that was started, or already has its answer."""

    __slots__ = ("_calls", "_ended", "_prepared", "_started")

    def __init__(
        self, calls: ServiceCalls, prepared: Prepared, started: Pending | Problem | bytes
    ) -> None:
        self._calls = calls
        self._prepared = prepared
        self._started = started
        self._ended: asyncio.Future[Result] | None = None

    async def result(self) -> Result:
        """Return the result as JSON, or the problem; those who share the call may each ask."""
        if self._ended is not None:
            return await asyncio.shield(self._ended)
        ended = self._ended = asyncio.get_running_loop().create_future()
        try:
            result = await self._finish()
        except BaseException:
            ended.cancel()
            raise
        ended.set_result(result)
        return result

    async def _finish(self) -> Result:
        started = self._started
        if not isinstance(started, Pending):
            return started
        reply = await started.finish()
        if isinstance(reply, Problem):
            return reply
        try:
            body = result_of(reply)
        except ServiceError as error:
            return problem_of(error)
        if isinstance(reply, Mapping):
            self._calls.keep(self._prepared, reply, body)
        return body


def problem_of(error: ServiceError) -> Problem:
    """Return a service's deliberate failure as a problem; its own code stays visible."""
    told = error.problem
    slug = told.code if told.code in PROBLEM_TYPES else "service-error"
    members: dict[str, object] = {"code": told.code}
    if told.pointer is not None:
        members["pointer"] = told.pointer
    elif told.parameter is not None:
        members["parameter"] = told.parameter
    made = problem(slug, told.detail, status=told.status)
    return msgspec.structs.replace(made, members=members)


async def await_all(calls: Iterable[Awaitable[Result]]) -> list[Result]:
    """Wait for calls that were started before, in order; no task is made for those that are done."""
    return [await each for each in calls]
