"""Critical sections: `blockConcurrencyWhile` and `transaction` on top of the input gate.

A section is requested by a turn and starts when the gate is open for the scope of that turn, before
any waiting event. Its callback runs as a turn in a scope of its own; when it ends, the turn that asked
for it goes on first. A section that fails, that lasts longer than 30 s or that awaits a task which it
keeps out itself resets the object; a transaction gives its failure to its caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dohost.errors import JsException
from dohost.gates import SECTION_DEPTH_MAX, Scope
from dohost.objects.rpc import Reply
from dohost.runtime.turns import Turn, TurnOwner, current_turn

SECTION_TIMEOUT_S = 30.0
DEADLOCK_LOOK_S = 1.0
DEADLOCK = (
    "A critical section within this Durable Object awaited a Promise that apparently will never "
    "complete. This could happen in particular if a critical section awaits a task that was initiated "
    "outside of the critical section. Since a critical section blocks all other tasks from completing, "
    "this leads to deadlock."
)


class SectionOwner(TurnOwner, Protocol):
    """An object that can be reset."""

    loop: asyncio.AbstractEventLoop

    def reset(self, error: BaseException) -> None:
        """Drop the instance; every call in flight gets `error`."""
        ...


class Section:
    """One critical section, from request to end."""

    __slots__ = (
        "_callback",
        "_caller",
        "_deadline_s",
        "_owner",
        "_parent",
        "_resets",
        "_scope",
        "_timer",
        "_turn",
        "reply",
    )

    def __init__(
        self, owner: SectionOwner, callback: Callable[[], object], *, resets: bool
    ) -> None:
        current = current_turn(owner.loop)
        self._caller = current if current is not None and current.owner is owner else None
        self._parent: Scope = owner.gate.root if self._caller is None else self._caller.scope.live()
        if self._parent.depth >= SECTION_DEPTH_MAX:
            raise JsException("blockConcurrencyWhile() calls are nested too deeply.")
        self._owner = owner
        self._callback = callback
        self._resets = resets
        self._scope: Scope | None = None
        self._turn: Turn | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        self.reply = Reply(loop=owner.loop)
        owner.gate.wait_start(self._parent, self)

    def proceed(self) -> None:
        """Start: the gate is open for the scope that the section stands on."""
        owner = self._owner
        self._scope = owner.gate.begin_section(self._parent)
        self._turn = turn = owner.new_turn(self._callback, self)
        turn.scope = self._scope
        self._deadline_s = owner.loop.time() + SECTION_TIMEOUT_S
        self._timer = owner.loop.call_later(DEADLOCK_LOOK_S, self._look)
        turn.proceed()

    def abandon(self, error: BaseException) -> None:
        """The object was reset before the section could start."""
        self._drop(error)

    def returned(self, value: object) -> None:
        """End, and let the caller go on before anybody who waits."""
        self._end()
        self.reply.resolve(value)
        self._resume_caller()

    def raised(self, error: BaseException) -> None:
        """Fail: reset the object, or (a transaction) give the error to the caller."""
        if self._owner.gate.broken is not None:
            self._stop_timer()
            self._drop(error)
            return
        if self._resets:
            self._stop_timer()
            self._owner.reset(error)
            return
        self._end()
        self.reply.reject(error)
        self._resume_caller()

    def _end(self) -> None:
        self._stop_timer()
        assert self._scope is not None, "a section that ends was started"
        gate = self._owner.gate
        while gate.current is not self._scope:
            # A nested section that nobody awaited outlives this one; it goes on in the scope below.
            gate.end_section(gate.current)
        gate.end_section(self._scope)

    def _drop(self, error: BaseException) -> None:
        """Fail with the whole object; who asked for the section hears of it by other ways, if at all."""
        self.reply.reject(error)
        if not self.reply.cancelled():
            self.reply.exception()

    def _resume_caller(self) -> None:
        caller = self._caller
        if caller is not None and not caller.done() and not self._owner.gate.is_busy:
            caller.resume_if_waiting_for(self.reply)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """End a section that lasts too long, or that waits for what it keeps from going on."""
        loop = self._owner.loop
        if self._awaits_outside():
            self._owner.reset(JsException(DEADLOCK))
        elif loop.time() >= self._deadline_s:
            self._time_out()
        else:
            self._timer = loop.call_later(DEADLOCK_LOOK_S, self._look)

    def _awaits_outside(self) -> bool:
        """Return whether the section awaits a task of its object that stands outside its scope."""
        awaited: asyncio.Future[object] | None = self._turn
        while isinstance(awaited, Turn) and awaited.owner is self._owner:
            scope: Scope | None = awaited.scope.live()
            while scope is not None and scope is not self._scope:
                scope = scope.parent
            if scope is None:
                return True
            awaited = awaited.awaited
        return False

    def _time_out(self) -> None:
        error = JsException(
            "A call to blockConcurrencyWhile() in a Durable Object waited for too long. "
            "The call was canceled and the Durable Object was reset."
        )
        error.overloaded = True
        self._owner.reset(error)
