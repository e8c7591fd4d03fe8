"""A WebSocket from a program to a real client and back, frame by frame."""

from __future__ import annotations

import asyncio
from struct import pack

from server_loopback import Loopback, serving, until
from websocket_wire import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    connected,
    frame,
    receive,
)
from workers import Request, Response
from workers.context import current_sockets
from workers.socket_events import LocalSockets
from workers.websocket import WebSocketPair

from dohost.server.limits import Limits


class Echo:
    """A program that echoes messages and keeps its socket and what it heard at the end."""

    def __init__(
        self, *, replies: bool = True, blocked: asyncio.Event | None = None, **headers: str
    ) -> None:
        self.headers = headers
        self.closes: list[tuple[int, str, bool]] = []
        self.errors: list[str] = []
        self.replies = replies
        self.blocked = blocked

    async def __call__(self, request: Request) -> Response:
        client, self.socket = WebSocketPair()
        token = current_sockets.set(LocalSockets(replies_to_close=self.replies))
        self.socket.accept()
        current_sockets.reset(token)
        self.socket.addEventListener("message", self.on_message)
        self.socket.addEventListener("close", self.on_close)
        self.socket.addEventListener("error", lambda event: self.errors.append(event.message))
        return Response(None, 101, headers=self.headers or None, web_socket=client)

    async def on_message(self, event) -> None:
        if self.blocked is not None:
            await self.blocked.wait()
        self.socket.send(event.data)

    def on_close(self, event) -> None:
        self.closes.append((event.code, event.reason, event.wasClean))


def pass_time(server: Loopback, seconds: float) -> None:
    """Advance the clock and see to what is due."""
    server.clock.advance(seconds)
    server.sweep()


def peer_of(server: Loopback):
    """The server's side of the only WebSocket."""
    (peer,) = server.server._listener._upgraded
    return peer


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
    program = Echo()
    async with serving(program) as server:
        client = await connected(server)
        program.socket.close(1000)
        await receive(client)
        pass_time(server, 10)
        assert await client.is_closed()
        await until(lambda: bool(program.closes) and program.closes[0][0] == 1006)


async def test_a_close_that_the_program_does_not_answer_is_answered_for_it() -> None:
    program = Echo(replies=False)
    async with serving(program) as server:
        client = await connected(server)
        await client.write(frame(CLOSE, pack("!H", 1001)))
        await until(lambda: len(program.closes) == 1)
        pass_time(server, 9)
        assert server.connections == 1
        pass_time(server, 1)
        assert await receive(client) == (CLOSE, pack("!H", 1001))
        assert await client.is_closed()


async def test_a_message_above_the_limit_closes_with_1009() -> None:
    program = Echo()
    limits = Limits(websocket_message_bytes_max=1000)
    async with serving(program, limits) as server:
        client = await connected(server)
        await client.write(frame(BINARY, b"x" * 1000))
        assert (await receive(client))[0] == BINARY
        await client.write(frame(BINARY, b"x" * 1001))
        assert await receive(client) == (
            CLOSE,
            pack("!H", 1009) + b"Message is too large: 1001 > 1000",
        )
        assert await client.is_closed()
        await until(lambda: bool(program.errors))
        assert "statusCode = 1009" in program.errors[0]


async def test_a_program_that_lags_makes_its_client_wait() -> None:
    program = Echo(blocked=asyncio.Event())
    async with serving(program) as server:
        client = await connected(server)
        await client.write(frame(BINARY, b"x" * 1_100_000))
        await until(lambda: peer_of(server).is_reading_paused)
        await client.write(frame(TEXT, b"behind"))
        # A client that is not read can't answer pings: silence is not held against it.
        for _ in range(4):
            pass_time(server, 30)
        assert server.connections == 1
        program.blocked.set()
        assert len((await receive(client))[1]) == 1_100_000
        assert await receive(client) == (TEXT, b"behind")


async def test_a_silent_client_is_pinged_and_then_given_up() -> None:
    program = Echo()
    async with serving(program) as server:
        client = await connected(server)
        pass_time(server, 29)
        await client.write(frame(TEXT, b"here"))
        assert await receive(client) == (TEXT, b"here")
        pass_time(server, 29)
        pass_time(server, 1)
        assert await receive(client) == (PING, b"")
        await client.write(frame(PONG, b""))
        await until(lambda: not peer_of(server).is_pinged)
        pass_time(server, 30)
        assert await receive(client) == (PING, b"")
        pass_time(server, 30)
        assert await client.is_closed()
        await until(lambda: program.closes[0][0] == 1006)


async def test_pings_of_sockets_that_opened_together_are_spread() -> None:
    async with serving(Echo()) as server:
        clients = [await connected(server) for _ in range(30)]
        watch = server.server._listener.sockets
        pass_time(server, 30)
        pinged = sum(connection.is_pinged for connection in watch._idle)
        assert pinged == 3
        for _ in range(11):
            server.sweep()
        assert all(connection.is_pinged for connection in watch._idle)
        for client in clients:
            assert await receive(client) == (PING, b"")


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
