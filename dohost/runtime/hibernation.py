"""Hibernation: the sockets of an object that outlive its instances.

A socket that was accepted with `ctx.acceptWebSocket` belongs to its object's `Hibernation`, not to an
actor. The actor may be evicted while sockets stay open: tags, attachments, the automatic answer with its
times and the event timeout stay with them, the program's own handles do not. A frame makes the object live
again, constructor first, and is delivered as an event of its own; events of one socket begin in the
order of its frames and may overlap at awaits, as they do on Cloudflare. A message that equals the automatic
request is answered here, without waking anybody.

Invariants: (1) every frame is delivered once, or its socket is closed; (2) after its Close or Failed a
socket is in no list once the handler of that has begun; (3) a reset breaks every socket, hibernated or
not, and nothing that waited for its writes leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from workers.socket_end import Close, End, Failed, Frame
from workers.websocket import WebSocket, WebSocketRequestResponsePair

from dohost.errors import HostError, JsException
from dohost.gates import Batch
from dohost.objects.id import DurableObjectId
from dohost.runtime.handlers import Handler
from dohost.runtime.socket_event import SocketEvent
from dohost.runtime.sockets import HeldFrames

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor
    from dohost.runtime.registry import ObjectClass

SOCKETS_MAX = 32_768


class HibernatableSocket:
    """One accepted socket: what lasts of it, and the sink of its frames."""

    __slots__ = ("_handle", "auto_response_ms", "end", "hibernation", "tags")

    def __init__(self, hibernation: Hibernation, socket: WebSocket, tags: tuple[str, ...]) -> None:
        self.hibernation = hibernation
        self.end = socket.end
        self.tags = tags
        self.auto_response_ms: int | None = None
        self._handle: WebSocket | None = socket

    def handle(self) -> WebSocket:
        """Return what the live instance knows this socket by: one object until it hibernates."""
        if self._handle is None:
            self._handle = WebSocket(self.end)
        return self._handle

    def forget_handle(self) -> None:
        self._handle = None

    def receive(self, frame: Frame) -> None:
        """Answer, or deliver an event."""
        if isinstance(frame, (Close, Failed)):
            self.hibernation.ended(self, frame)
        elif not (isinstance(frame, str) and self.hibernation.answers(self, frame)):
            self.hibernation.message(self, frame)

    def gone(self) -> None:
        """Its last frame was a Close, which ends it."""

    def abandoned(self) -> None:
        """The client left during the upgrade, or the program dropped its end."""
        loop = self.hibernation.object_class.parts.loop
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.end.peer.disconnect)


class Hibernation:
    """The hibernatable sockets of one object."""

    __slots__ = (
        "_by_tag",
        "_held",
        "_object_id",
        "_sockets",
        "auto_response",
        "event_timeout_ms",
        "object_class",
    )

    def __init__(self, object_class: ObjectClass, object_id: DurableObjectId) -> None:
        self.object_class = object_class
        self.auto_response: WebSocketRequestResponsePair | None = None
        self.event_timeout_ms: int | None = None
        self._object_id = object_id
        self._sockets: dict[HibernatableSocket, None] = {}
        self._by_tag: dict[str, dict[HibernatableSocket, None]] = {}
        self._held: HeldFrames | None = None

    @property
    def object_id(self) -> str:
        """The object's id in hex."""
        return self._object_id.toString()

    @property
    def open_sockets(self) -> int:
        """How many sockets there are."""
        return len(self._sockets)

    @property
    def is_empty(self) -> bool:
        """Whether there is no socket."""
        return not self._sockets

    def __repr__(self) -> str:
        return f"<Hibernation {self._object_id!r}, {len(self._sockets)} sockets>"

    # What `ctx` calls ------------------------------------------------------------------------

    def accept(self, socket: WebSocket, tags: tuple[str, ...]) -> None:
        """Take a socket. Raises: JsException if it is taken, or if it would be one too many."""
        socket.require_hibernatable()
        if len(self._sockets) >= SOCKETS_MAX:
            raise JsException(
                f"only {SOCKETS_MAX} websockets can be accepted on a single Durable Object instance"
            )
        accepted = HibernatableSocket(self, socket, tags)
        self._sockets[accepted] = None
        for tag in tags:
            self._by_tag.setdefault(tag, {})[accepted] = None
        socket.accept_hibernatable(accepted, self)

    def sockets(self, tag: str | None) -> list[WebSocket]:
        """Return the sockets that have not ended: newest first, or by tag, oldest first."""
        found: Iterable[HibernatableSocket]
        found = reversed(self._sockets) if tag is None else self._by_tag.get(tag, ())
        return [socket.handle() for socket in found]

    def tags(self, socket: WebSocket) -> tuple[str, ...]:
        """Return the tags of an accepted socket."""
        return _accepted(socket).tags

    def auto_response_ms(self, socket: WebSocket) -> int | None:
        """Return when a socket was last answered automatically, or None."""
        sink = socket.end.sink
        return sink.auto_response_ms if isinstance(sink, HibernatableSocket) else None

    # Frames ----------------------------------------------------------------------------------

    def send(self, end: End, frame: Frame) -> None:
        """Let a frame leave behind the object's output gate."""
        actor = self._live_actor()
        self._queue(end, frame, None if actor is None else actor.socket_barrier())

    def answers(self, socket: HibernatableSocket, message: str) -> bool:
        """Answer the automatic request, past the output gate; False if `message` is another."""
        pair = self.auto_response
        if pair is None or message != pair.request:
            return False
        end = socket.end
        socket.auto_response_ms = self.object_class.parts.clock.realtime_ns() // 1_000_000
        if not end.is_close_sent and not end.is_gone:
            self._queue(end, pair.response, None)
        end.handled(message)
        return True

    def message(self, socket: HibernatableSocket, message: str | bytes) -> None:
        """Deliver a message; without a handler it is consumed."""
        handler = self.object_class.web_socket_message
        if handler is None:
            socket.end.handled(message)
        else:
            self._deliver(socket, message, handler)

    def ended(self, socket: HibernatableSocket, frame: Close | Failed) -> None:
        """Deliver the end of a socket."""
        own = self.object_class
        handler = own.web_socket_close if isinstance(frame, Close) else own.web_socket_error
        if handler is None:
            self.remove(socket)
            self.reply(socket, frame)
        else:
            self._deliver(socket, frame, handler)

    def remove(self, socket: HibernatableSocket) -> None:
        """List a socket no more."""
        self._sockets.pop(socket, None)
        for tag in socket.tags:
            tagged = self._by_tag.get(tag)
            if tagged is not None:
                tagged.pop(socket, None)
                if not tagged:
                    del self._by_tag[tag]
        if not self._sockets and self._live_actor() is None:
            self.object_class.drop_hibernation(self)

    def reply(self, socket: HibernatableSocket, frame: Close | Failed) -> None:
        """Answer a close frame for a program that did not, if the host is to do that."""
        if isinstance(frame, Close) and frame.was_clean and self.object_class.replies_to_close:
            socket.end.relay(Close(code=frame.code, reason=frame.reason))

    def _deliver(self, socket: HibernatableSocket, frame: Frame, handler: Handler) -> None:
        try:
            actor = self.object_class.actor(self._object_id)
        except HostError as error:
            # Quarantined, or no descriptor left: a frame that can't be delivered ends its socket.
            self.object_class.parts.log.event(
                "object.websocket_broken", level="error", object=repr(self), error=str(error)
            )
            self.remove(socket)
            socket.end.disconnect()
            return
        event = SocketEvent(actor, socket, frame, handler=handler)
        actor.deliver(event.run, event)

    def _queue(self, end: End, frame: Frame, barrier: Batch | None) -> None:
        if self._held is None:
            self._held = HeldFrames()
        self._held.send(end, frame, barrier)

    def _live_actor(self) -> Actor | None:
        return self.object_class.actors.get(self.object_id)

    # Ends of instances -----------------------------------------------------------------------

    def hibernate(self) -> bool:
        """Forget what belonged to the instance; return whether anything is left to keep."""
        for socket in self._sockets:
            socket.forget_handle()
        return bool(self._sockets)

    def hang_up(self, close: Close) -> None:
        """Close every socket, hear no more of it, and tell no program."""
        for socket in self._take_all():
            socket.end.hang_up(close)

    def break_off(self) -> None:
        """Break every connection; what waits for writes is never sent."""
        if self._held is not None:
            self._held.clear()
        for socket in self._take_all():
            socket.end.disconnect()

    def _take_all(self) -> tuple[HibernatableSocket, ...]:
        taken = tuple(self._sockets)
        self._sockets.clear()
        self._by_tag.clear()
        return taken


def _accepted(socket: WebSocket) -> HibernatableSocket:
    sink = socket.end.sink
    if isinstance(sink, HibernatableSocket):
        return sink
    if sink is None:
        raise JsException(
            "you must call 'acceptWebSocket()' before attempting to access the tags of a WebSocket."
        )
    raise JsException("only hibernatable websockets can have tags.")
