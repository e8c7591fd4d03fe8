"""Calls from one service to another: a stub, a deadline and the trace, and nothing between.

The limiter, the breakers and the cache belong to the gateway; inside, a service that calls another
passes on who asked and until when.
"""

from __future__ import annotations

import msgspec

from dohost.clock import Clock
from dohost.gateway.caller import Caller
from dohost.gateway.calls import CallSpec
from dohost.gateway.config import GatewayConfig
from dohost.gateway.problems import Problem
from dohost.gateway.replies import result_of
from dohost.gateway.service_error import ServiceError
from dohost.gateway.upstream import (
    Answered,
    Sent,
    Stub,
    Target,
    route_values,
    target_chosen,
    target_of,
)

NS_PER_MS = 1_000_000


class DirectCalls:
    """Runs calls from inside a service."""

    def __init__(self, env: object, config: GatewayConfig, *, caller: Caller, clock: Clock) -> None:
        self._env = env
        self._config = config
        self._caller = caller
        self._clock = clock

    async def run(self, spec: CallSpec) -> object:
        """Call another service's exposed method and return its result as plain JSON types.

        Raises: ServiceError for the other's deliberate failure, and when it fails or is late.
        """
        target = self._target(spec)
        context = self._caller.to_plain()
        sent = Sent(
            lambda: self._stub(target).gateway_call(spec.method, spec.args, context),
            timeout_s=self._timeout_s(target),
            clock=self._clock,
        )
        ended = await sent.outcome(spec.service)
        if not isinstance(ended, Answered):
            raise _as_error(ended.problem) from ended.cause
        return msgspec.json.decode(result_of(ended.value))

    def _target(self, spec: CallSpec) -> Target:
        service = self._config.services.get(spec.service)
        if service is None or service.binding is None:
            raise ServiceError(
                404, "unknown-service", f"No service object is named {spec.service!r}."
            )
        if spec.object_value is not None:
            found = target_chosen(service, self._caller.tenant, spec.object_value)
        else:
            found = target_of(service, self._caller.tenant, values=route_values({}, spec.args))
        if isinstance(found, Problem):
            raise _as_error(found)
        return found

    def _stub(self, target: Target) -> Stub:
        stub: Stub = getattr(self._env, str(target.service.binding)).getByName(target.object_name)
        return stub

    def _timeout_s(self, target: Target) -> float:
        timeout_ms = target.service.timeout_ms
        if self._caller.deadline_ms is not None:
            left_ms = self._caller.deadline_ms - self._clock.realtime_ns() // NS_PER_MS
            timeout_ms = max(0, min(timeout_ms, left_ms))
        return timeout_ms / 1_000


def _as_error(problem: Problem) -> ServiceError:
    return ServiceError(problem.status, problem.type.slug, problem.detail)
