"""What an object's sockets send, and its standard sockets.

A frame that an object sends leaves when the writes that it may depend on are durable, and never before
an earlier frame of the same socket. A standard socket (`accept()`) belongs to the instance: it keeps the
instance in memory, its events are events of the object, and it breaks when the instance is reset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from workers.socket_end import Close, End, Failed, Frame
from workers.socket_events import Handle

from dohost.gates import Batch

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor


class HeldFrames:
    """Frames that wait for writes, by socket and in order."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[End, deque[tuple[Batch | None, Frame]]] = {}

    def send(self, end: End, frame: Frame, barrier: Batch | None) -> None:
        """Deliver `frame` when `barrier` is durable and every frame before it has left; never if it fails."""
        waiting = self._waiting.get(end)
        if waiting is None:
            if barrier is None:
                end.deliver(frame)
                return
            waiting = self._waiting[end] = deque()
        waiting.append((barrier, frame))
        if barrier is not None:
            barrier.add_callback(lambda _: self._release(end))

    def clear(self) -> None:
        """Send nothing of what waits."""
        self._waiting.clear()

    def _release(self, end: End) -> None:
        waiting = self._waiting.get(end)
        if waiting is None:
            return
        while waiting:
            barrier, frame = waiting[0]
            if barrier is not None and not barrier.is_done:
                return
            waiting.popleft()
            if barrier is None or barrier.error is None:
                end.deliver(frame)
        self._waiting.pop(end, None)


class ActorSockets:
    """The standard sockets of one instance; what `accept()` finds as its host there."""

    __slots__ = ("_actor", "_held", "_open", "replies_to_close")

    def __init__(self, actor: Actor, *, replies_to_close: bool) -> None:
        self._actor = actor
        self._held: HeldFrames | None = None
        self._open: dict[End, Callable[[], None]] | None = None
        self.replies_to_close = replies_to_close

    def accepted(self, end: End) -> None:
        """Keep the instance in memory until `end` is closed."""
        if self._open is None:
            self._open = {}
        self._open[end] = self._actor.hold()

    def closed(self, end: End) -> None:
        release = (self._open or {}).pop(end, None)
        if release is not None:
            release()

    def send(self, end: End, frame: Frame) -> None:
        """Let a frame leave behind the object's output gate."""
        if isinstance(frame, (Close, Failed)) and end.is_close_received:
            self.closed(end)
        if self._held is None:
            self._held = HeldFrames()
        self._held.send(end, frame, self._actor.socket_barrier())

    def dispatch(self, handle: Handle, context: Context) -> None:
        """Run listeners as an event of the object."""
        self._actor.deliver(handle, ListenerSink(self._actor))

    def hang_up(self, close: Close) -> None:
        """Close every socket and hear no more of it."""
        for end in tuple(self._open or ()):
            end.hang_up(close)
            self.closed(end)

    def break_off(self) -> None:
        """Break every connection; what waits for writes is never sent."""
        if self._held is not None:
            self._held.clear()
        for end in tuple(self._open or ()):
            end.disconnect()
            self.closed(end)


class ListenerSink:
    """The outcome of a socket's event: nobody waits for it, a failure is logged."""

    __slots__ = ("_actor",)

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def returned(self, value: object) -> None:
        pass

    def raised(self, error: BaseException) -> None:
        actor = self._actor
        if actor.broken is None:
            actor.object_class.parts.log.event(
                "object.websocket_event_failed",
                level="error",
                object=repr(actor),
                error=repr(error),
            )
