"""The gateway's own Python face: `await self.services.users.get(id)` and `await self.aggregate(…)`.

Calls run under the same limiter, breakers, cache and deadlines as a client's.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dohost.gateway.aggregate import AggregateCall, AggregateRequest
from dohost.gateway.aggregate_answer import error_of
from dohost.gateway.calls import CallSpec, spec_of
from dohost.gateway.identity import Identity
from dohost.gateway.parts import Parts
from dohost.gateway.problems import Problem
from dohost.gateway.service_error import ServiceError


class GatewayCalls:
    """Runs single calls from inside the gateway."""

    def __init__(self, parts: Parts, identity: Identity) -> None:
        self._parts = parts
        self._identity = identity

    async def run(self, spec: CallSpec) -> object:
        """Return the call's result as plain JSON types. Raises: ServiceError."""
        request = _request({"call": spec}, self._parts.config.aggregate.timeout_ms)
        _charge(self._parts, self._identity, 1)
        (result,) = await self._parts.aggregates.run(request, self._identity)
        if result.problem is not None:
            raise _error(result.problem)
        return msgspec.json.decode(result.value or b"null")


async def aggregate_calls(
    parts: Parts, identity: Identity, given: Mapping[str, object]
) -> dict[str, object]:
    """Run named calls in parallel; a failed one is None, and `errors` lists it.

    Raises: TypeError for a value that is no call; ServiceError when the limiter refuses.
    """
    specs = {name: spec_of(value) for name, value in given.items()}
    if not specs:
        return {}
    _charge(parts, identity, parts.limits.call_cost(len(specs)))
    request = _request(specs, parts.config.aggregate.timeout_ms)
    results = await parts.aggregates.run(request, identity)
    merged: dict[str, object] = {
        each.call.name: msgspec.json.decode(each.value or b"null") for each in results
    }
    if failed := [error_of(each) for each in results if each.problem is not None]:
        merged["errors"] = failed
    return merged


def _request(specs: Mapping[str, CallSpec], timeout_ms: int) -> AggregateRequest:
    calls = tuple(
        AggregateCall(
            name=name,
            service=spec.service,
            method=spec.method,
            args=spec.args,
            object_value=spec.object_value,
            timeout_ms=None,
            is_optional=False,
            depends_on=(),
        )
        for name, spec in specs.items()
    )
    return AggregateRequest(calls=calls, timeout_ms=timeout_ms, mode="partial")


def _charge(parts: Parts, identity: Identity, cost: int) -> None:
    charged = parts.limits.charge(identity, parts.clock.realtime_ns(), cost=cost)
    if isinstance(charged, Problem):
        raise _error(charged)


def _error(told: Problem) -> ServiceError:
    return ServiceError(told.status, told.type.slug, told.detail)
