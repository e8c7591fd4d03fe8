"""A WebSocket from a program to a real client and back, frame by frame."""

from __future__ import annotations

import asyncio
from struct import pack

from server_loopback import Client, serving, until
from workers import Request, Response
from workers.websocket import WebSocketPair

from dohost.server.limits import Limits

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(kind: int, payload: bytes) -> bytes:
    """A client's frame, masked with zeros."""
    size = len(payload)
    length = pack("!B", 0x80 | size) if size < 126 else pack("!BH", 0xFE, size)
    return pack("!B", 0x80 | kind) + length + b"\0\0\0\0" + payload


async def receive(client: Client) -> tuple[int, bytes]:
    async with asyncio.timeout(10):
        kind, size = await client.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await client.reader.readexactly(2))
        return kind & 15, await client.reader.readexactly(size)


class Echo:
    """A program that echoes messages and keeps its socket and what it heard at the end."""

    def __init__(self, **headers: str) -> None:
        self.headers = headers
        self.closes: list[tuple[int, str, bool]] = []
        self.replies = True

    async def __call__(self, request: Request) -> Response:
        client, self.socket = WebSocketPair()
        self.socket.accept()
        self.socket.addEventListener("message", lambda event: self.socket.send(event.data))
        self.socket.addEventListener("close", self.on_close)
        return Response(None, 101, headers=self.headers or None, web_socket=client)

    async def on_close(self, event) -> None:
        self.closes.append((event.code, event.reason, event.wasClean))
        if not self.replies:
            await asyncio.Event().wait()


async def connected(server) -> Client:
    client = await server.connect()
    await client.write(HANDSHAKE + b"\r\n")
    assert (await client.answer()).status == 101
    return client


async def test_messages_go_both_ways_in_order_and_intact() -> None:
    async with serving(Echo()) as server:
        client = await connected(server)
        await client.write(frame(TEXT, "grün".encode()) + frame(BINARY, b"\0\xff" * 200))
        assert await receive(client) == (TEXT, "grün".encode())
        assert await receive(client) == (BINARY, b"\0\xff" * 200)
        await client.write(frame(PING, b"p") + frame(TEXT, b""))
        assert await receive(client) == (PONG, b"p")
        assert await receive(client) == (TEXT, b"")


async def test_the_handshake_has_the_programs_protocol_and_fields() -> None:
    program = Echo(**{"sec-websocket-protocol": "chat", "x-a": "1", "set-cookie": "c=1"})
    async with serving(program) as server:
        client = await server.connect()
        await client.write(HANDSHAKE + b"Sec-WebSocket-Protocol: other, chat\r\n\r\n")
        answer = await client.answer()
        assert answer["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert [answer[n] for n in ("sec-websocket-protocol", "x-a", "set-cookie")] == [
            "chat",
            "1",
            "c=1",
        ]


async def test_a_clients_close_reaches_the_program_and_is_answered() -> None:
    program = Echo()
    async with serving(program) as server:
        client = await connected(server)
        await client.write(frame(CLOSE, pack("!H", 3234) + b"OK"))
        kind, payload = await receive(client)
        assert (kind, payload[:2]) == (CLOSE, pack("!H", 3234))
        assert await client.is_closed()
        assert program.closes == [(3234, "OK", True)]


async def test_a_programs_close_reaches_the_client_and_hears_its_answer() -> None:
    program = Echo()
    async with serving(program) as server:
        client = await connected(server)
        program.socket.close(4321, "KO")
        assert await receive(client) == (CLOSE, pack("!H", 4321) + b"KO")
        await client.write(frame(CLOSE, pack("!H", 4321)))
        assert await client.is_closed()
        await until(lambda: program.closes == [(4321, "", True)])


async def test_a_close_without_a_code_has_no_code_on_the_wire() -> None:
    program = Echo()
    async with serving(program) as server:
        client = await connected(server)
        program.socket.close()
        assert await receive(client) == (CLOSE, b"")
        await client.write(frame(CLOSE, b""))
        await until(lambda: program.closes == [(1005, "", True)])


async def test_a_client_that_vanishes_is_1006_once() -> None:
    program = Echo()
    async with serving(program) as server:
        client = await connected(server)
        client.writer.transport.abort()
        await until(lambda: bool(program.closes))
        message = "WebSocket disconnected without sending Close frame."
        assert program.closes == [(1006, message, False)]
        await until(lambda: server.connections == 0)


async def test_neither_side_waits_for_a_close_without_bound() -> None:
    limits = Limits(websocket_close_s=0.02)
    program = Echo()
    async with serving(program, limits) as server:
        client = await connected(server)
        program.socket.close(1000)
        await receive(client)
        assert await client.is_closed()
        await until(lambda: bool(program.closes) and program.closes[0][0] == 1006)

        program.replies = False
        client = await connected(server)
        await client.write(frame(CLOSE, pack("!H", 1001)))
        assert (await receive(client))[0] == CLOSE
        assert await client.is_closed()


async def test_a_message_above_the_limit_closes_with_1009() -> None:
    program = Echo()
    limits = Limits(websocket_message_bytes_max=1000, websocket_close_s=0.05)
    async with serving(program, limits) as server:
        client = await connected(server)
        await client.write(frame(BINARY, b"x" * 999))
        assert (await receive(client))[0] == BINARY
        await client.write(frame(BINARY, b"x" * 1001))
        kind, payload = await receive(client)
        assert (kind, payload[:2]) == (CLOSE, pack("!H", 1009))
        await until(lambda: bool(program.closes))


async def test_a_client_that_takes_nothing_is_cut_at_the_bound() -> None:
    program = Echo()
    async with serving(program, Limits(websocket_queue_bytes_max=1_000_000)) as server:
        await connected(server)
        for _ in range(11):
            program.socket.send(b"x" * 100_000)
        await until(lambda: program.closes != [] and program.closes[0][0] == 1006)


async def test_a_socket_nobody_asked_for_is_the_programs_failure() -> None:
    async with serving(Echo()) as server:
        answer = await server.get("/ws")
        assert answer.status == 500
        assert b"did not ask" in answer.body


async def test_a_malformed_handshake_is_refused() -> None:
    program = Echo()
    async with serving(program) as server:
        raw = HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short")
        answer = await server.send(raw + b"\r\n")
        assert (answer.status, answer.closes) == (400, True)
        await until(lambda: bool(program.closes))


async def test_an_upgrade_that_the_program_declines_is_an_ordinary_answer() -> None:
    async def program(request: Request) -> Response:
        return Response("no", status=426)

    async with serving(program) as server:
        client = await server.connect()
        await client.write(HANDSHAKE + b"\r\nGET /next HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await client.answer()).status == 426
        assert (await client.answer()).status == 426


async def test_a_stopping_server_says_going_away() -> None:
    program = Echo()
    async with serving(program) as server:
        client = await connected(server)
        stopping = asyncio.create_task(server.server.stop(5))
        kind, payload = await receive(client)
        assert (kind, payload[:2]) == (CLOSE, pack("!H", 1001))
        await client.write(frame(CLOSE, payload[:2]))
        await stopping
        assert program.closes[0][0] == 1001
