"""The bench with a server in front: WebSocket clients over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
from collections.abc import Callable
from pathlib import Path

import aiohttp
from host_bench import Bench

from dohost.config import WorkerConfig
from dohost.server.app import Server, ServerOptions
from dohost.telemetry import Log

# Everything goes to one object, by the path: `/a/…` is the object "a".
ROUTER = """
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        from urllib.parse import urlsplit
        name = urlsplit(request.url).path.split("/")[1]
        return await self.env.ROOM.getByName(name).fetch(request)
"""
# A room that accepts every upgrade and keeps what it heard.
ROOM = """
class Room(DurableObject):
    instances = 0

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        Room.instances += 1
        self.heard = []

    async def fetch(self, request):
        client, server = WebSocketPair.new().object_values()
        self.ctx.acceptWebSocket(server, self.tags(request))
        return Response(None, status=101, web_socket=client)

    def tags(self, request):
        from urllib.parse import parse_qs, urlsplit
        return parse_qs(urlsplit(request.url).query).get("tag", [])

    async def webSocketMessage(self, ws, message):
        self.heard.append(message)
        ws.send(message)

    async def webSocketClose(self, ws, code, reason, was_clean):
        self.heard.append([code, reason, was_clean])

    async def look(self):
        return {"heard": self.heard, "instances": Room.instances,
                "sockets": len(self.ctx.getWebSockets())}
"""
IMPORTS = """
import asyncio
from js import WebSocketPair, WebSocketRequestResponsePair
"""


class WireBench(Bench):
    """A host, a server, and their clients."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, evict_after_s=10.0)
        self._server: Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._clients: list[aiohttp.ClientWebSocketResponse] = []
        self.url = ""

    async def serve(self, code: str = "", **options: object) -> None:
        """Run `code` behind the router (a room of the plain kind without it) and listen."""
        await self.serve_worker(self.room(code, **options))

    async def serve_worker(self, worker: WorkerConfig) -> None:
        """Run a worker and listen."""
        await self.run(worker)
        server = Server(
            self.host.fetch,
            ServerOptions(port=0),
            clock=self.clock,
            log=Log(self.events.append),
            compresses_sockets=self.host.compresses_sockets,
        )
        self._server = server
        self.url = await server.start()
        self._session = aiohttp.ClientSession()

    def room(self, code: str = "", **options: object) -> WorkerConfig:
        """Return the configuration of a worker with the router and `code`, or the plain room."""
        return self.config(IMPORTS + ROUTER + textwrap.dedent(code or ROOM), **options)

    async def connect(
        self, path: str = "/a/", **options: object
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket. Raises: aiohttp.WSServerHandshakeError if it is declined."""
        assert self._session is not None, "serve() comes first"
        client = await self._session.ws_connect(self.url + path, **options)
        self._clients.append(client)
        return client

    async def connect_raw(
        self, path: str = "/a/"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a WebSocket without a client library."""
        port = int(self.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return reader, writer

    async def fetch_text(self, path: str = "/a/") -> tuple[int, str]:
        assert self._session is not None, "serve() comes first"
        async with self._session.get(self.url + path) as response:
            return response.status, await response.text()

    def room_stub(self, name: str = "a"):
        return self.stub(name, class_name="Room")

    def room_actor(self, name: str = "a"):
        return self.actor(name, class_name="Room")

    def hibernate(self, seconds: float = 10) -> None:
        """Let objects be idle for so long; asserts that none is left in memory."""
        self.pass_time(seconds)
        assert self.room_actor() is None

    async def stop(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))
        if self._session is not None:
            await self._session.close()
        if self._server is not None:
            await self._server.stop(0.05)
        await self.host.drain(grace_s=1)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def ended(client: aiohttp.ClientWebSocketResponse) -> int | None:
    """Wait for the end of a client's socket; return the close code that it saw."""
    with contextlib.suppress(ConnectionError):
        while not client.closed:
            await client.receive(timeout=10)
    return client.close_code
