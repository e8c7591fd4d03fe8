"""Faults that tests ask for: calls that are refused, lost or late, and commits that fail.

Each fault belongs to one object and happens a given number of times. The errors are the ones that
Cloudflare's network raises, with its flags, so the code that handles them can be tried. A stub whose
connection was lost stays broken, as there: a retry has to get a new one.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from workers import Request, Response

from dohost.errors import DohostError, JsException, StorageFailure
from dohost.objects.rpc import Reply
from dohost.objects.stub import Dispatcher, DurableObjectStub
from dohost.runtime.catalog import ObjectKey

DISCONNECTED = "Network connection lost."
FULL = "database or disk is full: SQLITE_FULL"
IO_ERROR = "disk I/O error: SQLITE_IOERR"

Address = tuple[str, str]
Start = Callable[[], Awaitable[object]]
# What a fault does to a call: it settles the reply, and delivers the call by `start` or does not.
Effect = Callable[[Start, Reply], None]
Content = TypeVar("Content")


class Fault:
    """One fault of one object; as a context manager it is lifted at the end of the block."""

    def __init__(self, description: str, *, times: int | None) -> None:
        self.description = description
        self.times = times
        self.count = 0
        self._is_lifted = False

    @property
    def is_over(self) -> bool:
        """Whether it will not happen any more."""
        return self._is_lifted or self.count == self.times

    def lift(self) -> None:
        """Let it not happen any more."""
        self._is_lifted = True

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lift()

    def __repr__(self) -> str:
        planned = "always" if self.times is None else f"{self.times} planned"
        state = ", over" if self.is_over else ""
        return f"<Fault {self.description}: {planned}, {self.count} happened{state}>"


def disconnected() -> JsException:
    """Return the error of a connection that broke; the call may be retried, on a new stub."""
    error = JsException(DISCONNECTED)
    error.retryable = True
    return error


def refused(make_error: Callable[[], BaseException]) -> Effect:
    """The call does not arrive."""
    return lambda start, reply: reply.reject(make_error())


def answer_lost(make_error: Callable[[], BaseException]) -> Effect:
    """The call arrives and runs; its caller hears only of the error."""

    def apply(start: Start, reply: Reply) -> None:
        def answered(call: asyncio.Future[object]) -> None:
            if not call.cancelled():
                # Asked for, so that asyncio does not report it as forgotten.
                call.exception()
            reply.reject(make_error())

        asyncio.ensure_future(start()).add_done_callback(answered)

    return apply


def late(seconds: float) -> Effect:
    """The call arrives after `seconds` of the loop's time, which `advance` skips."""

    def apply(start: Start, reply: Reply) -> None:
        def answered(call: asyncio.Future[object]) -> None:
            if call.cancelled():
                reply.cancel()
                return
            error = call.exception()
            if error is None:
                reply.resolve(call.result())
            else:
                reply.reject(error)

        def arrive() -> None:
            try:
                call = start()
            except (DohostError, TypeError) as error:
                # Arguments that can't cross; the call would have raised this at once.
                reply.reject(error)
            else:
                asyncio.ensure_future(call).add_done_callback(answered)

        asyncio.get_running_loop().call_later(seconds, arrive)

    return apply


class FaultPlan:
    """The faults of one host; implements the runtime's `Faults`."""

    def __init__(self) -> None:
        self._calls: dict[Address, list[tuple[Fault, Effect]]] = {}
        self._commits: dict[Address, list[tuple[Fault, str]]] = {}

    def plan_call(self, address: Address, fault: Fault, effect: Effect) -> Fault:
        """Let `fault` happen to the next calls of an object, after those that were planned before."""
        self._calls.setdefault(address, []).append((fault, effect))
        return fault

    def plan_commit(self, address: Address, fault: Fault, message: str) -> Fault:
        """Let the next commits of an object fail with `message`."""
        self._commits.setdefault(address, []).append((fault, message))
        return fault

    def between(self, unique_key: str, objects: Dispatcher) -> Dispatcher:
        """Return what the stubs of a namespace call instead of its objects."""
        return FaultyDispatcher(self, unique_key, objects)

    def before_commit(self, key: ObjectKey) -> None:
        """Raise what the commit of an object is to fail with, if it is to fail."""
        message = _take(self._commits.get(key.address))
        if message is not None:
            if message == FULL:
                raise StorageFailure(message, outcome="not-applied", is_full=True)
            raise StorageFailure(message, outcome="unknown")

    def take_call(self, address: Address) -> Effect | None:
        """Return what happens to the next call of an object, if anything."""
        return _take(self._calls.get(address))


def _take(planned: list[tuple[Fault, Content]] | None) -> Content | None:
    while planned:
        fault, content = planned[0]
        if not fault.is_over:
            fault.count += 1
            return content
        planned.pop(0)
    return None


class FaultyDispatcher:
    """Delivers the calls of one namespace's stubs, with the faults that are planned."""

    def __init__(self, plan: FaultPlan, unique_key: str, objects: Dispatcher) -> None:
        self._plan = plan
        self._objects = objects
        self.unique_key = unique_key
        # By identity: equal stubs are two connections.
        self._broken: dict[int, JsException] = {}

    def call(
        self, stub: DurableObjectStub, method: str, args: tuple[object, ...]
    ) -> Awaitable[object]:
        """Start an RPC call now, or let a fault have it."""
        effect = self._effect(stub)
        if effect is None:
            return self._objects.call(stub, method, args)
        return self._apply(stub, effect, lambda: self._objects.call(stub, method, args))

    def fetch(self, stub: DurableObjectStub, request: Request) -> Awaitable[Response]:
        """Start a fetch now, or let a fault have it."""
        effect = self._effect(stub)
        if effect is None:
            return self._objects.fetch(stub, request)
        reply = self._apply(stub, effect, lambda: self._objects.fetch(stub, request))
        return reply  # type: ignore[return-value] # what fetch resolves to

    def _effect(self, stub: DurableObjectStub) -> Effect | None:
        broken = self._broken.get(id(stub))
        if broken is not None:
            return refused(lambda: broken)
        return self._plan.take_call((self.unique_key, stub.id.toString()))

    def _apply(self, stub: DurableObjectStub, effect: Effect, start: Start) -> Reply:
        reply = Reply(loop=asyncio.get_running_loop())
        effect(start, reply)
        if reply.done():
            # At once: the next call may follow without a trip through the loop.
            self._break_if_disconnected(stub, reply)
        else:
            reply.add_done_callback(lambda reply: self._break_if_disconnected(stub, reply))
        return reply

    def _break_if_disconnected(
        self, stub: DurableObjectStub, reply: asyncio.Future[object]
    ) -> None:
        error = None if reply.cancelled() else reply.exception()
        if isinstance(error, JsException) and error.retryable and id(stub) not in self._broken:
            self._broken[id(stub)] = error
            weakref.finalize(stub, self._broken.pop, id(stub), None)
