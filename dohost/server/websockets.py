"""WebSockets: a 101 Response's socket, joined to a client by aiohttp.

The socket that a program returns is one end of a pair in memory. Frames that arrive at it go out to the
client through one queue and one writing task, in order and as fast as the client takes them; the
client's frames are relayed into it. Protocol pings are answered by aiohttp and never seen by programs.

Invariants: (1) the last frame each way is a Close; a client that leaves without one is 1006 to the
program; (2) codes 1005 and 1006 never go out; (3) neither side can keep the other waiting for its Close,
or make frames pile up, without bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from struct import pack

from aiohttp import WSMsgType, web
from aiohttp.http import StreamWriter
from workers.response import FetchResponse
from workers.websocket import ABNORMAL, NO_STATUS, Close, Frame, WebSocket

from dohost.server.exchange import Exchange
from dohost.server.limits import Limits
from dohost.server.problems import Problem

GOING_AWAY = Close(code=1001, reason="server is stopping")
_PROTOCOL_FIELD = "sec-websocket-protocol"
# aiohttp makes these; `connection` and the like are never the program's to say.
_HANDSHAKE_FIELDS = frozenset(
    ("connection", "upgrade", "sec-websocket-accept", "sec-websocket-extensions", _PROTOCOL_FIELD)
)
_FRAMING_FIELDS = frozenset(("content-length", "transfer-encoding", "content-type"))


class ClientSink:
    """Queues the frames that go out to a client; a client that doesn't take them is cut off."""

    __slots__ = ("_bytes_max", "_bytes_queued", "_exchange", "_frames")

    def __init__(self, exchange: Exchange, *, bytes_max: int) -> None:
        self._exchange = exchange
        self._bytes_max = bytes_max
        self._bytes_queued = 0
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()

    def receive(self, frame: Frame) -> None:
        """Take the next frame for the client."""
        self._bytes_queued += _size(frame)
        self._frames.put_nowait(frame)
        if self._bytes_queued > self._bytes_max:
            cut(self._exchange)

    async def next(self) -> Frame:
        """Return the next frame. Cancel-safe."""
        frame = await self._frames.get()
        self._bytes_queued -= _size(frame)
        return frame


def handshake_problem(exchange: Exchange) -> Problem | None:
    """Return why a WebSocket can't be the answer to this request, or None."""
    headers = exchange.message.headers
    if exchange.message.method == "GET" and headers.get("Upgrade", "").lower() == "websocket":
        return None
    return Problem(
        status=500,
        detail="The program answered with a WebSocket, but the client did not ask for one.",
        code="websocket-not-asked-for",
    )


async def serve_websocket(
    exchange: Exchange, response: FetchResponse, limits: Limits
) -> Problem | None:
    """Join the response's socket to the exchange's client until both sides have closed.

    Return the answer to a malformed handshake, else None: the connection must be closed then.
    """
    socket = response.web_socket
    assert socket is not None, "the caller saw it"
    sink = ClientSink(exchange, bytes_max=limits.websocket_queue_bytes_max)
    socket.couple(sink)
    client = _client_of(response.raw_header_items(), limits)
    task = exchange.loop_task
    assert task is not None, "an upgrade is served by the connection's own task"
    loop = asyncio.get_running_loop()
    request = web.BaseRequest(
        exchange.message,
        exchange.payload,
        exchange.connection,
        StreamWriter(exchange.connection, loop),
        task,
        loop,
    )
    try:
        await client.prepare(request)
    except web.HTTPBadRequest:
        socket.disconnect()
        return Problem(status=400, detail="The WebSocket handshake is malformed.")
    exchange.has_answered = True
    exchange.on_drain = lambda: sink.receive(GOING_AWAY)
    writing = loop.create_task(_write(client, sink))
    try:
        await _read(client, socket, writing, limits.websocket_close_s)
    finally:
        exchange.on_drain = None
        writing.cancel()
        socket.disconnect()
        await asyncio.wait((writing,))
    return None


def cut(exchange: Exchange) -> None:
    """Drop the client without a word."""
    transport = exchange.connection.transport
    if transport is not None:
        transport.abort()


def _client_of(items: Iterable[tuple[str, str]], limits: Limits) -> web.WebSocketResponse:
    fields = [(name, value) for name, value in items]
    protocols = tuple(value for name, value in fields if name.lower() == _PROTOCOL_FIELD)
    client = web.WebSocketResponse(
        autoclose=False,
        compress=False,
        max_msg_size=limits.websocket_message_bytes_max,
        protocols=protocols,
        timeout=limits.websocket_close_s,
    )
    for name, value in fields:
        if name.lower() not in _HANDSHAKE_FIELDS | _FRAMING_FIELDS:
            client.headers.add(name, value)
    return client


async def _write(client: web.WebSocketResponse, sink: ClientSink) -> None:
    """Send frames up to and with the Close; ends early if the client is gone."""
    while True:
        frame = await sink.next()
        try:
            match frame:
                case str():
                    await client.send_str(frame)
                case bytes():
                    await client.send_bytes(frame)
                case Close():
                    await _send_close(client, frame)
                    return
        except ConnectionError:
            return


async def _send_close(client: web.WebSocketResponse, frame: Close) -> None:
    if frame.code == ABNORMAL:
        return
    payload = b"" if frame.code == NO_STATUS else pack("!H", frame.code) + frame.reason.encode()
    await client.send_frame(payload, WSMsgType.CLOSE)


async def _read(
    client: web.WebSocketResponse,
    socket: WebSocket,
    writing: asyncio.Task[None],
    close_s: float,
) -> None:
    """Relay the client's frames until both sides have closed, or one keeps the other waiting."""
    deadline = asyncio.timeout(None)

    def expect_close(_: object) -> None:
        # The program has said its last word: the client has this long for its own.
        deadline.reschedule(asyncio.get_running_loop().time() + close_s)

    try:
        async with deadline:
            writing.add_done_callback(expect_close)
            frame = await _relay_messages(client, socket)
            if frame is None:
                return
            socket.relay(frame)
            deadline.reschedule(asyncio.get_running_loop().time() + close_s)
            writing.remove_done_callback(expect_close)
            await asyncio.wait((writing,))
    except TimeoutError:
        if client.close_code is not None:
            # The client closed and the program did not answer: say it for the program.
            await _send_close(client, Close(code=client.close_code or NO_STATUS, reason=""))
    finally:
        writing.remove_done_callback(expect_close)


async def _relay_messages(client: web.WebSocketResponse, socket: WebSocket) -> Close | None:
    """Relay messages until the client closes; return its Close, or None if it is gone."""
    while True:
        message = await client.receive()
        match message.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                socket.relay(message.data)
            case WSMsgType.CLOSE:
                return Close(code=message.data or NO_STATUS, reason=message.extra or "")
            case _:
                return None


def _size(frame: Frame) -> int:
    return 0 if isinstance(frame, Close) else len(frame)
