"""A server with a small program behind it, and a client that sends whatever bytes it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from workers import Request, Response

from dohost.clock import ManualClock, SeededEntropy
from dohost.server.app import RequestLine, Server, ServerOptions
from dohost.server.limits import Limits
from dohost.telemetry import Event, Log

Program = Callable[[Request], Awaitable[Response]]


async def echo(request: Request) -> Response:
    """Answer with what arrived."""
    body = await request.bytes()
    headers = {"x-url": request.url, "x-fields": repr(request.headers.items())}
    return Response(b"%s %d" % (str(request.method).encode(), len(body)), headers=headers)


class Loopback:
    """A running server with its clock, its log and the lines of its requests."""

    def __init__(self, server: Server, url: str, clock: ManualClock) -> None:
        self.server = server
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.clock = clock
        self.events: list[Event] = []
        self.lines: list[RequestLine] = []
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def send(self, raw: bytes) -> Answer:
        """Send one request on a connection of its own and return the first answer."""
        client = await self.connect()
        try:
            await client.write(raw)
            return await client.answer()
        finally:
            client.close()

    async def get(self, path: str = "/", *lines: str) -> Answer:
        fields = "".join(f"{line}\r\n" for line in lines)
        return await self.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n{fields}\r\n".encode())

    @property
    def connections(self) -> int:
        listener = self.server._listener
        assert listener is not None
        return listener.count.total

    def sweep(self) -> None:
        listener = self.server._listener
        assert listener is not None
        listener.sweep()


class Answer:
    """One answer as it was on the wire."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.reason = lines[0].split(" ", 2)[2]
        self.fields = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
        self.body = body

    def __getitem__(self, name: str) -> str | None:
        return next((v for n, v in self.fields if n.lower() == name.lower()), None)

    @property
    def closes(self) -> bool:
        return self["connection"] == "close"


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Read one answer. Raises: IncompleteReadError if the server closes before its end."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            answer = Answer(head[:-4], b"")
            if to_head or answer.status in (100, 101, 204, 304):
                return answer
            if answer["transfer-encoding"] == "chunked":
                answer.body = await self._chunks()
            elif (length := answer["content-length"]) is not None:
                answer.body = await self.reader.readexactly(int(length))
            else:
                answer.body = await self.reader.read()
            return answer

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def is_closed(self) -> bool:
        """Wait for the server to close; False if it says more first."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    def close(self) -> None:
        self.writer.close()

    async def leave(self) -> None:
        """Close and wait until the transport is gone."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def serving(
    program: Program = echo, limits: Limits | None = None, **options: object
) -> AsyncIterator[Loopback]:
    """Run a server on a free port; `options` go to Server or ServerOptions."""
    clock = ManualClock()
    ours = {
        key: options.pop(key)
        for key in ("error_page", "local_api", "compresses_sockets")
        if key in options
    }
    loopback: Loopback
    server = Server(
        program,
        ServerOptions(port=0, limits=limits or Limits(), **options),
        clock=clock,
        log=Log(lambda event: loopback.events.append(event)),
        entropy=SeededEntropy(1),
        on_request=lambda line: loopback.lines.append(line),
        **ours,
    )
    loopback = Loopback(server, await server.start(), clock)
    try:
        yield loopback
    finally:
        for client in loopback.clients:
            await client.leave()
        await server.stop(0.05)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
