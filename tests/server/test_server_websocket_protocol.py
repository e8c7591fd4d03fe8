"""RFC 6455 over a raw socket: the table of cases, and handshakes that are none."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_loopback import serving
from websocket_cases import CASES, MESSAGE_BYTES_MAX, Case
from websocket_wire import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    close,
    connected,
    frame,
    receive,
)
from workers import Request, Response
from workers.socket_end import End, Failed, Frame
from workers.websocket import WebSocket, WebSocketPair

from dohost.server.frames import Control, FrameReader, ProtocolError, Received
from dohost.server.limits import Limits

LIMITS = Limits(websocket_message_bytes_max=MESSAGE_BYTES_MAX)


class Echo:
    """Sends every message back at once, as an object does that has nothing to wait for."""

    def __init__(self, socket: WebSocket) -> None:
        self.end = socket.end
        socket.accept_hibernatable(self, self)

    def send(self, end: End, frame: Frame) -> None:
        end.deliver(frame)

    def receive(self, frame: Frame) -> None:
        self.end.handled(frame)
        if not isinstance(frame, Failed):
            self.end.relay(frame)

    def gone(self) -> None: ...

    def abandoned(self) -> None: ...


async def echo(request: Request) -> Response:
    """Answer with a socket that echoes."""
    client, server = WebSocketPair()
    Echo(server)
    return Response(None, 101, web_socket=client)


def test_the_table_is_as_large_as_promised() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 120


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_protocol(case: Case) -> None:
    async with serving(echo, LIMITS) as server:
        client = await connected(server)
        await client.write(case.sends)
        for expected in case.gets:
            assert await receive(client) == expected
        if case.gets[-1][0] == CLOSE:
            assert await client.is_closed()
        else:
            await client.write(frame(PING, b"still there?"))
            assert await receive(client) == (PONG, b"still there?")
            await client.write(close(1000))
            assert await receive(client) == (CLOSE, b"\x03\xe8")
        # Whatever one client does, the next is served.
        other = await connected(server)
        await other.write(frame(TEXT, b"healthy"))
        assert await receive(other) == (TEXT, b"healthy")


def outcome(pieces: list[bytes]) -> list[Received | tuple[int, str]]:
    """What the reader makes of a stream, and how it fails."""
    reader = FrameReader(message_bytes_max=MESSAGE_BYTES_MAX)
    found: list[Received | tuple[int, str]] = []
    try:
        for piece in pieces:
            for received in reader.feed(piece):
                found.append(received)
                if isinstance(received, Control) and received.opcode == CLOSE:
                    return found
    except ProtocolError as error:
        found.append((error.code, error.description))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_all_one_how_a_stream_is_cut(case: Case) -> None:
    data = case.sends
    step = 1 if len(data) < 2000 else 997
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    assert outcome(pieces) == outcome([data])


@given(
    messages=st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=5),
    mask=st.binary(min_size=4, max_size=4),
    data=st.data(),
)
def test_any_messages_in_any_fragments_and_pieces_arrive(messages, mask, data) -> None:
    stream = b""
    for message in messages:
        payload = message.encode() if isinstance(message, str) else message
        kind = TEXT if isinstance(message, str) else BINARY
        cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, part in enumerate(parts):
            stream += frame(0 if number else kind, part, fin=number == len(parts) - 1, mask=mask)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert outcome(pieces) == messages


@pytest.mark.parametrize("piece", [b"", "\N{LATIN SMALL LETTER A WITH MACRON}".encode(), b"\xff"])
def test_a_message_in_many_fragments_takes_no_more_memory_than_its_bytes(piece: bytes) -> None:
    reader = FrameReader(message_bytes_max=MESSAGE_BYTES_MAX)
    kind = BINARY if piece == b"\xff" else TEXT
    some = frame(0, piece, fin=False) * 1_000
    tracemalloc.start()
    try:
        assert list(reader.feed(frame(kind, piece, fin=False))) == []
        for _ in range(20):
            assert list(reader.feed(some)) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * 20_001 * len(piece) + 10_000
    (message,) = reader.feed(frame(0, piece))
    whole = piece * 20_002
    assert message == (whole if kind == BINARY else whole.decode())


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_but_by_its_own_error(noise: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for received in FrameReader(message_bytes_max=1000).feed(noise):
            assert isinstance(received, (str, bytes, Control))


def test_every_close_code_up_to_5000_is_taken_or_refused_as_the_rfc_says() -> None:
    """Unassigned codes from 1016 to 2999 are ordinary ones on Cloudflare; 1015 is never on the wire."""
    allowed = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(1016, 5000)}
    for code in range(5001):
        (found,) = outcome([close(code)])
        if code in allowed:
            assert found == Control(CLOSE, b"", code, "")
        else:
            assert found == (1002, f"Received close code {code}, which may not be sent")


async def test_a_client_that_ends_its_sending_gets_what_it_asked_for_before() -> None:
    async with serving(echo) as server:
        client = await connected(server)
        await client.write(frame(TEXT, b"last words") + frame(PING, b"p"))
        client.writer.write_eof()
        assert await receive(client) == (TEXT, b"last words")
        assert await receive(client) == (PONG, b"p")
        assert await client.is_closed()


@pytest.mark.parametrize("cut", range(1, 8))
async def test_a_client_that_ends_its_sending_in_a_frame_is_gone(cut: int) -> None:
    async with serving(echo) as server:
        client = await connected(server)
        await client.write(frame(TEXT, b"hi")[:cut])
        client.writer.write_eof()
        assert await client.is_closed()
        other = await connected(server)
        await other.write(frame(TEXT, b"healthy"))
        assert await receive(other) == (TEXT, b"healthy")


HANDSHAKES = {
    "well-formed": (HANDSHAKE, 101),
    "tokens in any case": (
        HANDSHAKE.replace(b": websocket", b": WebSocket").replace(b": Upgrade", b": upgrade"),
        101,
    ),
    "Upgrade in a list": (HANDSHAKE.replace(b": Upgrade", b": keep-alive, Upgrade"), 101),
    "no key": (HANDSHAKE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400),
    "short key": (HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ="), 400),
    "key that is no base64": (
        HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZQ=!"),
        400,
    ),
    "two keys": (HANDSHAKE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
    "no version": (HANDSHAKE.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426),
    "version 8": (HANDSHAKE.replace(b"Version: 13", b"Version: 8"), 426),
    "version 14": (HANDSHAKE.replace(b"Version: 13", b"Version: 14"), 426),
    "no Connection": (HANDSHAKE.replace(b"Connection: Upgrade\r\n", b""), 400),
    "Connection: close": (HANDSHAKE.replace(b"Connection: Upgrade", b"Connection: close"), 400),
    "another protocol": (HANDSHAKE.replace(b": websocket", b": h2c"), 500),
    "POST": (HANDSHAKE.replace(b"GET ", b"POST "), 500),
    "no Host": (HANDSHAKE.replace(b"Host: t\r\n", b""), 400),
    "HTTP/1.0": (HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_handshake(name: str) -> None:
    raw, status = HANDSHAKES[name]
    async with serving(echo) as server:
        client = await server.connect()
        await client.write(raw + b"\r\n")
        answer = await client.answer(to_head=status == 101)
        assert answer.status == status
        assert answer["sec-websocket-version"] == ("13" if status == 426 else None)
        if status != 101:
            assert await client.is_closed()
        assert answer["sec-websocket-extensions"] is None


async def test_foreign_extensions_and_protocols_are_not_agreed_on() -> None:
    async def program(request: Request) -> Response:
        client, server = WebSocketPair()
        Echo(server)
        headers = {
            "sec-websocket-protocol": "chat",
            "sec-websocket-extensions": "x-foreign",
        }
        return Response(None, 101, headers=headers, web_socket=client)

    async with serving(program) as server:
        client = await server.connect()
        await client.write(HANDSHAKE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        answer = await client.answer(to_head=True)
        assert answer.status == 101
        assert answer["sec-websocket-extensions"] is None
        assert answer["sec-websocket-protocol"] is None


async def test_frames_may_come_right_behind_the_request() -> None:
    async with serving(echo) as server:
        client = await server.connect()
        await client.write(
            HANDSHAKE + b"\r\n" + frame(TEXT, b"early") + frame(BINARY, b"x" * 100_000)
        )
        assert (await client.answer(to_head=True)).status == 101
        assert await receive(client) == (TEXT, b"early")
        assert await receive(client) == (BINARY, b"x" * 100_000)
