"""WebSocketPair and the seam for hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from workers import WebSocket, WebSocketPair
from workers.context import current_sockets
from workers.values import JsDict
from workers.websocket import Close, Frame, WebSocketRequestResponsePair

from dohost.errors import InvalidAccessError, JsException, JsRangeError, JsTypeError

UNACCEPTED = (
    "TypeError: You must call one of accept() or state.acceptWebSocket() on this WebSocket before "
    "sending messages."
)


class _Sink:
    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def receive(self, frame: Frame) -> None:
        self.frames.append(frame)


def _listen(socket: WebSocket) -> list[JsDict]:
    events: list[JsDict] = []
    socket.addEventListener("message", events.append)
    socket.addEventListener("close", events.append)
    socket.accept()
    return events


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_messages_cross_in_order() -> None:
    client, server = WebSocketPair()
    events = _listen(client)
    server.accept()
    server.send("text")
    server.send(b"binary")
    server.send(bytearray(b"more"))
    assert events == []
    await _settle()
    assert [event.data for event in events] == ["text", b"binary", b"more"]
    assert events[1].data.to_bytes() == b"binary"
    assert events[0].type == "message"


async def test_messages_wait_for_accept() -> None:
    client, server = WebSocketPair()
    server.accept()
    server.send("early")
    events = _listen(client)
    await _settle()
    assert [event.data for event in events] == ["early"]


async def test_listeners_may_be_async_and_removed() -> None:
    client, server = WebSocketPair()
    heard: list[str] = []

    async def listener(event: JsDict) -> None:
        await asyncio.sleep(0)
        heard.append(event.data)

    client.addEventListener("message", listener)
    client.addEventListener("message", listener)
    client.accept()
    server.accept()
    server.send("one")
    await _settle()
    client.removeEventListener("message", listener)
    server.send("two")
    await _settle()
    assert heard == ["one"]


def test_nothing_is_sent_before_accept() -> None:
    client, _ = WebSocketPair()
    for use in (lambda: client.send("x"), client.close):
        with pytest.raises(JsTypeError) as caught:
            use()
        assert str(caught.value) == UNACCEPTED


async def test_a_close_reaches_the_other_end_once_and_is_answered() -> None:
    client, server = WebSocketPair()
    events = _listen(client)
    answers = _listen(server)
    assert client.readyState == WebSocket.OPEN == 1
    server.close(4000, "bye")
    server.close(4001, "again")
    assert server.readyState == WebSocket.CLOSING
    with pytest.raises(JsTypeError, match=r"Can't call WebSocket send\(\) after close\(\)\."):
        server.send("x")
    await _settle()
    assert events == [{"type": "close", "code": 4000, "reason": "bye", "wasClean": True}]
    assert answers[0].code == 4000
    assert server.readyState == client.readyState == WebSocket.READY_STATE_CLOSED


async def test_a_close_without_code_is_seen_as_1005() -> None:
    client, server = WebSocketPair()
    events = _listen(client)
    server.accept()
    server.close()
    await _settle()
    assert (events[0].code, events[0].reason) == (1005, "")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000])
def test_a_forbidden_close_code_is_refused(code: int) -> None:
    socket, _ = WebSocketPair()
    socket.accept()
    with pytest.raises(InvalidAccessError) as caught:
        socket.close(code)
    assert str(caught.value) == f"InvalidAccessError: Invalid WebSocket close code: {code}."


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 1016, 3000, 4999])
def test_an_allowed_close_code_is_sent(code: int) -> None:
    client, server = WebSocketPair()
    sink = _Sink()
    client.couple(sink)
    server.accept()
    server.close(code)
    assert sink.frames == [Close(code=code, reason="")]


def test_a_close_reason_needs_a_code_and_has_a_limit() -> None:
    socket, _ = WebSocketPair()
    socket.accept()
    with pytest.raises(JsTypeError, match="If you specify a WebSocket close reason, you must also"):
        socket.close(None, "why")
    with pytest.raises(JsException, match="SyntaxError"):
        socket.close(1000, "é" * 62)
    socket.close(1000, "x" * 123)


def test_an_end_is_taken_once() -> None:
    sink = _Sink()
    accepted, _ = WebSocketPair()
    accepted.accept()
    accepted.accept()
    with pytest.raises(JsTypeError, match=r"already accepted via `accept\(\)`"):
        accepted.accept_hibernatable(sink, None)
    with pytest.raises(JsTypeError, match=r"Response after calling accept\(\)"):
        accepted.couple(sink)
    hibernatable, _ = WebSocketPair()
    hibernatable.accept_hibernatable(sink, None)
    with pytest.raises(
        JsTypeError, match=r"^TypeError: Can't accept\(\) WebSocket after enabling hibernation\.$"
    ):
        hibernatable.accept()
    with pytest.raises(
        JsTypeError, match=r"Can't return WebSocket in a Response after calling acceptWebSocket\(\)"
    ):
        hibernatable.couple(sink)
    coupled, _ = WebSocketPair()
    coupled.couple(sink)
    with pytest.raises(JsTypeError, match="already used in a response"):
        coupled.accept()
    with pytest.raises(JsTypeError, match="already used in a response"):
        coupled.couple(sink)
    with pytest.raises(
        JsTypeError, match="its pair has already been accepted or used in a Response"
    ):
        coupled.accept_hibernatable(sink, None)
    assert (accepted.is_accepted, hibernatable.is_hibernatable) == (True, True)


async def test_a_host_carries_frames_both_ways() -> None:
    client, server = WebSocketPair()
    network = _Sink()
    client.couple(network)
    events = _listen(server)
    server.send("out")
    client.relay("in")
    client.relay(Close(code=1001, reason="going"))
    client.relay("too late")
    await _settle()
    assert network.frames == ["out", Close(code=1001, reason="going")]
    assert [event.type for event in events] == ["message", "close"]


async def test_a_broken_connection_is_a_close_1006() -> None:
    client, server = WebSocketPair()
    client.couple(_Sink())
    events = _listen(server)
    client.disconnect()
    await _settle()
    assert events == [
        {
            "type": "close",
            "code": 1006,
            "reason": "WebSocket disconnected without sending Close frame.",
            "wasClean": False,
        }
    ]
    assert server.readyState == client.readyState == WebSocket.CLOSED


async def test_a_host_holds_frames_and_runs_listeners() -> None:
    held: list[Callable[[], None]] = []
    handled: list[Callable[[], object]] = []

    class Host:
        def send(self, deliver: Callable[[], None]) -> None:
            held.append(deliver)

        def dispatch(self, handle: Callable[[], object]) -> None:
            handled.append(handle)

    client, server = WebSocketPair()
    token = current_sockets.set(Host())
    server.addEventListener("message", lambda event: server.send(event.data))
    server.accept()
    current_sockets.reset(token)
    sink = _Sink()
    client.couple(sink)
    client.relay("ping")
    await handled.pop()()
    assert sink.frames == []
    held.pop()()
    assert sink.frames == ["ping"]


def test_an_attachment_is_a_copy_within_its_limit() -> None:
    socket, _ = WebSocketPair()
    assert socket.deserializeAttachment() is None
    value = {"user": ["ada"]}
    socket.serializeAttachment(value)
    value["user"].append("bob")
    first = socket.deserializeAttachment()
    assert first == {"user": ["ada"]}
    assert first is not socket.deserializeAttachment()
    socket.serializeAttachment("x" * 16_381)
    with pytest.raises(
        JsException, match=r"larger than 16384 bytes\.'attachment' was 16385 bytes\."
    ):
        socket.serializeAttachment("x" * 16_382)


def test_a_pair_reads_as_python_and_as_javascript() -> None:
    pair = WebSocketPair.new()
    client, server = pair.object_values()
    assert (pair[0], pair["1"], len(pair)) == (client, server, 2)


def test_an_automatic_answer_has_a_limit() -> None:
    pair = WebSocketRequestResponsePair.new("x" * 2048, "pong")
    assert (len(pair.request), pair.response) == (2048, "pong")
    with pytest.raises(
        JsRangeError, match=r"Request cannot be larger than 2048 bytes\. A request of size 2049"
    ):
        WebSocketRequestResponsePair("x" * 2049, "")
    with pytest.raises(JsRangeError, match="Response cannot be larger than 2048 bytes"):
        WebSocketRequestResponsePair("", "x" * 2049)


def test_only_text_and_bytes_are_messages() -> None:
    socket, _ = WebSocketPair()
    socket.accept()
    with pytest.raises(JsTypeError, match="not dict"):
        socket.send({})
