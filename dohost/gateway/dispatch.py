"""Sends one call to one service object under its breakers, and classifies what comes back.

`begin` is synchronous: it asks the breakers and starts the call, so that a caller with several calls
starts all of them before it waits for the first, and none needs a task of its own. `Pending.finish`
waits, reports to the breakers and returns the answer or the problem.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import ceil
from typing import cast

import msgspec
from workers import Response

from dohost.clock import Clock
from dohost.gateway.breakers import Breakers, Grant
from dohost.gateway.circuit_breaker import Outcome, Rejected, circuit_open_members
from dohost.gateway.problems import Problem, problem
from dohost.gateway.stats import Stats
from dohost.gateway.upstream import Answered, Failed, Sent, Stub, Target
from dohost.telemetry import Log

FAILURE_STATUSES = frozenset({500, 502, 503, 504})
BAD_REQUEST = 400
NS_PER_MS = 1_000_000
Start = Callable[[Stub], Awaitable[object]]


class Pending:
    """A call that was started."""

    __slots__ = ("_dispatcher", "_grant", "_request_id", "_sent")

    def __init__(
        self, dispatcher: Dispatcher, grant: Grant, sent: Sent, *, request_id: str
    ) -> None:
        self._dispatcher = dispatcher
        self._grant = grant
        self._sent = sent
        self._request_id = request_id

    async def finish(self) -> object:
        """Return what the service answered, or the problem that its failure is for the client."""
        outcome: Outcome = "ignored"
        try:
            ended = await self._sent.outcome(self._grant.target.service.name)
            outcome = judge(ended)
        finally:
            # A cancelled caller reports too: a probe that is never reported would wedge half-open.
            self._dispatcher.report(self._grant, outcome)
        if isinstance(ended, Failed):
            self._dispatcher.record(self._grant, ended, request_id=self._request_id)
            return ended.problem
        return ended.value


class Dispatcher:
    """Holds the breakers and the bindings of one gateway object."""

    def __init__(
        self, env: object, breakers: Breakers, *, stats: Stats, clock: Clock, log: Log
    ) -> None:
        self._env = env
        self._breakers = breakers
        self._stats = stats
        self._clock = clock
        self.log = log

    def begin(
        self, target: Target, start: Start, *, timeout_s: float, request_id: str
    ) -> Pending | Problem:
        """Start a call on a service object, or say why its breaker forbids it.

        `request_id` is the client's, under which a failure is found in the log.
        """
        now_ms = self._clock.realtime_ns() // NS_PER_MS
        lease_ms = ceil(timeout_s * 1_000)
        grant = self._breakers.acquire(target, now_ms=now_ms, lease_ms=lease_ms)
        if isinstance(grant, Rejected):
            return circuit_problem(target, grant, now_ms)
        sent = Sent(lambda: start(self.stub(target)), timeout_s=timeout_s, clock=self._clock)
        return Pending(self, grant, sent, request_id=request_id)

    def stub(self, target: Target) -> Stub:
        """Return a stub of the target's object; a new one each time, as after any exception one must."""
        if target.service.binding is None:
            # An HTTP origin has no object; its calls ignore the stub.
            return cast("Stub", None)
        namespace = getattr(self._env, target.service.binding)
        return cast("Stub", namespace.getByName(target.object_name))

    def report(self, grant: Grant, outcome: Outcome) -> None:
        """Tell the breakers how a call ended, and count it."""
        self._stats.count_call(grant.target.service.name, outcome)
        self._breakers.report(grant, outcome, now_ms=self._clock.realtime_ns() // NS_PER_MS)

    def record(self, grant: Grant, failed: Failed, *, request_id: str) -> None:
        """Log one failure, with the cause that the client is not told."""
        self.log.event(
            "upstream.failed",
            level="error",
            service=grant.target.service.name,
            object=grant.target.object_name,
            problem=failed.problem.type.slug,
            cause=str(failed.cause),
            request_id=request_id,
        )


def judge(ended: Answered | Failed) -> Outcome:
    """Say whether an answer counts as a failure of the service."""
    if isinstance(ended, Failed):
        return "failure"
    status = answer_status(ended.value)
    if status in FAILURE_STATUSES:
        return "failure"
    # The caller's fault says nothing about the service's health.
    return "ok" if status < BAD_REQUEST else "ignored"


def answer_status(value: object) -> int:
    """Return the HTTP status of a Response, or of a reply's problem; 200 for a result."""
    if isinstance(value, Response):
        return value.status
    told = value.get("problem") if isinstance(value, Mapping) else None
    return int(told["status"]) if isinstance(told, Mapping) else 200


def circuit_problem(target: Target, rejected: Rejected, now_ms: int) -> Problem:
    """Return the 503 of an open breaker, with the time at which to come back."""
    seconds = max(1, ceil(rejected.retry_ms / 1_000))
    members = circuit_open_members(target.service.name, rejected, now_ms)
    told = problem("circuit-open", headers=(("Retry-After", str(seconds)),))
    return msgspec.structs.replace(told, members={**members, "retryAfter": seconds})
