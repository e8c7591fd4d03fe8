"""Where a value that was passed by reference comes from, and how its code runs there again.

A function, an RPC target or a stream may be used by the other side of a call long after the call. Its code
never runs there: it runs as an event of the object that it came from, under that object's gates, or in the
context of the worker that it came from. A function that was handed out inside a critical section comes
back into that section instead of waiting for its end, so a section may await whoever calls back.

A callback begins at once if its object's gate is open and nobody waits before it, and callbacks begin in
the order in which they were made.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Protocol

from dohost.errors import JsException
from dohost.gates import Scope
from dohost.objects.rpc import Reply
from dohost.runtime.turns import (
    NESTING_MAX,
    Sink,
    Turn,
    TurnOwner,
    current_owner,
    current_turn,
)

GONE = "The execution context which hosts this callback is no longer running."

Release = Callable[[], None]
OnReset = Callable[[BaseException], None]


class Hold(Protocol):
    """Keeps an origin until what it returns is called; tells `on_reset` if it is reset before."""

    def __call__(self, on_reset: OnReset | None = None) -> Release: ...


class Origin:
    """An object, or one event of a worker; `hold` keeps it until what it returns is called."""

    __slots__ = ("_context", "_scope", "hold", "owner")

    def __init__(
        self,
        owner: TurnOwner | None,
        *,
        scope: Scope | None = None,
        hold: Hold | None = None,
    ) -> None:
        self.owner = owner
        self._scope = scope
        self._context = contextvars.copy_context() if owner is None else owner.context
        self.hold: Hold = hold or (_hold_nothing if owner is None else owner.hold)

    @classmethod
    def here(cls) -> Origin:
        """Return the origin of the code that runs now."""
        turn = current_turn()
        return cls(current_owner.get(), scope=None if turn is None else turn.scope)

    @property
    def is_gone(self) -> bool:
        """Whether nothing can run here any more."""
        return self.owner is not None and self.owner.gate.broken is not None

    def run(self, entry: Callable[[], object], sink: Sink) -> None:
        """Run `entry` here, as soon as it may, and give `sink` the outcome."""
        if self.owner is not None:
            turn = self.owner.new_turn(entry, sink)
            if self._scope is not None:
                turn.scope = self._scope
            _begin_in_order(turn, self.owner)
            return
        # In a plain task: never as a turn of the object that calls back.
        loop = asyncio.get_running_loop()
        task = asyncio.Task(_run(entry), loop=loop, context=self._context.copy())
        task.add_done_callback(lambda done: settle(done, sink))


class PlainSink:
    """Gives an outcome to the reply as it is."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def returned(self, value: object) -> None:
        self._reply.resolve(value)

    def raised(self, error: BaseException) -> None:
        self._reply.reject(error)


def settle(task: asyncio.Future[object], sink: Sink) -> None:
    """Give `sink` the outcome of a task."""
    error = JsException(GONE) if task.cancelled() else task.exception()
    if error is not None:
        sink.raised(error)
    else:
        sink.returned(task.result())


def release_soon(loop: asyncio.AbstractEventLoop, release: Release) -> None:
    """Call `release` on the loop, from a finalizer, which may run in any thread and after the loop."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(release, context=contextvars.Context())


def _begin_in_order(turn: Turn, owner: TurnOwner) -> None:
    scope = turn.scope.live()
    if scope.waiters or owner.nesting.depth >= NESTING_MAX:
        owner.gate.wait(scope, turn)
    else:
        turn.begin()


async def _run(entry: Callable[[], object]) -> object:
    result = entry()
    return await result if isinstance(result, Awaitable) else result


def _hold_nothing(on_reset: OnReset | None = None) -> Release:
    return _release_nothing


def _release_nothing() -> None:
    pass
