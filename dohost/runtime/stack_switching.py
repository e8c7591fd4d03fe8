"""Synchronous code that waits: `pyodide.ffi.run_sync` on CPython.

A plain function can't suspend, but a stack can be put aside. Handlers and methods of a worker whose source
mentions `run_sync` run on a stack of their own; there, `run_sync` hands what it waits for to the turn,
which suspends as it does at an `await`, gates included, and goes on with the same stack later. Workers
that never mention it pay nothing.

Invariant: a stack is only ever resumed by the coroutine that made it, wherever that is stepped.
"""

from __future__ import annotations

import contextvars
import inspect
import types
from collections.abc import Awaitable, Callable, Generator
from functools import partial, wraps

from greenlet import getcurrent, greenlet
from workers.context import suspend

from dohost.runtime.turns import await_it

ELSEWHERE = (
    "run_sync() waits in handlers and methods that the host called, not in tasks or at import; "
    "use `await` there"
)


def switching(function: Callable[..., object]) -> Callable[..., Awaitable[object]]:
    """Return `function` as one whose code may call `run_sync`."""

    @wraps(function)
    def call(*args: object) -> Awaitable[object]:
        return _run(partial(function, *args))

    return call


@types.coroutine
def _run(entry: Callable[[], object]) -> Generator[object, None, object]:
    stack = greenlet(partial(_finish, entry))
    context = contextvars.copy_context()
    context.run(suspend.set, partial(_wait, stack))
    stack.gr_context = context
    outcome = stack.switch()
    while not stack.dead:
        try:
            yield outcome
        except BaseException as error:  # noqa: BLE001 - goes to whoever waits, a cancellation too
            stack.parent = getcurrent()
            outcome = stack.throw(error)
        else:
            stack.parent = getcurrent()
            outcome = stack.switch()
    return outcome


def _finish(entry: Callable[[], object]) -> object:
    result = entry()
    return _wait(getcurrent(), result) if inspect.isawaitable(result) else result


def _wait(stack: greenlet, awaitable: Awaitable[object]) -> object:
    if getcurrent() is not stack:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError(ELSEWHERE)
    steps = await_it(awaitable)
    error: BaseException | None = None
    while True:
        try:
            waits_for = steps.send(None) if error is None else steps.throw(error)
        except StopIteration as stop:
            return stop.value
        error = None
        try:
            stack.parent.switch(waits_for)
        except BaseException as raised:  # noqa: BLE001 - raised where the awaitable waits
            error = raised
