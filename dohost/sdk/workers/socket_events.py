"""Standard WebSockets: the event listeners of an end that was accepted with `accept()`.

Each frame becomes one event; a host runs it as an event of whatever accepted the socket. Where there is no
host, `LocalSockets` runs listeners in tasks of its own, in the context in which the socket was accepted,
whoever sent the frame.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Protocol

from dohost.errors import JsException
from workers.context import current_sockets
from workers.socket_end import Close, End, Failed, Frame, FrameGate
from workers.values import ArrayBuffer, JsDict

Handle = Callable[[], Coroutine[object, object, None]]


class SocketHost(FrameGate, Protocol):
    """What a host does for the standard sockets of the code that it runs.

    `replies_to_close`: whether a close frame is answered before its event.
    """

    replies_to_close: bool

    def accepted(self, end: End) -> None:
        """Keep what runs the listeners of `end` until `closed`."""
        ...

    def closed(self, end: End) -> None: ...

    def dispatch(self, handle: Handle, context: Context) -> None:
        """Call `handle` as an event of its own, in order, and await what it returns."""
        ...


class Listeners:
    """The event listeners of one end, and the sink of its frames."""

    __slots__ = ("_by_kind", "_context", "_end", "_host")

    def __init__(self, end: End) -> None:
        self._end = end
        self._by_kind: dict[str, list[Callable[..., object]]] = {}
        self._context: Context | None = None
        self._host: SocketHost | None = None

    def add(self, kind: str, listener: Callable[..., object]) -> None:
        listeners = self._by_kind.setdefault(kind, [])
        if listener not in listeners:
            listeners.append(listener)

    def remove(self, kind: str, listener: Callable[..., object]) -> None:
        listeners = self._by_kind.get(kind, [])
        if listener in listeners:
            listeners.remove(listener)

    def open(self) -> None:
        """Note where events will run: here."""
        self._context = copy_context()
        self._host = current_sockets.get() or LocalSockets()
        self._end.gate = self._host
        self._host.accepted(self._end)

    def receive(self, frame: Frame) -> None:
        """Dispatch the frame as an event, after the code that runs now."""
        host, end = self._host, self._end
        assert host is not None, "open() comes first"
        if isinstance(frame, Close) and frame.was_clean and host.replies_to_close:
            end.relay(Close(code=frame.code, reason=frame.reason))
        if end.is_close_sent and end.is_close_received:
            host.closed(end)
        assert self._context is not None, "set with the host"
        host.dispatch(partial(self._dispatch, frame), self._context)

    def gone(self) -> None:
        """Let the host go: nothing can come or leave."""
        assert self._host is not None, "open() comes first"
        self._host.closed(self._end)

    def abandoned(self) -> None:
        """Nothing is lost: the listeners go with the pair."""

    async def _dispatch(self, frame: Frame) -> None:
        event = _event(frame)
        try:
            for listener in tuple(self._by_kind.get(str(event["type"]), ())):
                result = listener(event)
                if inspect.isawaitable(result):
                    await result
        finally:
            self._end.handled(frame)


class LocalSockets:
    """Runs listeners where no host does; nothing is held back."""

    __slots__ = ("_tasks", "replies_to_close")

    def __init__(self, *, replies_to_close: bool = True) -> None:
        self.replies_to_close = replies_to_close
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, end: End, frame: Frame) -> None:
        end.deliver(frame)

    def accepted(self, end: End) -> None:
        """Hold nothing: the pair lives as long as somebody has an end of it."""

    closed = accepted

    def dispatch(self, handle: Handle, context: Context) -> None:
        """Run the listeners in a task, in the context in which their socket was accepted."""
        asyncio.get_running_loop().call_soon(self._run, handle, context, context=context)

    def _run(self, handle: Handle, context: Context) -> None:
        task = asyncio.get_running_loop().create_task(handle(), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _event(frame: Frame) -> JsDict:
    match frame:
        case Close():
            return JsDict(
                type="close", code=frame.code, reason=frame.reason, wasClean=frame.was_clean
            )
        case Failed():
            return JsDict(
                type="error",
                message=f"Uncaught Error: {frame.message}",
                error=JsException(frame.message),
            )
        case str():
            return JsDict(type="message", data=frame)
        case bytes():
            return JsDict(type="message", data=ArrayBuffer(frame))
