"""The gates: the theory of the whole host.

An object's code runs in *turns*. A turn is user code from the moment it is resumed until it really
suspends; Python runs it synchronously, so two turns of one object never overlap by themselves. Two
promises remain to be kept, and each has a gate.

**Input gate**: what may *begin*. Every turn starts by passing the gate of its object. The gate is
closed while a turn of that object is on the stack (a call that came back to its caller's object would
otherwise run in the middle of it), and, for everybody outside, while a critical section runs
(`blockConcurrencyWhile`, `transaction`). Scopes form a stack: the root, and each running section on
top of the one in which it was started. Only turns that belong to the topmost scope pass; the others
wait, in order, in the queue of their own scope. Sections that are ready to start go before waiting
turns. What a finished section leaves behind (tasks that outlive it) moves to the scope below.

**Output gate**: what may *leave*. The writes of one event-loop iteration are one commit, and a commit is
a `Batch` here: not durable, then durable or failed. Whatever leaves the object (a result, an error, a
response, an outgoing call) names the last batch with confirmed writes at the time it was produced and
waits for it. Nothing waits for a batch that was opened later.

A gate that is broken stays broken: its first error answers every later use.

Invariants: (1) at most one turn of an object is on the stack; (2) waiters of one scope pass in the
order in which they came; (3) a batch's callbacks run once, in the order in which they were added;
(4) a broken gate admits nobody; (5) a callback that raises keeps no other from being called. This file
knows nothing of asyncio, SQLite or users' classes; it calls back through `GateWaiter` and plain
callables, and is scheduled through the injected `schedule`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

SECTION_DEPTH_MAX = 64


class GateWaiter(Protocol):
    """What waits at an input gate: a turn, or a section that is ready to start."""

    def proceed(self) -> None:
        """Pass the gate now; called once, when the gate is open for this waiter."""
        ...

    def abandon(self, error: BaseException) -> None:
        """Give up: the gate broke with `error`."""
        ...


class Scope:
    """The root of an object's turns, or one running critical section."""

    __slots__ = ("depth", "is_ended", "parent", "starts", "waiters")

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.is_ended = False
        self.waiters: deque[GateWaiter] = deque()
        self.starts: deque[GateWaiter] = deque()

    def live(self) -> Scope:
        """Return this scope, or the nearest one below it that has not ended."""
        scope = self
        while scope.is_ended:
            assert scope.parent is not None, "the root scope never ends"
            scope = scope.parent
        return scope


class InputGate:
    """Decides which turn of one object may run next."""

    __slots__ = ("_drain_scheduled", "_schedule", "broken", "current", "is_busy", "root")

    def __init__(self, schedule: Callable[[Callable[[], None]], object]) -> None:
        self._schedule = schedule
        self._drain_scheduled = False
        self.root = Scope()
        self.current = self.root
        self.is_busy = False
        self.broken: BaseException | None = None

    def __repr__(self) -> str:
        state = "broken" if self.broken else "busy" if self.is_busy else "open"
        return f"<InputGate {state}, section depth {self.current.depth}, {self.waiting()} waiting>"

    def waiting(self) -> int:
        """Return how many waiters stand at this gate, in all scopes."""
        count = 0
        scope: Scope | None = self.current
        while scope is not None:
            count += len(scope.waiters) + len(scope.starts)
            scope = scope.parent
        return count

    def enter_event(self) -> bool:
        """Enter for a new event, unless it has to queue; an event never overtakes a waiter."""
        root = self.root
        if self.is_busy or self.current is not root or root.waiters or root.starts:
            return False
        self.is_busy = True
        return True

    def enter(self, scope: Scope) -> bool:
        """Enter for the continuation of a turn that belongs to `scope`, unless it has to queue."""
        if self.is_busy or scope.live() is not self.current or self.current.starts:
            return False
        self.is_busy = True
        return True

    def leave(self) -> None:
        """End the turn that entered last."""
        self.is_busy = False
        current = self.current
        if current.waiters or current.starts:
            self.schedule_drain()

    def wait(self, scope: Scope, waiter: GateWaiter) -> None:
        """Queue `waiter`; it proceeds when the gate is open for `scope`."""
        if self.broken is not None:
            waiter.abandon(self.broken)
            return
        live = scope.live()
        live.waiters.append(waiter)
        if live is self.current and not self.is_busy:
            self.schedule_drain()

    def wait_start(self, scope: Scope, waiter: GateWaiter) -> None:
        """Queue a section that wants to start on top of `scope`; it goes before waiting turns."""
        live = scope.live()
        live.starts.append(waiter)
        if live is self.current and not self.is_busy:
            self.schedule_drain()

    def begin_section(self, parent: Scope) -> Scope:
        """Close the gate for everybody but the new section's own turns, and return its scope."""
        assert parent.live() is self.current, "a section starts on top of the running scope"
        self.current = Scope(self.current)
        return self.current

    def end_section(self, section: Scope) -> None:
        """Reopen the gate for the scope below; what still waits in `section` waits there."""
        assert section is self.current, "sections end innermost first"
        assert section.parent is not None
        section.is_ended = True
        self.current = below = section.parent
        below.waiters.extendleft(reversed(section.waiters))
        below.starts.extendleft(reversed(section.starts))
        section.waiters.clear()
        section.starts.clear()
        if not self.is_busy and (below.waiters or below.starts):
            self.schedule_drain()

    def break_with(self, error: BaseException) -> None:
        """Admit nobody any more; every waiter gives up with the first error."""
        if self.broken is not None:
            return
        self.broken = error
        scope: Scope | None = self.current
        waiters: list[GateWaiter] = []
        while scope is not None:
            waiters += [*scope.starts, *scope.waiters]
            scope.starts.clear()
            scope.waiters.clear()
            scope = scope.parent
        for waiter in waiters:
            waiter.abandon(error)

    def schedule_drain(self) -> None:
        """Let waiters pass soon, outside the turn that is on the stack."""
        if not self._drain_scheduled:
            self._drain_scheduled = True
            self._schedule(self._drain)

    def _drain(self) -> None:
        self._drain_scheduled = False
        # One round for those who wait now: a queue that refills itself must not starve the loop.
        for _ in range(len(self.current.waiters) + len(self.current.starts)):
            current = self.current
            if self.is_busy or self.broken is not None:
                return
            queue = current.starts or current.waiters
            if not queue:
                return
            queue.popleft().proceed()
        if not self.is_busy and (self.current.starts or self.current.waiters):
            self.schedule_drain()


Durable = Callable[[BaseException | None], None]


class Batch:
    """Writes that become durable together; `is_confirmed` says whether outputs wait for them."""

    __slots__ = (
        "_callbacks",
        "_patient_callbacks",
        "error",
        "is_confirmed",
        "is_done",
        "is_given_up",
    )

    def __init__(self) -> None:
        self.is_confirmed = False
        self.is_done = False
        self.is_given_up = False
        self.error: BaseException | None = None
        self._callbacks: list[Durable] = []
        self._patient_callbacks: list[Durable] | None = None

    def add_callback(self, callback: Durable) -> None:
        """Call `callback(error or None)` when the outcome is known; at once if it is."""
        if self.is_done:
            callback(self.error)
        else:
            self._callbacks.append(callback)

    def when_done(self, callback: Durable) -> None:
        """Call `callback(error or None)` when the outcome is known, and not when others give up."""
        if self.is_done:
            callback(self.error)
        elif self._patient_callbacks is None:
            self._patient_callbacks = [callback]
        else:
            self._patient_callbacks.append(callback)

    def give_up(self, error: BaseException) -> None:
        """Tell everybody who waits now that it takes too long; what comes later waits for the outcome."""
        self.is_given_up = True
        callbacks, self._callbacks = self._callbacks, []
        _tell(callbacks, error)

    def finish(self, error: BaseException | None) -> None:
        """Record the outcome, once, and tell everybody in order."""
        if self.is_done:
            return
        self.is_done = True
        self.error = error
        callbacks, self._callbacks = self._callbacks, []
        if self._patient_callbacks is not None:
            callbacks += self._patient_callbacks
            self._patient_callbacks = None
        _tell(callbacks, error)


def _tell(callbacks: list[Durable], error: BaseException | None) -> None:
    """Call all, in order, and raise the first exception when that is done."""
    failure: Exception | None = None
    for callback in callbacks:
        try:
            callback(error)
        except Exception as raised:  # noqa: BLE001 - raised below
            failure = failure or raised
    if failure is not None:
        raise failure


class OutputGate:
    """Names the batch that whatever leaves the object now has to wait for."""

    __slots__ = ("_beside", "_latest", "broken")

    def __init__(self) -> None:
        self._latest: Batch | None = None
        self._beside: list[Batch] = []
        self.broken: BaseException | None = None

    def lock(self, batch: Batch) -> None:
        """Make outputs from now on wait for `batch`, which holds a confirmed write."""
        self._latest = batch

    def lock_beside(self, batch: Batch) -> None:
        """Make outputs wait for `batch` as well, which is no commit of this object's own file."""
        self._beside.append(batch)

    def barrier(self) -> Batch | None:
        """Return the batch to wait for, or None if everything confirmed so far is durable."""
        latest = self._latest
        if latest is not None and latest.is_done and latest.error is None:
            self._latest = latest = None
        return self._with_beside(latest) if self._beside else latest

    def _with_beside(self, latest: Batch | None) -> Batch | None:
        """Return what is done when `latest` and all beside it are, and fails with the first that fails."""
        self._beside = [batch for batch in self._beside if not batch.is_done]
        if not self._beside:
            return latest
        every = [*self._beside] if latest is None else [latest, *self._beside]
        both, left = Batch(), len(every)

        def done(error: BaseException | None) -> None:
            nonlocal left
            left -= 1
            if error is not None or not left:
                both.finish(error)

        for batch in every:
            batch.add_callback(done)
        return both

    def break_with(self, error: BaseException) -> None:
        """Let nothing leave any more: every later output is answered with the first error."""
        if self.broken is None:
            self.broken = error
            self._beside = []
            failed = Batch()
            failed.finish(error)
            self._latest = failed
