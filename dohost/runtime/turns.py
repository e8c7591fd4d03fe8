"""Turns: user code, one step at a time under its object's input gate. (Long: a task is one protocol.)

A `Turn` is a task of our own, built on asyncio's documented hooks for custom tasks, so that
`current_task`, `timeout`, `TaskGroup`, `gather` and cancellation work inside it. It differs from
`asyncio.Task` in three ways: before each step it holds its object's input gate; its first step may run
at once, inside the call that caused it, so that code which never suspends never visits the event loop;
and its outcome goes to a `Sink` (the reply to a call), which decides when it may leave the object.

Context: each event runs in a copy of its object's own context, so a caller's context variables do not
cross objects. Host callbacks are scheduled in one neutral context, never in a turn's own, which may be
entered already. Tasks that user code makes get a turn through `task_factory`, in the scope of the turn
that made them.

Invariants: a step runs only between `gate.enter…` and `gate.leave`; the current task is restored after
every step, also a nested one; a killed turn is closed and never resumed.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
from asyncio import tasks as _tasks
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType, FrameType
from typing import Protocol, TextIO

from dohost.gates import Batch, InputGate, Scope
from dohost.objects.rpc import Reply

NESTING_MAX = 32


class TurnOwner(Protocol):
    """The object whose code a turn runs."""

    gate: InputGate
    context: contextvars.Context
    turns: set[Turn]
    nesting: Nesting

    def barrier(self) -> Batch | None:
        """Return what an output that is produced now has to wait for."""
        ...

    def new_turn(self, entry: Callable[[], object], sink: Sink) -> Turn:
        """Make a turn of this object that has not started."""
        ...

    def turn_ended(self) -> None:
        """Note that a turn is over; called after it left `turns`."""
        ...

    def hold(self, on_reset: Callable[[BaseException], None] | None = None) -> Callable[[], None]:
        """Keep the instance from being evicted until the returned function is called."""
        ...

    def answers(self, reply: Reply) -> Sink:
        """Return the sink through which the outcome of a call leaves the object."""
        ...


class Sink(Protocol):
    """Where the outcome of an event goes."""

    def returned(self, value: object) -> None: ...

    def raised(self, error: BaseException) -> None: ...


class Nesting:
    """How many eager first steps stand on one another on the stack of this loop's thread."""

    __slots__ = ("depth",)

    def __init__(self) -> None:
        self.depth = 0


current_owner: contextvars.ContextVar[TurnOwner | None] = contextvars.ContextVar(
    "dohost_current_owner", default=None
)

if sys.version_info >= (3, 12):
    _swap_current_task = _tasks._swap_current_task  # type: ignore[attr-defined] # documented hook, untyped
else:
    # Python 3.11 has no such hook; its enter and leave hooks keep this very mapping.
    _current: dict[asyncio.AbstractEventLoop, object] = _tasks._current_tasks  # type: ignore[attr-defined] # untyped

    def _swap_current_task(loop: asyncio.AbstractEventLoop, task: object) -> object:
        previous = _current.get(loop)
        if task is None:
            _current.pop(loop, None)
        else:
            _current[loop] = task
        return previous


class _Finished(Exception):
    """A plain function returned: its value takes StopIteration's way out of `Context.run`."""


class Turn(asyncio.Future[object]):
    """One event, or one task of user code, of one object."""

    __slots__ = (
        "_cancel_message",
        "_cancel_requests",
        "_context",
        "_coro",
        "_entry",
        "_fut_waiter",
        "_is_killed",
        "_is_registered",
        "_is_stepping",
        "_loop_ref",
        "_must_cancel",
        "_name",
        "_nesting",
        "_woken",
        "owner",
        "scope",
        "sink",
    )

    def __init__(
        self,
        owner: TurnOwner,
        entry: Callable[[], object] | None,
        *,
        nesting: Nesting,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
    ) -> None:
        super().__init__(loop=loop)
        self.owner = owner
        self.scope: Scope = owner.gate.root
        self.sink: Sink | None = None
        self._loop_ref = loop
        self._nesting = nesting
        self._context = context
        # An event calls its entry at its first step; a task of user code has its coroutine already.
        self._entry = entry
        self._coro: Coroutine[object, object, object] | None = None
        self._fut_waiter: asyncio.Future[object] | None = None
        self._woken: asyncio.Future[object] | None = None
        self._must_cancel = False
        self._cancel_message: object = None
        self._cancel_requests = 0
        self._is_killed = False
        self._is_registered = False
        self._is_stepping = False
        self._name: str | None = None
        owner.turns.add(self)

    def adopt(self, coro: Coroutine[object, object, object], parent: Turn | None) -> None:
        """Become a task of user code that `parent` made: run `coro` soon, in the parent's scope."""
        self._coro = coro
        if parent is not None:
            self.scope = parent.scope
        self._register()
        self._loop_ref.call_soon(self.begin, context=NEUTRAL)

    # Starting and resuming -------------------------------------------------------------------

    def start(self) -> None:
        """Run the first step now if the gate is open for a new event, else queue behind others."""
        gate = self.owner.gate
        if self._nesting.depth < NESTING_MAX and gate.enter_event():
            self._step(None)
        else:
            gate.wait(self.scope, self)

    def begin(self) -> None:
        """Run the first step of a task that user code made, when the gate is open for its scope."""
        gate = self.owner.gate
        if gate.enter(self.scope):
            self._step(None)
        else:
            gate.wait(self.scope, self)

    def resume_if_waiting_for(self, reply: Reply) -> None:
        """Continue before every waiter, if it is `reply` that this turn awaits, and it is there."""
        waiter = self._fut_waiter
        if waiter is not None and waiter is reply and waiter.done():
            self._woken = waiter
            self._fut_waiter = None
            self.proceed()

    def proceed(self) -> None:
        """Take the step that was waiting for the gate."""
        if self._is_killed or self.done():
            return
        self.owner.gate.is_busy = True
        woken, self._woken = self._woken, None
        self._step(None if woken is None else _failure(woken))

    def abandon(self, error: BaseException) -> None:
        """The gate broke while this turn was waiting for it."""
        self.kill(error)

    def _wakeup(self, future: asyncio.Future[object]) -> None:
        if self._is_killed or self.done() or self._fut_waiter is not future:
            return
        self._fut_waiter = None
        gate = self.owner.gate
        if gate.enter(self.scope):
            self._step(_failure(future))
        else:
            self._woken = future
            gate.wait(self.scope, self)

    # Stepping -------------------------------------------------------------------------------

    def _step(self, error: BaseException | None) -> None:
        if self._must_cancel:
            if not isinstance(error, asyncio.CancelledError):
                error = self._cancelled_error()
            self._must_cancel = False
        nesting = self._nesting
        nesting.depth += 1
        self._is_stepping = True
        previous = _swap_current_task(self._loop_ref, self)
        try:
            if self._coro is None:
                waits_for = self._context.run(self._call_entry, error)
            elif error is None:
                waits_for = self._context.run(self._coro.send, None)
            else:
                waits_for = self._context.run(self._coro.throw, error)
        except StopIteration as stop:
            outcome: tuple[object, BaseException | None] | None = (stop.value, None)
        except _Finished as finished:
            outcome = (finished.args[0], None)
        except BaseException as raised:  # noqa: BLE001 - whatever user code raises is the outcome
            outcome = (None, raised)
        else:
            outcome = None
        finally:
            _swap_current_task(self._loop_ref, previous)
            nesting.depth -= 1
            self._is_stepping = False
            self.owner.gate.leave()
        if outcome is not None:
            self._end(*outcome)
        elif self._is_killed:
            self._close()
        else:
            self._suspend(waits_for)

    def _call_entry(self, error: BaseException | None) -> object:
        """Call the handler: a plain function is done with that, a coroutine takes its first step."""
        entry, self._entry = self._entry, None
        assert entry is not None
        if error is not None:
            raise error
        try:
            result = entry()
        except StopIteration as stop:
            raise RuntimeError("a handler raised StopIteration") from stop
        if type(result) is CoroutineType:
            self._coro = result
            return result.send(None)
        if inspect.isawaitable(result):
            coro = await_it(result)
            self._coro = coro
            return coro.send(None)
        raise _Finished(result)

    def _suspend(self, waits_for: object) -> None:
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
            waits_for.set_exception(RuntimeError(f"a Durable Object awaited {what}, not a future"))
        elif not blocking:
            text = f"yield was used instead of yield from for {waits_for!r}"
            waits_for = self._loop_ref.create_future()
            waits_for.set_exception(RuntimeError(text))
        waits_for._asyncio_future_blocking = False  # type: ignore[attr-defined] # asyncio's protocol
        self._fut_waiter = waits_for  # type: ignore[assignment] # a future by that protocol
        waits_for.add_done_callback(self._wakeup, context=NEUTRAL)  # type: ignore[attr-defined] # as above
        if self._must_cancel and waits_for.cancel(msg=self._cancel_message):  # type: ignore[attr-defined] # as above
            self._must_cancel = False

    # Ending ---------------------------------------------------------------------------------

    def _end(self, value: object, error: BaseException | None) -> None:
        self._leave()
        sink = self.sink
        if self._is_killed:
            return
        if sink is not None:
            if error is None:
                sink.returned(value)
            else:
                sink.raised(error)
            super().cancel()
        elif error is None:
            super().set_result(value)
        elif isinstance(error, asyncio.CancelledError):
            super().cancel(msg=error.args[0] if error.args else None)
        else:
            super().set_exception(error)
        self.owner.turn_ended()
        # `sys.exit()` ends the event, as any exception does; the host is not the program's to end.
        if isinstance(error, KeyboardInterrupt):
            raise error

    def kill(self, error: BaseException) -> None:
        """End the turn because its object was reset: close its code, never resume it."""
        if self._is_killed or self.done():
            return
        self._is_killed = True
        self._leave()
        waiter, self._fut_waiter = self._fut_waiter, None
        if waiter is not None:
            waiter.remove_done_callback(self._wakeup)
            waiter.cancel()
        if not self._is_stepping:
            self._close()
        sink = self.sink
        if sink is not None:
            sink.raised(error)
        super().cancel()

    def _close(self) -> None:
        """Run the `finally` blocks of code that is dropped; what they raise has nowhere to go."""
        coro = self._coro
        if coro is None:
            return
        previous = _swap_current_task(self._loop_ref, self)
        try:
            self._context.run(coro.close)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - reported, not raised
            self._loop_ref.call_exception_handler(
                {
                    "message": "code of a reset Durable Object failed while it was closed",
                    "exception": error,
                }
            )
        finally:
            _swap_current_task(self._loop_ref, previous)

    def _register(self) -> None:
        self._is_registered = True
        _tasks._register_task(self)  # type: ignore[arg-type] # a Turn is a task by protocol

    def _leave(self) -> None:
        self.owner.turns.discard(self)
        if self._is_registered:
            self._is_registered = False
            _tasks._unregister_task(self)  # type: ignore[arg-type] # a Turn is a task by protocol

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
        return self._name or f"Turn-{id(self):x}"

    def set_name(self, value: object) -> None:
        self._name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        frame = getattr(self._coro, "cr_frame", None)
        return [frame] if isinstance(frame, FrameType) else []

    def print_stack(self, *, limit: int | None = None, file: TextIO | None = None) -> None:
        for frame in self.get_stack(limit=limit):
            print(f"  File {frame.f_code.co_filename}, line {frame.f_lineno}", file=file)

    def set_result(self, result: object) -> None:
        raise RuntimeError("A turn sets its own result")

    def set_exception(self, exception: object) -> None:
        raise RuntimeError("A turn sets its own exception")

    def _cancelled_error(self) -> asyncio.CancelledError:
        message = self._cancel_message
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    def __repr__(self) -> str:
        return f"<Turn of {self.owner!r} {'done' if self.done() else 'running'}>"


NEUTRAL = contextvars.Context()


def _failure(future: asyncio.Future[object]) -> BaseException | None:
    if future.cancelled():
        try:
            future.result()
        except asyncio.CancelledError as error:
            return error
    return future.exception()


async def await_it(awaitable: Awaitable[object]) -> object:
    return await awaitable


def current_turn(loop: asyncio.AbstractEventLoop | None = None) -> Turn | None:
    """Return the turn that is on the stack, or None outside any object."""
    task: object = asyncio.current_task(loop)
    return task if isinstance(task, Turn) else None
