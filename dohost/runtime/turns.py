"""Turns: user code, one step at a time under its object's input gate.

A `Turn` is a task of our own (`custom_task`). It differs from `asyncio.Task` in three ways: before each
step it holds its object's input gate; its first step may run at once, inside the call that caused it, so
that code which never suspends never visits the event loop; and its outcome goes to a `Sink` (the reply
to a call), which decides when it may leave the object.

Each event runs in a copy of its object's own context, so a caller's context variables do not cross
objects. Tasks that user code makes get a turn through `task_factory`, in the scope of the turn that
made them.

Invariants: a step runs only between `gate.enter…` and `gate.leave`; the current task is restored after
every step, also a nested one; a killed turn is closed and never resumed.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import Protocol

from workers.entrypoint import DurableObjectAbort

from dohost.gates import Batch, InputGate, Scope
from dohost.objects.rpc import Reply
from dohost.runtime.custom_task import NEUTRAL, CustomTask, failure_of, swap_current_task

NESTING_MAX = 32
EAGER_STARTS_MAX = 128


class TurnOwner(Protocol):
    """The object whose code a turn runs."""

    loop: asyncio.AbstractEventLoop
    gate: InputGate
    context: contextvars.Context
    turns: dict[Turn, None]
    nesting: Nesting
    # What kind of turn its code runs as: a metered one if it has limits.
    turn_type: type[Turn]

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
    """How many eager first steps stand on one another on the stack of this loop's thread.

    `starts` counts them all: every so often a first step goes by way of the loop, or an object that calls
    another in an endless loop would never let anybody else run.
    """

    __slots__ = ("depth", "starts")

    def __init__(self) -> None:
        self.depth = 0
        self.starts = 0


current_owner: contextvars.ContextVar[TurnOwner | None] = contextvars.ContextVar(
    "dohost_current_owner", default=None
)


class Turn(CustomTask):
    """One event, or one task of user code, of one object."""

    __slots__ = (
        "_entry",
        "_is_killed",
        "_is_stepping",
        "_woken",
        "owner",
        "scope",
        "sink",
    )

    def __init__(
        self,
        owner: TurnOwner,
        entry: Callable[[], object] | None,
        sink: Sink | None,
        context: contextvars.Context,
    ) -> None:
        super().__init__(None, loop=owner.loop, context=context)
        self.owner = owner
        self.scope: Scope = owner.gate.root
        self.sink = sink
        # An event calls its entry at its first step; a task of user code has its coroutine already.
        self._entry = entry
        self._woken: asyncio.Future[object] | None = None
        self._is_killed = False
        self._is_stepping = False
        owner.turns[self] = None

    def adopt(self, coro: Coroutine[object, object, object], parent: Turn | None) -> None:
        """Become a task of user code that `parent` made: run `coro` soon, in the parent's scope."""
        self._coro = coro
        if parent is not None:
            self.scope = parent.scope
        self._register()
        broken = self.owner.gate.broken
        if broken is None:
            self._loop_ref.call_soon(self.begin, context=NEUTRAL)
        else:
            # A timer, or the end of a turn, of an instance that has ended.
            self.kill(broken)

    # Starting and resuming -------------------------------------------------------------------

    def start(self) -> None:
        """Run the first step now if the gate is open for a new event, else queue behind others."""
        gate = self.owner.gate
        nesting = self.owner.nesting
        nesting.starts += 1
        may_be_eager = nesting.starts % EAGER_STARTS_MAX or not nesting.depth
        if may_be_eager and nesting.depth < NESTING_MAX and gate.enter_event():
            self._step(None)
        else:
            gate.wait(self.scope, self)

    def begin(self) -> None:
        """Run the first step of a task that user code made, when the gate is open for its scope."""
        if self._is_killed:
            return
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
        self._step(None if woken is None else failure_of(woken))

    def abandon(self, error: BaseException) -> None:
        """The gate broke while this turn was waiting for it."""
        self.kill(error)

    def _wakeup(self, future: asyncio.Future[object]) -> None:
        if self._is_killed or self.done() or self._fut_waiter is not future:
            return
        self._fut_waiter = None
        gate = self.owner.gate
        if gate.enter(self.scope):
            self._step(failure_of(future))
        else:
            self._woken = future
            gate.wait(self.scope, self)

    # Stepping -------------------------------------------------------------------------------

    def _step(self, error: BaseException | None) -> None:
        if self._must_cancel:
            error = self._due_cancellation(error)
        owner = self.owner
        owner.nesting.depth += 1
        self._is_stepping = True
        is_over = True
        # A turn that suspends awaits this; one that is over returned it.
        value: object = None
        failure: BaseException | None = None
        previous = swap_current_task(self._loop_ref, self)
        try:
            coro = self._coro
            if coro is None:
                value = self._call_entry(error)
                coro = self._coro
            if coro is not None:
                if error is None:
                    value = self._context.run(coro.send, None)
                else:
                    value = self._context.run(coro.throw, error)
                is_over = False
        except StopIteration as stop:
            value = stop.value
        except BaseException as raised:  # noqa: BLE001 - whatever user code raises is the outcome
            failure = raised
        finally:
            swap_current_task(self._loop_ref, previous)
            owner.nesting.depth -= 1
            self._is_stepping = False
            owner.gate.leave()
        if is_over:
            self._end(value, failure)
        elif self._is_killed:
            self._close()
        else:
            self._suspend(value)

    def _call_entry(self, error: BaseException | None) -> object:
        """Call the handler: a plain function is done with that, else its coroutine is `_coro` then."""
        entry, self._entry = self._entry, None
        assert entry is not None, "an event has one until its first step"
        if error is not None:
            raise error
        try:
            result = self._context.run(entry)
        except StopIteration as stop:
            raise RuntimeError("a handler raised StopIteration") from stop
        if type(result) is CoroutineType:
            self._coro = result
        elif inspect.isawaitable(result):
            self._coro = await_it(result)
        return result

    # Ending ---------------------------------------------------------------------------------

    def _end(self, value: object, error: BaseException | None) -> None:
        self._leave()
        if self._is_killed:
            return
        sink = self.sink
        if sink is not None:
            if error is None:
                sink.returned(value)
            else:
                sink.raised(error)
            self._end_cancelled()
        elif error is None:
            self._resolve(value)
        elif isinstance(error, asyncio.CancelledError):
            self._end_cancelled(msg=error.args[0] if error.args else None)
        else:
            self._reject(error)
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
        waiter, self._fut_waiter = self._fut_waiter or self._woken, None
        if waiter is not None:
            waiter.remove_done_callback(self._wakeup)
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()  # Nobody else is going to ask for it.
        if not self._is_stepping:
            self._close()
        sink = self.sink
        if sink is not None:
            sink.raised(error)
        self._end_cancelled()

    def _close(self) -> None:
        """Run the `finally` blocks of code that is dropped; what they raise has nowhere to go."""
        coro = self._coro
        if coro is None:
            return
        previous = swap_current_task(self._loop_ref, self)
        try:
            self._context.run(coro.close)
        except DurableObjectAbort:
            pass
        except BaseException as error:  # noqa: BLE001 - reported: whoever ends an object has more to do
            self._loop_ref.call_exception_handler(
                {
                    "message": "code of a reset Durable Object failed while it was closed",
                    "exception": error,
                }
            )
        finally:
            swap_current_task(self._loop_ref, previous)

    def _leave(self) -> None:
        self.owner.turns.pop(self, None)
        if self._is_registered:
            self._unregister()

    def __repr__(self) -> str:
        return f"<Turn of {self.owner!r} {'done' if self.done() else 'running'}>"


async def await_it(awaitable: Awaitable[object]) -> object:
    return await awaitable


def current_turn(loop: asyncio.AbstractEventLoop | None = None) -> Turn | None:
    """Return the turn that is on the stack, or None outside any object."""
    task: object = asyncio.current_task(loop)
    return task if isinstance(task, Turn) else None
