"""A WebSocket whose client is slow: what is kept for it, what it is told, and when it is cut."""

from __future__ import annotations

import asyncio
from struct import pack

import pytest
from websocket_wire import CLOSE, close, frame
from workers.socket_end import BACKLOG_BYTES_MAX, Close, Frame
from workers.websocket import WebSocketPair

from dohost.clock import ManualClock
from dohost.server.frames import BINARY, TEXT, encode_close, encode_frame
from dohost.server.limits import Limits
from dohost.server.websocket_connection import WebSocketConnection
from dohost.server.websocket_watch import WebSocketWatch


class Transport(asyncio.Transport):
    """A connection whose client takes bytes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = b""
        self.taken = b""
        self.log: list[str] = []
        self.protocol: WebSocketConnection

    def set_protocol(self, protocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > 1000 and "paused" not in self.log[-1:]:
            self.log.append("paused")
            self.protocol.pause_writing()

    def take(self, size: int) -> None:
        """The client takes `size` bytes."""
        self.taken += self.buffer[:size]
        self.buffer = self.buffer[size:]
        if not self.buffer and self.log[-1:] == ["paused"]:
            self.log.pop()
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.log.append("eof")

    def close(self) -> None:
        self.log.append("close")

    def abort(self) -> None:
        self.log.append("abort")
        self.protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.log.append("stop reading")

    def resume_reading(self) -> None:
        self.log.append("read")


class Listener:
    """What a connection needs of its listener."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.clock = ManualClock()
        self.sockets = WebSocketWatch(limits)
        self.forgotten: list[object] = []

    def forget(self, connection) -> None:
        self.forgotten.append(connection)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.sockets.sweep(self.clock.monotonic())


class Program:
    """The sink of the program's end."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def receive(self, frame: Frame) -> None:
        self.frames.append(frame)

    def gone(self) -> None: ...

    def abandoned(self) -> None: ...


class Joined:
    """A program's end, a connection, and a client behind a slow transport."""

    def __init__(self, **limits) -> None:
        self.listener = Listener(Limits(websocket_ping_s=None, **limits))
        self.program = Program()
        self._client, self.socket = WebSocketPair()

        class Gate:
            def send(self, end, frame) -> None:
                end.deliver(frame)

        self.socket.accept_hibernatable(self.program, Gate())
        self.connection = WebSocketConnection(self.listener, "127.0.0.1")
        self.transport = Transport()
        end = self._client.couple(self.connection, self.connection)
        self.connection.open(self.transport, end, b"")
        self.transport.log.clear()


def message(size: int) -> bytes:
    return encode_frame(BINARY, b"x" * size)


def test_messages_wait_whole_until_the_client_takes_them() -> None:
    joined = Joined()
    for size in (2000, 70_000, 1):
        joined.socket.send(b"x" * size)
    assert joined.transport.buffer == message(2000)
    joined.transport.take(2003)
    joined.transport.take(1)
    assert len(joined.transport.buffer) == len(message(2000) + message(70_000)) - 2004
    joined.transport.take(200_000)
    joined.transport.take(200_000)
    assert joined.transport.taken == message(2000) + message(70_000) + message(1)


def test_a_client_that_takes_too_little_is_told_so_after_what_it_was_sent() -> None:
    joined = Joined(websocket_queue_bytes_max=3000)
    joined.socket.send(b"x" * 2000)
    for _ in range(5):
        joined.socket.send(b"y" * 1000)
    joined.socket.send(b"too late")
    joined.transport.take(10_000)
    joined.transport.take(10_000)
    told = encode_close(1008, "messages were not taken fast enough")
    assert joined.transport.taken == message(2000) + told
    joined.connection.data_received(close(1008))
    assert joined.program.frames == [Close(code=1008, reason="")]
    assert joined.transport.log == ["close"]


def test_one_message_above_the_queues_bound_still_goes() -> None:
    joined = Joined(websocket_queue_bytes_max=3000)
    joined.socket.send(b"x" * 2000)
    joined.socket.send(b"y" * 5000)
    joined.transport.take(10_000)
    joined.transport.take(10_000)
    assert joined.transport.taken == message(2000) + encode_frame(BINARY, b"y" * 5000)


def test_a_client_that_overflowed_and_takes_nothing_is_cut() -> None:
    joined = Joined(websocket_queue_bytes_max=3000)
    for _ in range(5):
        joined.socket.send(b"x" * 2000)
    joined.listener.pass_time(9)
    assert joined.transport.log == ["paused"]
    joined.listener.pass_time(1)
    assert joined.transport.log == ["paused", "abort"]
    assert joined.program.frames[-1].code == 1006
    assert joined.listener.forgotten == [joined.connection]


def test_a_stalled_client_is_cut_but_not_one_that_is_only_slow() -> None:
    joined = Joined()
    joined.socket.send(b"x" * 2000)
    joined.listener.pass_time(59)
    joined.transport.take(1)
    joined.listener.pass_time(1)
    joined.listener.pass_time(59)
    assert joined.transport.log == ["paused"]
    joined.listener.pass_time(1)
    assert joined.transport.log == ["paused", "abort"]


def test_a_client_that_caught_up_has_no_deadline() -> None:
    joined = Joined()
    joined.socket.send(b"x" * 2000)
    joined.transport.take(5000)
    joined.listener.pass_time(1000)
    assert joined.transport.log == []


def test_a_close_that_waits_for_its_answer_is_not_forgotten_by_a_slow_client() -> None:
    joined = Joined()
    joined.connection.data_received(close(4000))
    joined.socket.send(b"x" * 2000)
    joined.transport.take(5000)
    joined.listener.pass_time(10)
    joined.transport.take(5000)
    assert joined.transport.taken == message(2000) + encode_close(4000, "")
    assert joined.transport.log == ["close"]


def test_a_connection_ends_only_when_its_close_is_written() -> None:
    joined = Joined()
    joined.socket.send(b"x" * 2000)
    joined.connection.data_received(frame(TEXT, b"\xff"))
    assert joined.transport.log == ["paused"]
    joined.transport.take(5000)
    assert joined.transport.buffer.startswith(pack("!B", 0x80 | CLOSE))
    assert joined.transport.log == ["eof"]


def test_pongs_to_a_client_that_reads_nothing_are_bounded() -> None:
    joined = Joined(websocket_queue_bytes_max=3000)
    joined.socket.send(b"x" * 2000)
    for _ in range(1000):
        joined.connection.data_received(frame(9, b"p" * 125))
    assert joined.connection._queued_bytes <= 3000
    assert "closing" in repr(joined.connection)


def test_a_program_that_lags_stops_the_reading() -> None:
    joined = Joined()
    joined.connection.data_received(frame(BINARY, b"x" * BACKLOG_BYTES_MAX))
    assert joined.transport.log == ["stop reading"]
    joined.socket.end.handled(joined.program.frames[0])
    assert joined.transport.log == ["stop reading", "read"]


@pytest.mark.parametrize("is_written", [False, True])
def test_a_reset_breaks_the_connection_after_what_has_left(is_written: bool) -> None:
    joined = Joined()
    if is_written:
        joined.socket.send("left already")
    joined.socket.end.disconnect()
    joined.transport.take(100)
    assert joined.transport.taken == (encode_frame(TEXT, b"left already") if is_written else b"")
    assert joined.transport.log == ["close"]
    joined.connection.data_received(frame(TEXT, b"x"))
    joined.connection.connection_lost(None)
    assert joined.program.frames == []
