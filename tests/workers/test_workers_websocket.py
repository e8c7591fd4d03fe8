"""WebSocketPair and the seam for hosts."""

from __future__ import annotations

import asyncio

import pytest
from workers import WebSocket, WebSocketPair
from workers.context import current_sockets
from workers.socket_end import Close, End, Frame
from workers.socket_events import LocalSockets
from workers.values import JsDict
from workers.websocket import WebSocketRequestResponsePair

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

    def gone(self) -> None:
        self.frames.append("(gone)")

    def abandoned(self) -> None:
        self.frames.append("(abandoned)")


class _Gate:
    def send(self, end: End, frame: Frame) -> None:
        end.deliver(frame)


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
    with pytest.raises(JsTypeError, match=r"Can't call WebSocket send\(\) after close\(\)\."):
        server.send("x")
    await _settle()
    assert events == [{"type": "close", "code": 4000, "reason": "bye", "wasClean": True}]
    assert answers[0].code == 4000
    assert server.readyState == client.readyState == WebSocket.READY_STATE_CLOSED


async def test_a_close_may_be_left_to_the_program_to_answer() -> None:
    client, server = WebSocketPair()
    token = current_sockets.set(LocalSockets(replies_to_close=False))
    states: list[int] = []
    client.addEventListener("close", lambda event: states.append(client.readyState))
    client.accept()
    current_sockets.reset(token)
    server.accept()
    server.close(1000)
    await _settle()
    assert (states, server.readyState) == ([WebSocket.CLOSING], WebSocket.CLOSING)
    client.send("still open this way")
    client.close(4000)
    assert (client.readyState, server.readyState) == (WebSocket.CLOSED, WebSocket.CLOSED)


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
    with pytest.raises(
        InvalidAccessError, match="If you specify a WebSocket close reason, you must also"
    ):
        socket.close(None, "why")
    with pytest.raises(JsException, match="SyntaxError"):
        socket.close(1000, "é" * 62)
    socket.close(1000, "x" * 123)


def test_an_end_is_taken_once() -> None:
    sink, gate = _Sink(), _Gate()
    accepted, _a = WebSocketPair()
    accepted.accept()
    accepted.accept()
    with pytest.raises(JsException, match=r"^Error: .* already accepted via `accept\(\)`$"):
        accepted.accept_hibernatable(sink, gate)
    with pytest.raises(JsTypeError, match=r"Response after calling accept\(\)"):
        accepted.couple(sink)
    hibernatable, _b = WebSocketPair()
    hibernatable.accept_hibernatable(sink, gate)
    with pytest.raises(JsException, match=r"already accepted via `accept\(\)`"):
        hibernatable.accept_hibernatable(sink, gate)
    with pytest.raises(
        JsTypeError, match=r"^TypeError: Can't accept\(\) WebSocket after enabling hibernation\.$"
    ):
        hibernatable.accept()
    with pytest.raises(
        JsTypeError, match=r"Can't return WebSocket in a Response after calling acceptWebSocket\(\)"
    ):
        hibernatable.couple(sink)
    coupled, peer = WebSocketPair()
    coupled.couple(sink)
    with pytest.raises(JsTypeError, match="already used in a response"):
        coupled.accept()
    with pytest.raises(JsTypeError, match="already used in a response"):
        coupled.couple(sink)
    for socket in (coupled, peer):
        with pytest.raises(
            JsException, match="its pair has already been accepted or used in a Response"
        ):
            socket.accept_hibernatable(sink, gate)


async def test_a_host_carries_frames_both_ways() -> None:
    client, server = WebSocketPair()
    network = _Sink()
    client.couple(network)
    events = _listen(server)
    server.send("out")
    client.end.relay("in")
    client.end.relay(Close(code=1001, reason="going"))
    client.end.relay("too late")
    await _settle()
    assert network.frames == ["out", Close(code=1001, reason="going")]
    assert [event.type for event in events] == ["message", "close"]


async def test_a_broken_connection_is_a_close_1006() -> None:
    client, server = WebSocketPair()
    client.couple(_Sink())
    events = _listen(server)
    client.end.disconnect()
    await _settle()
    assert events == [
        {
            "type": "close",
            "code": 1006,
            "reason": "WebSocket disconnected without sending Close frame.",
            "wasClean": False,
        }
    ]
    # As on Cloudflare, the program may still close its side; what it says is lost without a word.
    assert server.readyState == WebSocket.CLOSING
    server.send("nobody hears this")
    server.close(1000)
    assert server.readyState == client.readyState == WebSocket.CLOSED


def test_an_attachment_is_a_copy_within_its_limit() -> None:
    socket, _ = WebSocketPair()
    assert socket.deserializeAttachment() is None
    value = {"user": ["ada"]}
    socket.serializeAttachment(value)
    value["user"].append("bob")
    first = socket.deserializeAttachment()
    assert first == {"user": ["ada"]}
    assert first is not socket.deserializeAttachment()
    socket.serializeAttachment("x" * 16_379)
    with pytest.raises(
        JsException,
        match=r"^Error: A WebSocket 'attachment' cannot be larger than 16384 bytes\."
        r"'attachment' was 16385 bytes\.$",
    ):
        socket.serializeAttachment("x" * 16_380)


def test_an_attachment_reads_as_python_and_as_javascript() -> None:
    socket, _ = WebSocketPair()
    cycle: list[object] = [1]
    cycle.append(cycle)
    socket.serializeAttachment({"user": {"name": "ada"}, "seen": [b"raw"], "cycle": cycle})
    value = socket.deserializeAttachment()
    assert value.user.name == value["user"]["name"] == "ada"
    assert value.to_py()["user"] == {"name": "ada"}
    assert type(value.user.to_py()) is dict
    assert value.seen.length == 1
    assert value.seen[0].to_bytes() == b"raw"
    assert value.cycle[1] is value.cycle


def test_a_pair_reads_as_python_and_as_javascript() -> None:
    pair = WebSocketPair.new()
    client, server = pair.object_values()
    assert (pair[0], pair["1"], len(pair)) == (client, server, 2)


def test_an_automatic_answer_has_a_limit_where_it_is_used() -> None:
    pair = WebSocketRequestResponsePair.new("x" * 2048, "pong")
    pair.check()
    assert (len(pair.request), pair.response) == (2048, "pong")
    with pytest.raises(
        JsRangeError,
        match=r"^RangeError: Request cannot be larger than 2048 bytes\. "
        r"A request of size 2049 was provided\.$",
    ):
        WebSocketRequestResponsePair("x" * 2049, "").check()
    with pytest.raises(JsRangeError, match=r"Response cannot .* A response of size 2050 was"):
        WebSocketRequestResponsePair("", "é" * 1025).check()


def test_only_text_and_bytes_are_messages() -> None:
    socket, _ = WebSocketPair()
    socket.accept()
    with pytest.raises(JsTypeError, match="not dict"):
        socket.send({})


async def test_half_a_character_is_sent_as_a_replacement_and_a_pair_as_one() -> None:
    client, server = WebSocketPair()
    events = _listen(client)
    server.accept()
    server.send("a\ud800b\udc00\ud83d\ude00\N{SNOWMAN}")
    server.close(1000, "\udfff")
    await _settle()
    assert events[0].data == "a\ufffdb\ufffd\N{GRINNING FACE}\N{SNOWMAN}"
    assert events[1].reason == "\ufffd"
    pair = WebSocketRequestResponsePair("\ud800", "x")
    pair.check()
    assert pair.request == "\ufffd"
