"""One frame of a hibernatable socket on its way through its object's code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from workers.socket_end import Close, Failed, Frame
from workers.values import ArrayBuffer

from dohost.errors import JsException
from dohost.runtime.custom_task import NEUTRAL
from dohost.runtime.handlers import Handler
from dohost.runtime.sockets import ListenerSink

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor
    from dohost.runtime.hibernation import HibernatableSocket


class SocketEvent(ListenerSink):
    """The entry of a turn, and the sink of its outcome."""

    __slots__ = ("_frame", "_handler", "_socket")

    def __init__(
        self, actor: Actor, socket: HibernatableSocket, frame: Frame, *, handler: Handler
    ) -> None:
        super().__init__(actor)
        self._socket = socket
        self._frame = frame
        self._handler = handler

    def run(self) -> object:
        """Call the handler, within the object's event timeout."""
        socket, actor = self._socket, self._actor
        hibernation = socket.hibernation
        if isinstance(self._frame, (Close, Failed)):
            # The handler may still look itself up; whatever runs after its first suspension may not.
            actor.loop.call_soon(hibernation.remove, socket, context=NEUTRAL)
        result = self._handler(actor.instance, socket.handle(), *_arguments(self._frame))
        timeout_ms = hibernation.event_timeout_ms
        if timeout_ms is not None and isinstance(result, Awaitable):
            return _within(result, timeout_ms / 1000)
        return result

    def returned(self, value: object) -> None:
        """Take the next frames; answer a close frame that the handler did not answer."""
        self._finish()

    def raised(self, error: BaseException) -> None:
        """Log; the socket stays as it is."""
        super().raised(error)
        self._finish()

    def _finish(self) -> None:
        socket, frame = self._socket, self._frame
        socket.end.handled(frame)
        if isinstance(frame, (Close, Failed)):
            socket.hibernation.reply(socket, frame)


def _arguments(frame: Frame) -> tuple[object, ...]:
    match frame:
        case Close():
            return (frame.code, frame.reason, frame.was_clean)
        case Failed():
            return (JsException(frame.message),)
        case bytes():
            return (ArrayBuffer(frame),)
        case str():
            return (frame,)


async def _within(result: Awaitable[object], timeout_s: float) -> object:
    async with asyncio.timeout(timeout_s):
        return await result
