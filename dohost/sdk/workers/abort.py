"""AbortController and AbortSignal: one side says stop, the other side hears it.

A signal that crossed a call follows the original. Its listeners run in the context in which they were
added, soon after, because whoever aborts may be another object. This file must not know what is aborted.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from functools import partial

from dohost.errors import AbortError, JsException
from workers.values import JsDict, StreamMover, Transferable, clone

ABORTED = "The operation was aborted"
TIMED_OUT = "The operation was aborted due to timeout"

Listener = Callable[[JsDict], object]


class AbortSignal(Transferable):
    """Tells whether, and why, something was aborted."""

    def __init__(self) -> None:
        self.aborted = False
        self.reason: object = None
        self.onabort: Listener | None = None
        self._is_moved = False
        self._listeners: list[tuple[Listener, contextvars.Context]] = []
        self._followers: list[AbortSignal] = []
        self._running: set[asyncio.Future[None]] = set()

    @classmethod
    def abort(cls, reason: object = None) -> AbortSignal:
        """Return a signal that is aborted already."""
        signal = cls()
        signal._abort(_reason(reason))
        return signal

    @classmethod
    def timeout(cls, ms: float) -> AbortSignal:
        """Return a signal that is aborted in `ms` milliseconds."""
        signal = cls()
        reason = JsException(TIMED_OUT, name="TimeoutError")
        asyncio.get_running_loop().call_later(ms / 1000, signal._abort, reason)
        return signal

    @classmethod
    def any(cls, signals: Iterable[AbortSignal]) -> AbortSignal:
        """Return a signal that is aborted with the first of `signals`."""
        joined = cls()
        for signal in signals:
            signal._lead(joined)
        return joined

    def addEventListener(self, kind: str, listener: Listener) -> None:
        """Call `listener` with the event when this is aborted; only "abort" happens here."""
        if kind == "abort":
            self._listeners.append((listener, contextvars.copy_context()))

    def removeEventListener(self, kind: str, listener: Listener) -> None:
        """Undo `addEventListener`."""
        self._listeners = [each for each in self._listeners if each[0] != listener]

    def throwIfAborted(self) -> None:
        """Raises: the reason, if this is aborted."""
        if self.aborted:
            raise as_error(self.reason)

    def transfer(self, streams: StreamMover) -> AbortSignal:
        """Return a signal for the other side of a call that follows this one."""
        twin = AbortSignal()
        twin._is_moved = True
        self._lead(twin)
        return twin

    def __repr__(self) -> str:
        return f"<AbortSignal {'aborted' if self.aborted else 'open'}>"

    def _lead(self, follower: AbortSignal) -> None:
        if self.aborted:
            follower._abort(self.reason)
        else:
            self._followers.append(follower)

    def _abort(self, reason: object) -> None:
        if self.aborted:
            return
        self.aborted = True
        if self._is_moved and not isinstance(reason, BaseException):
            reason = clone(reason)
        self.reason = reason
        event = JsDict(type="abort", target=self)
        listeners, self._listeners = self._listeners, []
        if self.onabort is not None:
            listeners = [(self.onabort, contextvars.copy_context()), *listeners]
        for listener, context in listeners:
            if self._is_moved:
                soon = partial(self._start, listener, event)
                asyncio.get_running_loop().call_soon(soon, context=context)
            else:
                listener(event)
        followers, self._followers = self._followers, []
        for follower in followers:
            follower._abort(reason)

    def _start(self, listener: Listener, event: JsDict) -> None:
        """Call a listener in a task of the context that it was added in, which may be an object's."""

        async def call() -> None:
            listener(event)

        task = asyncio.ensure_future(call())
        self._running.add(task)
        task.add_done_callback(self._running.discard)


class AbortController:
    """Owns a signal: `controller.abort(reason)` aborts it."""

    def __init__(self) -> None:
        self.signal = AbortSignal()

    @classmethod
    def new(cls) -> AbortController:
        return cls()

    def abort(self, reason: object = None) -> None:
        """Abort the signal, once; the reason is an AbortError unless one is given."""
        self.signal._abort(_reason(reason))


def as_error(reason: object) -> BaseException:
    """Return what is raised for a reason."""
    return reason if isinstance(reason, BaseException) else JsException(str(reason))


def _reason(reason: object) -> object:
    return AbortError(ABORTED) if reason is None else reason
