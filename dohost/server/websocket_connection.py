"""One client's WebSocket after the handshake: frames between its connection and an end of a pair.

The connection has left aiohttp: no task waits for it and no parser but ours is kept, which is what lets ten
thousand idle sockets fit. Messages go to the transport as long as the client takes them, then into a queue
of bounded size; a client that lets it overflow is told so (1008) after what it has been sent already. A
program that lags behind its client stops the reading.

Invariants: (1) after a Close frame nothing is written; codes 1005 and 1006 are never written; (2) the
program hears one last frame: the client's Close, what it did wrong, or 1006; (3) neither side can keep
the other waiting for its Close without bound; (4) pings are answered here and never seen by programs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from workers.socket_end import ABNORMAL, NO_STATUS, Close, End, Failed, Frame

from dohost.server.deflate import Agreement, compressed
from dohost.server.frames import (
    BINARY,
    CLOSE,
    COMPRESSED,
    PING,
    PONG,
    TEXT,
    Control,
    FrameReader,
    ProtocolError,
    encode_close,
    encode_frame,
    encode_head,
)

if TYPE_CHECKING:
    from dohost.server.listener import Listener

GOING_AWAY = Close(code=1001, reason="server is stopping")
_TOO_SLOW = Close(code=1008, reason="messages were not taken fast enough")
# Below this, one copy is cheaper than a second write.
_JOINED_BYTES_MAX = 64 * 1024


class WebSocketConnection(asyncio.Protocol):
    """The protocol of a connection that was upgraded."""

    __slots__ = (
        "_close_code",
        "_end",
        "_is_close_received",
        "_is_close_sent",
        "_is_deaf",
        "_is_ending",
        "_is_paused",
        "_listener",
        "_queue",
        "_queued_bytes",
        "_reader",
        "_stalled_bytes",
        "_transport",
        "_window_bits",
        "client_ip",
        "is_pinged",
        "is_reading_paused",
        "touched_s",
    )

    def __init__(
        self, listener: Listener, client_ip: str, compression: Agreement | None = None
    ) -> None:
        self._listener = listener
        self.client_ip = client_ip
        self._reader = FrameReader(
            message_bytes_max=listener.limits.websocket_message_bytes_max,
            inflates=compression is not None,
        )
        # 0 without an agreement to compress.
        self._window_bits = 0 if compression is None else compression.window_bits
        self._transport: asyncio.Transport | None = None
        self._end: End | None = None
        # Until the handshake is written, what the program says waits.
        self._is_paused = True
        self._queue: deque[bytes] | None = None
        self._queued_bytes = 0
        self._is_close_sent = False
        self._is_close_received = False
        self._close_code = NO_STATUS
        self._is_deaf = False
        self._is_ending = False
        self._stalled_bytes = 0
        self.is_reading_paused = False
        self.is_pinged = False
        self.touched_s = 0.0

    def open(self, transport: asyncio.Transport, end: End, tail: bytes) -> None:
        """Take over a connection whose handshake is written; `tail` came right behind the request."""
        self._transport = transport
        self._end = end
        transport.set_protocol(self)
        self._listener.sockets.heard(self, self._now_s())
        self.resume_writing()
        if self.is_reading_paused:
            transport.pause_reading()
        else:
            transport.resume_reading()
        if tail:
            self.data_received(tail)

    # From the client -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._listener.sockets.heard(self, self._now_s())
        try:
            for received in self._reader.feed(data):
                if isinstance(received, Control):
                    self._take_control(received)
                else:
                    self._relay(received)
                if self._is_deaf:
                    return
        except ProtocolError as error:
            self._fail(error)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the program, if it doesn't know."""
        self._transport = None
        self._is_deaf = True
        self._queue = None
        self._listener.sockets.forget(self)
        self._listener.forget(self)
        if self._end is not None:
            self._end.disconnect()

    def _take_control(self, control: Control) -> None:
        if control.opcode == PING:
            if not self._is_close_sent:
                self._write(encode_frame(PONG, control.payload))
        elif control.opcode == CLOSE:
            self._is_deaf = True
            self._is_close_received = True
            if control.code is not None:
                self._close_code = control.code
            self._relay(Close(code=self._close_code, reason=control.reason))
            if self._is_close_sent:
                self._finish()
            else:
                # The program has this long to answer; then it is done for it.
                self._press(self._listener.limits.websocket_close_s)

    def _fail(self, error: ProtocolError) -> None:
        """Say what was wrong and end: what follows can't be understood."""
        self._is_deaf = True
        self._write_close(Close(code=error.code, reason=error.description))
        self._relay(Failed(code=error.code, description=error.description))
        self._finish()

    def _relay(self, frame: Frame) -> None:
        assert self._end is not None, "open() comes first"
        self._end.relay(frame)

    # From the program ------------------------------------------------------------------------

    def receive(self, frame: Frame) -> None:
        """Send the next frame to the client, as it takes them."""
        match frame:
            case str():
                self._send(TEXT, frame.encode())
            case bytes():
                self._send(BINARY, frame)
            case Close(was_clean=True):
                self._write_close(frame)
                if self._is_close_received:
                    self._finish()
                else:
                    self._press(self._listener.limits.websocket_close_s)
            case _:
                self._break_off()

    def gone(self) -> None:
        """Its last frame said so."""

    def abandoned(self) -> None:
        """The program dropped its end unused: no frame will ever come from it."""
        loop = self._listener.loop
        if self._end is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._end.peer.disconnect)

    def pause(self) -> None:
        """Read no more: the program is behind."""
        self.is_reading_paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        self.is_reading_paused = False
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._is_close_sent:
            return
        if self._window_bits:
            shorter = compressed(payload, self._window_bits)
            if shorter is not None:
                opcode, payload = opcode | COMPRESSED, shorter
        if len(payload) <= _JOINED_BYTES_MAX:
            self._write(encode_frame(opcode, payload))
        else:
            self._write(encode_head(opcode, len(payload)), payload)

    def _write_close(self, close: Close) -> None:
        if not self._is_close_sent:
            self._is_close_sent = True
            code = None if close.code in (NO_STATUS, ABNORMAL) else close.code
            self._write(encode_close(code, close.reason))

    def _write(self, *parts: bytes) -> None:
        transport = self._transport
        if self._is_paused:
            self._enqueue(b"".join(parts))
        elif transport is not None:
            for part in parts:
                transport.write(part)

    def _enqueue(self, frame: bytes) -> None:
        if self._queue is None:
            self._queue = deque()
        limits = self._listener.limits
        if (
            self._queued_bytes
            and self._queued_bytes + len(frame) > limits.websocket_queue_bytes_max
        ):
            # Frames are dropped whole, so that the client can still read what it is told last.
            self._queue.clear()
            self._queued_bytes = 0
            if not self._is_close_sent:
                self._is_close_sent = True
                self._press(limits.websocket_close_s)
            frame = encode_close(_TOO_SLOW.code, _TOO_SLOW.reason)
        self._queue.append(frame)
        self._queued_bytes += len(frame)

    # Flow ------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._is_paused = True
        self._watch_stall()

    def resume_writing(self) -> None:
        """Write what waits, until the client has enough again."""
        self._is_paused = False
        transport, queue = self._transport, self._queue
        if not self._is_closing:
            self._listener.sockets.release(self)
        while queue and not self._is_paused and transport is not None:
            frame = queue.popleft()
            self._queued_bytes -= len(frame)
            transport.write(frame)
        if not queue:
            self._queue = None
            if self._is_ending:
                self._finish()

    def _watch_stall(self) -> None:
        transport = self._transport
        if transport is not None:
            self._stalled_bytes = transport.get_write_buffer_size()
            self._press(self._listener.limits.write_stall_s)

    def _is_taking(self) -> bool:
        """Return whether the client has taken something since the last look."""
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() < self._stalled_bytes

    @property
    def _is_closing(self) -> bool:
        return self._is_close_sent or self._is_close_received

    # The end ---------------------------------------------------------------------------------

    def ping(self) -> None:
        """Ask a silent client for a sign of life."""
        if not self._is_close_sent:
            self._write(encode_frame(PING, b""))

    def drain(self) -> None:
        """Say that the server stops."""
        self.receive(GOING_AWAY)

    def overdue(self) -> None:
        """Wait no more: answer the client's Close for the program, or cut."""
        if self._is_close_received and not self._is_close_sent:
            self._write_close(Close(code=self._close_code, reason=""))
            self._finish()
        elif not self._is_closing and self._is_taking():
            self._watch_stall()
        else:
            self.cut()

    def cut(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        """Close when everything is written.

        Sending ends first where that is possible: a connection that is closed over unread data is reset,
        and a reset destroys the Close that the client has not read yet.
        """
        transport = self._transport
        self._is_ending = True
        if transport is None:
            return
        self._press(self._listener.limits.linger_s)
        if self._queue:
            return
        if self._is_close_received or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()

    def _break_off(self) -> None:
        """End without a Close: to the client the connection broke."""
        self._is_deaf = self._is_close_sent = True
        if self._transport is not None:
            self._transport.close()
            self._press(self._listener.limits.linger_s)

    def _press(self, within_s: float) -> None:
        self._listener.sockets.press(self, self._now_s() + within_s)

    def _now_s(self) -> float:
        return self._listener.clock.monotonic()

    def __repr__(self) -> str:
        state = "closing" if self._is_closing else "open"
        return f"<WebSocketConnection {self.client_ip} {state}, {self._queued_bytes} bytes queued>"
