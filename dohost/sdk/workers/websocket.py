"""WebSockets as programs hold them: `WebSocket`, `WebSocketPair`, and the pair of an automatic answer.

A `WebSocket` is a handle on one end of a pair; all that lasts is in the end (`socket_end`). An object that
hibernates drops its handles and gets new ones when it wakes, as on Cloudflare: attributes that a program
set on a socket are gone then, its attachment is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from dohost.errors import InvalidAccessError, JsException, JsRangeError, JsTypeError
from workers.raw_values import raw
from workers.socket_end import (
    ABNORMAL,
    NO_STATUS,
    Close,
    End,
    FrameGate,
    FrameSink,
    FrameSource,
    Taken,
)
from workers.socket_events import Listeners
from workers.values import Transferable, clone, clone_sized

ATTACHMENT_BYTES_MAX = 16_384
REASON_BYTES_MAX = 123
AUTO_RESPONSE_BYTES_MAX = 2048
# What the serialized form of a value begins with.
_ATTACHMENT_HEADER_BYTES = 2
_RESERVED_CODES = frozenset({1004, NO_STATUS, ABNORMAL, 1015})


def well_formed(text: str) -> str:
    """Return `text` as a frame can carry it: half a character becomes a replacement character."""
    text = str(text)
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_close_code(code: int) -> bool:
    """Return whether a close frame may carry `code`."""
    return 1000 <= code <= 4999 and code not in _RESERVED_CODES


class WebSocketRequestResponsePair:
    """A text message and its automatic answer; `check` says whether an object may use it."""

    __slots__ = ("request", "response")

    def __init__(self, request: str, response: str) -> None:
        self.request = well_formed(request)
        self.response = well_formed(response)

    @classmethod
    def new(cls, request: str, response: str) -> WebSocketRequestResponsePair:
        return cls(request, response)

    def check(self) -> None:
        """Raises: JsRangeError if either text is above 2,048 bytes."""
        for what, text in (("Request", self.request), ("Response", self.response)):
            size = len(text.encode())
            if size > AUTO_RESPONSE_BYTES_MAX:
                raise JsRangeError(
                    f"{what} cannot be larger than {AUTO_RESPONSE_BYTES_MAX} bytes. "
                    f"A {what.lower()} of size {size} was provided."
                )


class WebSocket(Transferable):
    """A handle on one end of a WebSocket."""

    CONNECTING: ClassVar[int] = 0
    OPEN: ClassVar[int] = 1
    CLOSING: ClassVar[int] = 2
    CLOSED: ClassVar[int] = 3
    READY_STATE_CONNECTING: ClassVar[int] = 0
    READY_STATE_OPEN: ClassVar[int] = 1
    READY_STATE_CLOSING: ClassVar[int] = 2
    READY_STATE_CLOSED: ClassVar[int] = 3

    url: str | None = None
    protocol = ""
    extensions = ""

    def __init__(self, end: End) -> None:
        self._end = end
        self._listeners: Listeners | None = None

    def __del__(self) -> None:
        self._end.drop()

    # What user code calls ----------------------------------------------------------------------

    def accept(self) -> None:
        """Give the frames of this end to its event listeners; a second call does nothing."""
        end = self._end
        match end.taken:
            case Taken.LISTENERS:
                return
            case Taken.HIBERNATION:
                raise JsTypeError("Can't accept() WebSocket after enabling hibernation.")
            case Taken.RESPONSE:
                raise JsTypeError("Can't accept() WebSocket that was already used in a response.")
        listeners = self._listening()
        listeners.open()
        end.take(Taken.LISTENERS, listeners)

    def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send text or binary; silently dropped when the other end is gone."""
        end = self._end
        self._require_accepted()
        if end.is_close_sent:
            raise JsTypeError("Can't call WebSocket send() after close().")
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            raise JsTypeError(
                f"WebSocket messages are text or bytes, not {type(message).__name__}."
            )
        if not end.is_gone:
            end.emit(well_formed(message) if isinstance(message, str) else bytes(message))

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send a close frame; a second call does nothing.

        Raises: InvalidAccessError for a code that may not be sent or a reason without a code,
        JsException (SyntaxError) for a reason above 123 bytes.
        """
        end = self._end
        self._require_accepted()
        if code is not None and not is_close_code(code):
            raise InvalidAccessError(f"Invalid WebSocket close code: {code}.")
        if code is None and reason is not None:
            raise InvalidAccessError(
                "If you specify a WebSocket close reason, you must also specify a code."
            )
        reason = well_formed(reason or "")
        if len(reason.encode()) > REASON_BYTES_MAX:
            raise JsException(
                "WebSocket close reason is longer than 123 bytes.", name="SyntaxError"
            )
        end.relay(Close(code=NO_STATUS if code is None else code, reason=reason))

    @property
    def readyState(self) -> int:
        """OPEN, CLOSING after one side's close frame, CLOSED after both."""
        return self._end.ready_state

    def addEventListener(self, kind: str, listener: Callable[..., object]) -> None:
        """Call `listener(event)` for each "message", "close" or "error"; async functions too."""
        self._listening().add(kind, listener)

    def removeEventListener(self, kind: str, listener: Callable[..., object]) -> None:
        self._listening().remove(kind, listener)

    def serializeAttachment(self, value: object) -> None:
        """Keep a copy of `value` with this socket through hibernation. Raises: above 16,384 bytes."""
        copy, size = clone_sized(value)
        size += _ATTACHMENT_HEADER_BYTES
        if size > ATTACHMENT_BYTES_MAX:
            raise JsException(
                f"A WebSocket 'attachment' cannot be larger than {ATTACHMENT_BYTES_MAX} bytes."
                f"'attachment' was {size} bytes."
            )
        self._end.attachment = copy

    def deserializeAttachment(self) -> object:
        """Return a fresh copy of what was attached, or None."""
        return raw(clone(self._end.attachment))

    # What a host calls -------------------------------------------------------------------------

    @property
    def end(self) -> End:
        """What lasts of this socket."""
        return self._end

    def couple(self, sink: FrameSink, source: FrameSource | None = None) -> End:
        """Take this end for a Response: its frames go to `sink`; relay to what is returned."""
        end = self._end
        match end.taken:
            case Taken.LISTENERS:
                raise JsTypeError("Can't return WebSocket in a Response after calling accept().")
            case Taken.HIBERNATION:
                raise JsTypeError(
                    "Can't return WebSocket in a Response after calling acceptWebSocket()."
                )
            case Taken.RESPONSE:
                raise JsTypeError("Can't return WebSocket that was already used in a response.")
        end.source = source
        end.take(Taken.RESPONSE, sink)
        return end

    def require_hibernatable(self) -> None:
        """Raises: JsException if `acceptWebSocket` can't take this end any more."""
        end = self._end
        if end.taken in (Taken.LISTENERS, Taken.HIBERNATION):
            raise JsException(
                "Cannot call `acceptWebSocket()` if the WebSocket was already accepted via `accept()`"
            )
        if end.taken is not Taken.NOBODY or end.peer.taken is not Taken.NOBODY:
            raise JsException(
                "Cannot call `acceptWebSocket()` on this WebSocket because its pair has already been "
                "accepted or used in a Response."
            )

    def accept_hibernatable(self, sink: FrameSink, gate: FrameGate) -> None:
        """Take this end for `acceptWebSocket`: its frames go to `sink`, what it sends through `gate`."""
        self.require_hibernatable()
        self._end.gate = gate
        self._end.take(Taken.HIBERNATION, sink)

    def __repr__(self) -> str:
        state = ("connecting", "open", "closing", "closed")[self.readyState]
        return f"<WebSocket {state}, taken by {self._end.taken}>"

    def _listening(self) -> Listeners:
        if self._listeners is None:
            self._listeners = Listeners(self._end)
        return self._listeners

    def _require_accepted(self) -> None:
        if self._end.taken not in (Taken.LISTENERS, Taken.HIBERNATION):
            raise JsTypeError(
                "You must call one of accept() or state.acceptWebSocket() on this WebSocket before "
                "sending messages."
            )


class WebSocketPair:
    """Two joined ends: `client, server = WebSocketPair()`; in JavaScript's way also `.new()`."""

    def __init__(self) -> None:
        client, server = End(), End()
        client.peer, server.peer = server, client
        self._sockets = (WebSocket(client), WebSocket(server))

    @classmethod
    def new(cls) -> WebSocketPair:
        return cls()

    def object_values(self) -> tuple[WebSocket, WebSocket]:
        return self._sockets

    def __getitem__(self, index: int | str) -> WebSocket:
        return self._sockets[int(index)]

    def __iter__(self) -> Iterator[WebSocket]:
        return iter(self._sockets)

    def __len__(self) -> int:
        return 2
