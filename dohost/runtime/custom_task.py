"""Tasks of our own: what asyncio expects of any task, apart from when and where it is stepped.

`CustomTask` stands on asyncio's documented hooks for custom tasks, so that `current_task`, `timeout`,
`TaskGroup`, `gather` and cancellation work inside one as inside `asyncio.Task`. A subclass decides how a
step is taken: `_wakeup` is called when what the code awaits is done, `_suspend` notes what it awaits.

Callbacks are scheduled in one neutral context, never in a task's own, which may be entered already.
A task enters `all_tasks` at its first suspension: one that never suspends never pays for that.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from asyncio import tasks as _tasks
from collections.abc import Coroutine
from types import FrameType
from typing import TextIO

NEUTRAL = contextvars.Context()

if sys.version_info >= (3, 12):
    swap_current_task = _tasks._swap_current_task  # type: ignore[attr-defined] # documented hook, untyped
else:
    # Python 3.11 has no such hook; its enter and leave hooks keep this very mapping.
    _current: dict[asyncio.AbstractEventLoop, object] = _tasks._current_tasks  # type: ignore[attr-defined] # untyped

    def swap_current_task(loop: asyncio.AbstractEventLoop, task: object) -> object:
        previous = _current.get(loop)
        if task is None:
            _current.pop(loop, None)
        else:
            _current[loop] = task
        return previous


class CustomTask(asyncio.Future[object]):
    """The Task API, and the protocol between a task and the futures that it awaits."""

    __slots__ = (
        "_cancel_message",
        "_cancel_requests",
        "_context",
        "_coro",
        "_fut_waiter",
        "_is_registered",
        "_loop_ref",
        "_must_cancel",
        "_name",
    )

    def __init__(
        self,
        coro: Coroutine[object, object, object] | None,
        *,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
    ) -> None:
        super().__init__(loop=loop)
        self._coro = coro
        self._context = context
        self._loop_ref = loop
        self._fut_waiter: asyncio.Future[object] | None = None
        self._must_cancel = False
        self._cancel_message: object = None
        self._cancel_requests = 0
        self._is_registered = False
        self._name: str | None = None

    # How a task ends itself; from outside these names refuse or only request.
    _resolve = asyncio.Future.set_result
    _reject = asyncio.Future.set_exception
    _end_cancelled = asyncio.Future.cancel

    # Suspending -----------------------------------------------------------------------------

    def _wakeup(self, future: asyncio.Future[object]) -> None:
        """Go on, now or later: `future`, which the code awaits, is done."""
        raise AssertionError("each kind of task has its own")

    def _suspend(self, waits_for: object) -> None:
        """Note what the code awaits; called after a step that did not end it."""
        if not self._is_registered:
            self._register()
        blocking = getattr(waits_for, "_asyncio_future_blocking", None)
        if waits_for is None:
            # `asyncio.sleep(0)`: let others run, then go on.
            waits_for = self._loop_ref.create_future()
            waits_for.set_result(None)
        elif blocking is None or waits_for is self:
            what = "itself" if waits_for is self else repr(waits_for)
            waits_for = self._loop_ref.create_future()
            waits_for.set_exception(RuntimeError(f"a task awaited {what}, not a future"))
        elif not blocking:
            text = f"yield was used instead of yield from for {waits_for!r}"
            waits_for = self._loop_ref.create_future()
            waits_for.set_exception(RuntimeError(text))
        waits_for._asyncio_future_blocking = False  # type: ignore[attr-defined] # asyncio's protocol
        self._fut_waiter = waits_for  # type: ignore[assignment] # a future by that protocol
        waits_for.add_done_callback(self._wakeup, context=NEUTRAL)  # type: ignore[attr-defined] # as above
        if self._must_cancel and waits_for.cancel(msg=self._cancel_message):  # type: ignore[attr-defined] # as above
            self._must_cancel = False

    def _register(self) -> None:
        self._is_registered = True
        _tasks._register_task(self)  # type: ignore[arg-type] # a task by protocol

    def _unregister(self) -> None:
        if self._is_registered:
            self._is_registered = False
            _tasks._unregister_task(self)  # type: ignore[arg-type] # a task by protocol

    def _due_cancellation(self, error: BaseException | None) -> BaseException | None:
        """Return what the next step throws when a cancellation is due, in the place of `error`."""
        self._must_cancel = False
        if isinstance(error, asyncio.CancelledError):
            return error
        message = self._cancel_message
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    # The Task API ---------------------------------------------------------------------------

    def cancel(self, msg: object = None) -> bool:
        """Request cancellation, as `asyncio.Task.cancel` does."""
        if self.done():
            return False
        self._cancel_requests += 1
        if self._fut_waiter is not None and self._fut_waiter.cancel(msg=msg):
            return True
        self._must_cancel = True
        self._cancel_message = msg
        return True

    @property
    def awaited(self) -> asyncio.Future[object] | None:
        """What this task waits for, or None while it runs or waits for its turn."""
        return self._fut_waiter

    def cancelling(self) -> int:
        """Return how many cancellations were requested and not undone."""
        return self._cancel_requests

    def uncancel(self) -> int:
        """Undo one request; at zero a cancellation that was not delivered yet is dropped."""
        if self._cancel_requests > 0:
            self._cancel_requests -= 1
            if self._cancel_requests == 0:
                self._must_cancel = False
        return self._cancel_requests

    def get_coro(self) -> object:
        return self._coro

    def get_context(self) -> contextvars.Context:
        return self._context

    def get_name(self) -> str:
        return self._name or f"{type(self).__name__}-{id(self):x}"

    def set_name(self, value: object) -> None:
        self._name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        frame = getattr(self._coro, "cr_frame", None)
        return [frame] if isinstance(frame, FrameType) else []

    def print_stack(self, *, limit: int | None = None, file: TextIO | None = None) -> None:
        for frame in self.get_stack(limit=limit):
            print(f"  File {frame.f_code.co_filename}, line {frame.f_lineno}", file=file)

    def set_result(self, result: object) -> None:
        raise RuntimeError("A task sets its own result")

    def set_exception(self, exception: object) -> None:
        raise RuntimeError("A task sets its own exception")


def failure_of(future: asyncio.Future[object]) -> BaseException | None:
    """Return what an await of `future`, which is done, raises; None if it does not raise."""
    if future.cancelled():
        try:
            future.result()
        except asyncio.CancelledError as error:
            return error
    return future.exception()
