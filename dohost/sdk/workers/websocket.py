"""WebSockets: two ends joined in memory, and the seam by which a host takes one of them.

A frame sent at one end arrives at the other, in order, and stays in that end's inbox until somebody
takes it: `accept()` gives frames to event listeners, a host's `couple` and `accept_hibernatable` give
them to a sink (the network, or an object's `webSocketMessage`). So the pair itself needs neither a
network nor a host. What a sending object must wait for, and how its listeners are run, is the
business of the `SocketHost` that was current when the end was accepted.

Invariants: (1) an end is taken once; (2) after a Close frame nothing follows from the same end;
(3) frames are never reordered. This file must not know gates, tasks of the host, or sockets of the OS.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import ClassVar, Protocol

from msgspec import Struct

from dohost.errors import InvalidAccessError, JsException, JsRangeError, JsTypeError
from workers.context import current_sockets
from workers.values import ArrayBuffer, JsDict, Transferable, clone, clone_sized

ATTACHMENT_BYTES_MAX = 16_384
REASON_BYTES_MAX = 123
AUTO_RESPONSE_BYTES_MAX = 2048
NO_STATUS = 1005
ABNORMAL = 1006
DISCONNECTED = "WebSocket disconnected without sending Close frame."
_RESERVED_CODES = frozenset({1004, NO_STATUS, ABNORMAL, 1015})


class Close(Struct, frozen=True, kw_only=True):
    """The last frame of an end; code 1005 stands for a close frame without a code."""

    code: int
    reason: str
    was_clean: bool = True


Frame = str | bytes | Close


class FrameSink(Protocol):
    """Where the frames that arrive at an end go."""

    def receive(self, frame: Frame) -> None:
        """Take the next frame; nothing follows a Close."""
        ...


class WebSocketRequestResponsePair:
    """A text message and its automatic answer, each of at most 2,048 bytes."""

    __slots__ = ("request", "response")

    def __init__(self, request: str, response: str) -> None:
        for what, text in (("Request", request), ("Response", response)):
            size = len(text.encode())
            if size > AUTO_RESPONSE_BYTES_MAX:
                raise JsRangeError(
                    f"{what} cannot be larger than {AUTO_RESPONSE_BYTES_MAX} bytes. "
                    f"A {what.lower()} of size {size} was provided."
                )
        self.request = request
        self.response = response

    @classmethod
    def new(cls, request: str, response: str) -> WebSocketRequestResponsePair:
        return cls(request, response)


class SocketHost(Protocol):
    """What a host does for the sockets of the code that it runs."""

    def send(self, deliver: Callable[[], None]) -> None:
        """Call `deliver` when the writes made so far are durable; in the order of the calls."""
        ...

    def dispatch(self, handle: Callable[[], object]) -> None:
        """Call `handle` as an event of its own, in order, and await what it returns."""
        ...


class _Taken(StrEnum):
    """Who takes the frames that arrive at an end."""

    NOBODY = "nobody"
    LISTENERS = "listeners"
    HIBERNATION = "hibernation"
    RESPONSE = "response"


class WebSocket(Transferable):
    """One end of a WebSocket."""

    CONNECTING: ClassVar[int] = 0
    OPEN: ClassVar[int] = 1
    CLOSING: ClassVar[int] = 2
    CLOSED: ClassVar[int] = 3
    READY_STATE_CONNECTING: ClassVar[int] = 0
    READY_STATE_OPEN: ClassVar[int] = 1
    READY_STATE_CLOSING: ClassVar[int] = 2
    READY_STATE_CLOSED: ClassVar[int] = 3

    def __init__(self) -> None:
        self.url: str | None = None
        self.protocol = ""
        self.extensions = ""
        self._peer: WebSocket | None = None
        self._taken = _Taken.NOBODY
        self._sink: FrameSink | None = None
        self._host: SocketHost | None = None
        self._inbox: deque[Frame] = deque()
        self._listeners = _Listeners(self)
        self._is_close_sent = False
        self._is_close_received = False
        self._attachment: object = None

    # What user code calls ----------------------------------------------------------------------

    def accept(self) -> None:
        """Give the frames of this end to its event listeners; a second call does nothing."""
        if self._taken is _Taken.LISTENERS:
            return
        if self._taken is _Taken.HIBERNATION:
            raise JsTypeError("Can't accept() WebSocket after enabling hibernation.")
        if self._taken is _Taken.RESPONSE:
            raise JsTypeError("Can't accept() WebSocket that was already used in a response.")
        self._host = current_sockets.get()
        self._take(_Taken.LISTENERS, self._listeners)

    def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send text or binary; silently dropped when the other end is gone."""
        self._require_accepted()
        if self._is_close_sent:
            raise JsTypeError("Can't call WebSocket send() after close().")
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            raise JsTypeError(
                f"WebSocket messages are text or bytes, not {type(message).__name__}."
            )
        self._emit(message if isinstance(message, str) else bytes(message))

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send a close frame; a second call does nothing.

        Raises: InvalidAccessError for a code that may not be sent, JsTypeError for a reason without a
        code, JsException (SyntaxError) for a reason above 123 bytes.
        """
        self._require_accepted()
        if code is not None and (not 1000 <= code <= 4999 or code in _RESERVED_CODES):
            raise InvalidAccessError(f"Invalid WebSocket close code: {code}.")
        if code is None and reason is not None:
            raise JsTypeError(
                "If you specify a WebSocket close reason, you must also specify a code."
            )
        if len((reason or "").encode()) > REASON_BYTES_MAX:
            raise JsException(
                "WebSocket close reason is longer than 123 bytes.", name="SyntaxError"
            )
        if not self._is_close_sent:
            self._emit(Close(code=NO_STATUS if code is None else code, reason=reason or ""))

    @property
    def readyState(self) -> int:
        """OPEN, CLOSING after one side's close frame, CLOSED after both."""
        return self.OPEN + self._is_close_sent + self._is_close_received

    def addEventListener(self, kind: str, listener: Callable[..., object]) -> None:
        """Call `listener(event)` for each "message", "close" or "error"; async functions too."""
        self._listeners.add(kind, listener)

    def removeEventListener(self, kind: str, listener: Callable[..., object]) -> None:
        self._listeners.remove(kind, listener)

    def serializeAttachment(self, value: object) -> None:
        """Keep a copy of `value` with this socket through hibernation. Raises: above 16,384 bytes."""
        copy, size = clone_sized(value)
        if size > ATTACHMENT_BYTES_MAX:
            raise JsException(
                f"A WebSocket 'attachment' cannot be larger than {ATTACHMENT_BYTES_MAX} bytes."
                f"'attachment' was {size} bytes."
            )
        self._attachment = copy

    def deserializeAttachment(self) -> object:
        """Return a fresh copy of what was attached, or None."""
        return clone(self._attachment)

    # What a host calls -------------------------------------------------------------------------

    def couple(self, sink: FrameSink) -> None:
        """Take this end for a Response: its frames go to `sink`; answer with `relay`."""
        match self._taken:
            case _Taken.LISTENERS:
                raise JsTypeError("Can't return WebSocket in a Response after calling accept().")
            case _Taken.HIBERNATION:
                raise JsTypeError(
                    "Can't return WebSocket in a Response after calling acceptWebSocket()."
                )
            case _Taken.RESPONSE:
                raise JsTypeError("Can't return WebSocket that was already used in a response.")
        self._take(_Taken.RESPONSE, sink)

    def accept_hibernatable(self, sink: FrameSink, host: SocketHost | None) -> None:
        """Take this end for `acceptWebSocket`: its frames go to `sink`, what it sends through `host`."""
        match self._taken:
            case _Taken.LISTENERS | _Taken.HIBERNATION:
                raise JsTypeError(
                    "Cannot call `acceptWebSocket()` if the WebSocket was already accepted via "
                    "`accept()`"
                )
            case _Taken.RESPONSE:
                raise JsTypeError(
                    "Cannot call `acceptWebSocket()` on this WebSocket because its pair has already "
                    "been accepted or used in a Response."
                )
        self._host = host
        self._take(_Taken.HIBERNATION, sink)

    @property
    def is_hibernatable(self) -> bool:
        return self._taken is _Taken.HIBERNATION

    @property
    def is_accepted(self) -> bool:
        """True after `accept()`; such a socket keeps its object in memory."""
        return self._taken is _Taken.LISTENERS

    def relay(self, frame: Frame) -> None:
        """Send a frame that came from outside, as it is; dropped after a Close."""
        if not self._is_close_sent:
            self._emit(frame)

    def disconnect(self) -> None:
        """Tell the other end that the connection broke without a close frame; it is over for both."""
        self.relay(Close(code=ABNORMAL, reason=DISCONNECTED, was_clean=False))
        self._is_close_received = True

    def __repr__(self) -> str:
        state = ("connecting", "open", "closing", "closed")[self.readyState]
        return f"<WebSocket {state}, taken by {self._taken}, {len(self._inbox)} frames waiting>"

    def _require_accepted(self) -> None:
        if self._taken not in (_Taken.LISTENERS, _Taken.HIBERNATION):
            raise JsTypeError(
                "You must call one of accept() or state.acceptWebSocket() on this WebSocket before "
                "sending messages."
            )

    def _take(self, taken: _Taken, sink: FrameSink) -> None:
        self._taken = taken
        self._sink = sink
        while self._inbox:
            sink.receive(self._inbox.popleft())

    def _emit(self, frame: Frame) -> None:
        peer = self._peer
        assert peer is not None, "a WebSocket is made by WebSocketPair"
        if isinstance(frame, Close):
            self._is_close_sent = True
        if self._host is None:
            peer._arrive(frame)
        else:
            self._host.send(partial(peer._arrive, frame))

    def _arrive(self, frame: Frame) -> None:
        if self._is_close_received:
            return
        if isinstance(frame, Close):
            self._is_close_received = True
            # After a broken connection there is nobody left to send a close frame to.
            self._is_close_sent = self._is_close_sent or not frame.was_clean
        if self._sink is None:
            self._inbox.append(frame)
        else:
            self._sink.receive(frame)


class _Listeners:
    """The event listeners of one end; the sink of an end that was accepted with `accept()`."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._by_kind: dict[str, list[Callable[..., object]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, kind: str, listener: Callable[..., object]) -> None:
        listeners = self._by_kind.setdefault(kind, [])
        if listener not in listeners:
            listeners.append(listener)

    def remove(self, kind: str, listener: Callable[..., object]) -> None:
        listeners = self._by_kind.get(kind, [])
        if listener in listeners:
            listeners.remove(listener)

    def receive(self, frame: Frame) -> None:
        """Dispatch the frame as an event, after the code that runs now."""
        host = self._socket._host
        handle = partial(self._dispatch, frame)
        if host is None:
            asyncio.get_running_loop().call_soon(self._run, handle)
        else:
            host.dispatch(handle)

    async def _dispatch(self, frame: Frame) -> None:
        event = _event(frame)
        for listener in tuple(self._by_kind.get(str(event["type"]), ())):
            result = listener(event)
            if inspect.isawaitable(result):
                await result
        # Cloudflare answers a close frame itself if the handler did not (compatibility date 2026-04-07).
        if isinstance(frame, Close) and not self._socket._is_close_sent:
            self._socket.relay(Close(code=frame.code, reason=frame.reason))

    def _run(self, handle: Callable[[], object]) -> None:
        """Own the listener's task, where no host does."""
        result = handle()
        assert inspect.iscoroutine(result)
        task = asyncio.get_running_loop().create_task(result)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class WebSocketPair:
    """Two joined ends: `client, server = WebSocketPair()`; in JavaScript's way also `.new()`."""

    def __init__(self) -> None:
        client, server = WebSocket(), WebSocket()
        client._peer, server._peer = server, client
        self._ends = (client, server)

    @classmethod
    def new(cls) -> WebSocketPair:
        return cls()

    def object_values(self) -> tuple[WebSocket, WebSocket]:
        return self._ends

    def __getitem__(self, index: int | str) -> WebSocket:
        return self._ends[int(index)]

    def __iter__(self) -> Iterator[WebSocket]:
        return iter(self._ends)

    def __len__(self) -> int:
        return 2


def _event(frame: Frame) -> JsDict:
    match frame:
        case Close():
            return JsDict(
                type="close", code=frame.code, reason=frame.reason, wasClean=frame.was_clean
            )
        case str():
            return JsDict(type="message", data=frame)
        case bytes():
            return JsDict(type="message", data=ArrayBuffer(frame))
