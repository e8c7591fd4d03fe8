"""One end of a WebSocket pair: what is left of a socket when no program's object for it is in memory.

A frame that leaves an end arrives at its peer, in order, and stays in the peer's inbox until somebody
takes it: event listeners, an object's `webSocketMessage`, or the network. Who takes the frames is a
`FrameSink`; what a sending program must wait for is decided by the `FrameGate` that was current when its
end was accepted. A `WebSocket` (what programs hold) is a handle on an end and may come and go.

Invariants: (1) an end is taken once; (2) after a last frame (`Close`, `Failed`) nothing follows from the same
end; (3) frames are never reordered; (4) a sink that lags makes the source of its frames pause. This file
must not know gates, tasks of the host, or sockets of the OS.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

NO_STATUS = 1005
ABNORMAL = 1006
DISCONNECTED = "WebSocket disconnected without sending Close frame."
# Unhandled frames of one socket beyond this make its source pause; half of it lets it go on.
BACKLOG_BYTES_MAX = 1024 * 1024
_FRAME_OVERHEAD_BYTES = 256


class Close(Struct, frozen=True, kw_only=True):
    """The last frame of an end; code 1005 stands for a close frame without a code."""

    code: int
    reason: str
    was_clean: bool = True


class Failed(Struct, frozen=True, kw_only=True):
    """The last frame of an end whose client broke the protocol: the close code it was given, and why."""

    code: int
    description: str

    @property
    def message(self) -> str:
        """What programs see, in Cloudflare's words."""
        return (
            f"WebSocket protocol error; protocolError.statusCode = {self.code}; "
            f"protocolError.description = {self.description}"
        )


Frame = str | bytes | Close | Failed


class FrameSink(Protocol):
    """Where the frames that arrive at an end go."""

    def receive(self, frame: Frame) -> None:
        """Take the next frame; nothing follows a last one. Answer with `End.handled`."""
        ...

    def gone(self) -> None:
        """Note that nobody is at the other end any more; called after the last frame, if at all."""
        ...

    def abandoned(self) -> None:
        """Note that the other end was dropped before anybody took it; on any thread."""
        ...


class FrameSource(Protocol):
    """Who brings frames from outside to an end, and can be asked to wait."""

    def pause(self) -> None:
        """Bring nothing more until `resume`; what is under way may still come."""
        ...

    def resume(self) -> None: ...


class FrameGate(Protocol):
    """What the frames that a program sends wait for."""

    def send(self, end: End, frame: Frame) -> None:
        """Call `end.deliver(frame)` when the writes made so far are durable; in the order of the calls."""
        ...


class Taken(StrEnum):
    """Who takes the frames that arrive at an end."""

    NOBODY = "nobody"
    LISTENERS = "listeners"
    HIBERNATION = "hibernation"
    RESPONSE = "response"


class End:
    """One end of a pair."""

    __slots__ = (
        "_backlog_bytes",
        "_inbox",
        "_is_source_paused",
        "attachment",
        "gate",
        "is_close_received",
        "is_close_sent",
        "is_dropped",
        "is_gone",
        "peer",
        "sink",
        "source",
        "taken",
    )

    peer: End

    def __init__(self) -> None:
        self.taken = Taken.NOBODY
        self.sink: FrameSink | None = None
        self.source: FrameSource | None = None
        self.gate: FrameGate | None = None
        self.attachment: object = None
        self.is_close_sent = False
        self.is_close_received = False
        # Whether nobody is left to hear what this end sends.
        self.is_gone = False
        # Whether no program holds this end and nobody took it.
        self.is_dropped = False
        self._inbox: deque[Frame] | None = None
        self._backlog_bytes = 0
        self._is_source_paused = False

    @property
    def ready_state(self) -> int:
        """1 (open), 2 (one side has sent its last frame) or 3 (both have)."""
        return 1 + self.is_close_sent + self.is_close_received

    def take(self, taken: Taken, sink: FrameSink) -> None:
        """Give what arrived and what will to `sink`."""
        assert self.taken is Taken.NOBODY, "an end is taken once"
        self.taken = taken
        self.sink = sink
        inbox, self._inbox = self._inbox, None
        for frame in inbox or ():
            sink.receive(frame)
        if self.peer.is_dropped:
            sink.abandoned()

    # Sending ---------------------------------------------------------------------------------

    def emit(self, frame: Frame) -> None:
        """Send what this end's program says, when its gate lets it go."""
        if isinstance(frame, (Close, Failed)):
            self.is_close_sent = True
        if self.gate is None:
            self.deliver(frame)
        else:
            self.gate.send(self, frame)

    def relay(self, frame: Frame) -> None:
        """Send a frame that came from outside, as it is; dropped after a last one."""
        if not self.is_close_sent:
            self.emit(frame)

    def deliver(self, frame: Frame) -> None:
        """Let a frame arrive at the other end now."""
        self.peer._arrive(frame)

    def disconnect(self) -> None:
        """Tell the other end that the connection broke without a close frame; it is over for both.

        What still waits at this end's gate is not sent.
        """
        self.is_close_sent = self.is_close_received = True
        self.deliver(Close(code=ABNORMAL, reason=DISCONNECTED, was_clean=False))
        peer = self.peer
        if not peer.is_gone:
            peer.is_gone = True
            if peer.sink is not None:
                peer.sink.gone()

    def hang_up(self, close: Close) -> None:
        """Say the last word in the place of this end's program, and hear nothing more."""
        self.relay(close)
        self.is_close_received = self.is_gone = True

    def drop(self) -> None:
        """Note that no program holds this end any more; if nobody took it, its peer is alone."""
        if self.taken is Taken.NOBODY:
            self.is_dropped = True
            if self.peer.sink is not None:
                self.peer.sink.abandoned()

    # Receiving -------------------------------------------------------------------------------

    def handled(self, frame: Frame) -> None:
        """Note that the sink is done with a frame; its source may bring more."""
        self._backlog_bytes -= _size(frame)
        if self._is_source_paused and self._backlog_bytes <= BACKLOG_BYTES_MAX // 2:
            self._is_source_paused = False
            source = self.peer.source
            if source is not None:
                source.resume()

    def _arrive(self, frame: Frame) -> None:
        if self.is_close_received:
            return
        if isinstance(frame, (Close, Failed)):
            self.is_close_received = True
        self._backlog_bytes += _size(frame)
        if self._backlog_bytes > BACKLOG_BYTES_MAX and not self._is_source_paused:
            source = self.peer.source
            if source is not None:
                self._is_source_paused = True
                source.pause()
        if self.sink is not None:
            self.sink.receive(frame)
        elif self._inbox is None:
            self._inbox = deque((frame,))
        else:
            self._inbox.append(frame)


def _size(frame: Frame) -> int:
    size = len(frame) if isinstance(frame, (str, bytes)) else 0
    return _FRAME_OVERHEAD_BYTES + size
