"""Functions and stubs as arguments and results of calls: passed by reference, called back.

A function that crosses becomes a `RemoteFunction`. Calling it runs the original as an event of the
object that it came from, in the scope in which it was passed: a callback that was handed out inside a
critical section comes back into that section instead of waiting for its end.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType

from workers.values import RPC_REFUSAL, ByReference, clone

from dohost.errors import DataCloneError, JsException
from dohost.objects.rpc import Reply, to_remote_error
from dohost.runtime.turns import NEUTRAL, current_owner, current_turn

GONE = "The execution context which hosts this callback is no longer running."


class RemoteFunction(ByReference):
    """A function of another object, or of a worker; calling it returns an awaitable."""

    __slots__ = ("_context", "_function", "_owner", "_scope")

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._owner = current_owner.get()
        self._context = contextvars.copy_context()
        current = current_turn()
        self._scope = None if current is None else current.scope

    def __call__(self, *args: object) -> Awaitable[object]:
        copies = [clone(value, wrap=wrap_for_call) for value in args]
        owner = self._owner
        loop = asyncio.get_running_loop()
        reply = Reply(loop=loop)
        sink = _CallbackSink(reply)
        if owner is None:
            # In the context that it came from, and never as a turn of the object that calls it.
            coro = _run(self._function, copies)
            task = asyncio.Task(coro, loop=loop, context=self._context.copy())
            task.add_done_callback(sink.finished)
        elif owner.gate.broken is not None:
            reply.reject(JsException(GONE))
        else:
            turn = owner.new_turn(lambda: self._function(*copies), sink)
            if self._scope is not None:
                turn.scope = self._scope
            loop.call_soon(turn.begin, context=NEUTRAL)
        return reply


def wrap_for_call(value: object) -> object:
    """Return what stands for `value` on the other side of a call; refuses what can't be passed."""
    if isinstance(value, (FunctionType, MethodType, BuiltinFunctionType, partial)):
        return RemoteFunction(value)
    if isinstance(value, ByReference):
        return value
    raise DataCloneError(RPC_REFUSAL)


async def _run(function: Callable[..., object], args: list[object]) -> object:
    result = function(*args)
    return await result if isinstance(result, Awaitable) else result


class _CallbackSink:
    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def returned(self, value: object) -> None:
        try:
            self._reply.resolve(clone(value, wrap=wrap_for_call))
        except Exception as error:  # noqa: BLE001 - a value that can't cross is the caller's error
            self.raised(error)

    def raised(self, error: BaseException) -> None:
        self._reply.reject(to_remote_error(error, None))

    def finished(self, task: asyncio.Future[object]) -> None:
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            self._reply.reject(JsException(GONE))
        elif error is not None:
            self.raised(error)
        else:
            self.returned(task.result())
