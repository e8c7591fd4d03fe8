"""The seam for hosts: who runs listeners, what is held back, and what a host is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import ClassVar

import pytest
from workers import WebSocketPair
from workers.context import current_sockets
from workers.socket_end import BACKLOG_BYTES_MAX, Close, End, Failed, Frame
from workers.socket_events import LocalSockets
from workers.values import JsDict


class _Sink:
    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def receive(self, frame: Frame) -> None:
        self.frames.append(frame)

    def gone(self) -> None:
        self.frames.append("(gone)")

    def abandoned(self) -> None:
        self.frames.append("(abandoned)")


class _Gate:
    def send(self, end: End, frame: Frame) -> None:
        end.deliver(frame)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class _Host(LocalSockets):
    """Holds everything until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], None]] = []
        self.handled: list[Callable[[], object]] = []
        self.open: list[End] = []

    def accepted(self, end: End) -> None:
        self.open.append(end)

    def closed(self, end: End) -> None:
        if end in self.open:
            self.open.remove(end)

    def send(self, end: End, frame: Frame) -> None:
        self.held.append(lambda: end.deliver(frame))

    def dispatch(self, handle, context) -> None:
        self.handled.append(handle)


async def test_a_host_holds_frames_and_runs_listeners() -> None:
    host = _Host()
    client, server = WebSocketPair()
    token = current_sockets.set(host)
    server.addEventListener("message", lambda event: server.send(event.data))
    server.accept()
    current_sockets.reset(token)
    sink = _Sink()
    client.couple(sink)
    client.end.relay("ping")
    await host.handled.pop()()
    assert sink.frames == []
    host.held.pop()()
    assert sink.frames == ["ping"]
    assert host.open == [server.end]
    client.end.relay(Close(code=1000, reason=""))
    assert host.open == []


async def test_a_host_lets_go_of_a_socket_whose_client_vanished() -> None:
    host = _Host()
    client, server = WebSocketPair()
    token = current_sockets.set(host)
    server.accept()
    current_sockets.reset(token)
    client.couple(_Sink())
    client.end.disconnect()
    assert host.open == []


async def test_what_breaks_the_protocol_is_an_error_event() -> None:
    client, server = WebSocketPair()
    heard: list[JsDict] = []
    server.addEventListener("error", heard.append)
    server.accept()
    client.couple(_Sink())
    client.end.relay(Failed(code=1002, description="Unknown opcode 3"))
    await _settle()
    message = (
        "WebSocket protocol error; protocolError.statusCode = 1002; "
        "protocolError.description = Unknown opcode 3"
    )
    assert heard[0].message == f"Uncaught Error: {message}"
    assert str(heard[0].error) == f"Error: {message}"


async def test_listeners_run_where_their_socket_was_accepted_whoever_sends() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nobody")
    heard: list[str] = []
    client, server = WebSocketPair()
    variable.set("receiver")
    client.addEventListener("message", lambda event: heard.append(variable.get()))
    client.accept()

    def sender() -> None:
        variable.set("sender")
        server.accept()
        server.send("x")

    copy_context().run(sender)
    await _settle()
    assert heard == ["receiver"]


async def test_a_source_waits_for_a_sink_that_lags() -> None:
    class Source:
        calls: ClassVar[list[str]] = []

        def pause(self) -> None:
            self.calls.append("pause")

        def resume(self) -> None:
            self.calls.append("resume")

    client, server = WebSocketPair()
    source, sink = Source(), _Sink()
    server.accept_hibernatable(sink, _Gate())
    network = client.couple(_Sink(), source)
    network.relay("x" * (BACKLOG_BYTES_MAX // 2))
    assert source.calls == []
    network.relay("y" * (BACKLOG_BYTES_MAX // 2))
    network.relay("z")
    assert source.calls == ["pause"]
    server.end.handled(sink.frames[0])
    assert source.calls == ["pause"]
    server.end.handled(sink.frames[1])
    assert source.calls == ["pause", "resume"]


@pytest.mark.parametrize("is_taken_first", [False, True])
def test_an_end_that_is_dropped_unused_is_told_to_its_peer(is_taken_first: bool) -> None:
    sink = _Sink()
    if is_taken_first:
        client, server = WebSocketPair()
        server.accept_hibernatable(sink, _Gate())
        assert sink.frames == []
        del client
    else:
        server = WebSocketPair()[1]
        server.accept_hibernatable(sink, _Gate())
    assert sink.frames == ["(abandoned)"]
