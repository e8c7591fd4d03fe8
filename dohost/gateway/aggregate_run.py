"""Runs the calls of an aggregate in parallel.

Independent calls are all started before the first is awaited, without a task for any of them. Calls
that need others' results, strict mode and more calls than may run at once take tasks, in a group that
ends them all together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from dohost.clock import Clock
from dohost.gateway.aggregate import (
    AggregateCall,
    AggregateRequest,
    CallResult,
    resolve_references,
)
from dohost.gateway.calls import CallSpec
from dohost.gateway.config_tables import AggregateConfig
from dohost.gateway.identity import Identity
from dohost.gateway.problems import Problem, problem
from dohost.gateway.service_calls import CallInFlight, Result, ServiceCalls

NS_PER_MS = 1_000_000
Args = list[object] | dict[str, object]
Finished = Callable[[CallResult], Awaitable[None]]


class AggregateRunner:
    """Runs aggregates for one gateway object."""

    def __init__(self, calls: ServiceCalls, config: AggregateConfig, *, clock: Clock) -> None:
        self._calls = calls
        self._config = config
        self._clock = clock

    async def run(
        self, request: AggregateRequest, identity: Identity, *, finished: Finished | None = None
    ) -> list[CallResult]:
        """Return the results in request order; `finished` hears of each as it ends. Cancel-safe."""
        await self._calls.learn(call.service for call in request.calls)
        deadline_s = self._clock.monotonic() + self._budget_s(request, identity)
        run = _Run(self._calls, identity, deadline_s=deadline_s, clock=self._clock)
        is_small = len(request.calls) <= self._config.concurrency_max
        if request.is_independent and request.mode == "partial" and is_small and finished is None:
            return await run.all_at_once(request.calls)
        return await run.in_tasks(request, self._config.concurrency_max, finished=finished)

    def _budget_s(self, request: AggregateRequest, identity: Identity) -> float:
        left_ms = identity.deadline_ms - self._clock.realtime_ns() // NS_PER_MS
        return max(0, min(request.timeout_ms, left_ms)) / 1_000


class _Run:
    """One aggregate under way."""

    def __init__(
        self, calls: ServiceCalls, identity: Identity, *, deadline_s: float, clock: Clock
    ) -> None:
        self._calls = calls
        self._identity = identity
        self._deadline_s = deadline_s
        self._clock = clock
        self._shared: dict[bytes, CallInFlight] = {}

    async def all_at_once(self, calls: tuple[AggregateCall, ...]) -> list[CallResult]:
        began = self._clock.monotonic()
        started = [self._begin(call, call.args) for call in calls]
        return [
            self._ended(call, await _result(each), began)
            for call, each in zip(calls, started, strict=True)
        ]

    async def in_tasks(
        self, request: AggregateRequest, concurrency_max: int, *, finished: Finished | None
    ) -> list[CallResult]:
        """Run each call in a task, once the calls that it needs have ended."""
        slots = asyncio.Semaphore(concurrency_max)
        tasks: dict[str, asyncio.Task[CallResult]] = {}
        gate = asyncio.Event()

        async def one(call: AggregateCall) -> CallResult:
            await gate.wait()
            parents = {name: await asyncio.shield(tasks[name]) for name in call.depends_on}
            async with slots:
                result = await self._one(call, parents)
            if finished is not None:
                await finished(result)
            if request.mode == "strict" and result.problem is not None:
                raise _StrictFailure(result)
            return result

        first: CallResult | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for call in request.calls:
                    tasks[call.name] = group.create_task(one(call))
                gate.set()
        except* _StrictFailure as failures:
            first = _first_result(failures)
        if first is not None:
            return self._cut_short(request, first)
        return [task.result() for task in tasks.values()]

    def _cut_short(self, request: AggregateRequest, failed: CallResult) -> list[CallResult]:
        """Strict mode: the first failure is every other call's reason."""
        cancelled = problem("dependency-failed", f"Cancelled because {failed.call.name!r} failed.")
        now = self._clock.monotonic()
        return [
            failed if call.name == failed.call.name else self._ended(call, cancelled, now)
            for call in request.calls
        ]

    async def _one(self, call: AggregateCall, parents: Mapping[str, CallResult]) -> CallResult:
        began = self._clock.monotonic()
        args = _resolved(call, parents)
        if isinstance(args, Problem):
            return self._ended(call, args, began)
        return self._ended(call, await _result(self._begin(call, args)), began)

    def _begin(self, call: AggregateCall, args: Args) -> CallInFlight | Problem:
        spec = CallSpec(
            service=call.service, method=call.method, args=args, object_value=call.object_value
        )
        prepared = self._calls.prepare(spec, self._identity)
        if isinstance(prepared, Problem):
            return prepared
        timeout_s = self._timeout_s(call, prepared.target.service.timeout_ms)
        if not prepared.method.is_safe:
            return self._calls.begin(prepared, self._identity, timeout_s=timeout_s)
        # Identical reads of one aggregate are one call.
        key = msgspec.json.encode(spec)
        if key not in self._shared:
            self._shared[key] = self._calls.begin(prepared, self._identity, timeout_s=timeout_s)
        return self._shared[key]

    def _timeout_s(self, call: AggregateCall, service_ms: int) -> float:
        own_s = min(call.timeout_ms or service_ms, service_ms) / 1_000
        return max(0.0, min(own_s, self._deadline_s - self._clock.monotonic()))

    def _ended(self, call: AggregateCall, result: Result, began: float) -> CallResult:
        return CallResult(
            call=call,
            value=None if isinstance(result, Problem) else result,
            problem=_relocated(result, call) if isinstance(result, Problem) else None,
            took_ms=(self._clock.monotonic() - began) * 1_000,
        )


class _StrictFailure(Exception):
    def __init__(self, result: CallResult) -> None:
        super().__init__(result.call.name)
        self.result = result


def _first_result(failures: BaseExceptionGroup[_StrictFailure]) -> CallResult:
    """Return the failure that came first, however deep the groups are nested."""
    first = failures.exceptions[0]
    return first.result if isinstance(first, _StrictFailure) else _first_result(first)


async def _result(started: CallInFlight | Problem) -> Result:
    return started if isinstance(started, Problem) else await started.result()


def _resolved(call: AggregateCall, parents: Mapping[str, CallResult]) -> Args | Problem:
    failed = [name for name, parent in parents.items() if parent.problem is not None]
    if failed:
        return problem("dependency-failed", f"The call {failed[0]!r} failed, which this one needs.")
    values = {name: msgspec.json.decode(each.value or b"null") for name, each in parents.items()}
    try:
        args = resolve_references(call.args, values)
    except LookupError as error:
        return problem("dependency-failed", f"A reference leads nowhere: {error}.")
    if not isinstance(args, (list, dict)):
        return problem(
            "dependency-failed", "What `args` points at is neither a list nor an object."
        )
    return args


def _relocated(told: Problem, call: AggregateCall) -> Problem:
    """Make a pointer into the arguments one into the body: `/0` becomes `/args/0` of the call."""
    pointer = told.members.get("pointer")
    if not isinstance(pointer, str):
        return told
    return msgspec.structs.replace(told, members={**told.members, "pointer": f"/args{pointer}"})
