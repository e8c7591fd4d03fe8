"""Ten thousand hibernated WebSockets on one server, for as long as you like.

    python -m tests.simulation.crowd [--minutes 30] [--sockets 10000]

Each socket is a visitor of a room of its own, whose object is evicted while the socket stays. Clients answer
the server's pings and count them, and a few of them speak now and then and must be answered by their room.
Another connection asks for a page all the while, to see whether anybody feels the crowd.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

SOCKETS = 10_000
WARM_UP = 500
AT_ONCE = 100
SPEAKERS = 10
SPEAK_EVERY_S = 5.0
SAMPLE_EVERY_S = 30.0
HANDSHAKE = (
    "GET /{room} HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
_COMPRESSOR = zlib.compressobj(wbits=-15)
COMPRESSED = (_COMPRESSOR.compress(b"hello " * 40) + _COMPRESSOR.flush(zlib.Z_SYNC_FLUSH))[:-4]
_TEXT, _COMPRESSED, _CLOSE, _PING = 0x81, 0xC1, 0x88, 0x89
_MASKED = 0x80


class Visitor(asyncio.Protocol):
    """One raw client: it answers pings, and keeps the last text."""

    def __init__(self, room: str) -> None:
        self.room = room
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.pings = 0
        self._heard: asyncio.Future[str] | None = None
        self._received = b""
        self._is_upgraded = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(HANDSHAKE.format(room=self.room).encode())

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_upgraded:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            assert b"Sec-WebSocket-Extensions: permessage-deflate" in head
            self._received, self._is_upgraded = rest, True
            # A compressed message goes both ways before the socket sleeps.
            self._send(_COMPRESSED, COMPRESSED)
        while len(self._received) >= 2:
            kind, size = self._received[0], self._received[1]
            assert size < 126, "the crowd's frames are short"
            if len(self._received) < 2 + size:
                return
            payload, self._received = self._received[2 : 2 + size], self._received[2 + size :]
            self._take(kind, payload)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionError("closed"))
        self.closed.set_result(None)

    async def say(self, text: str) -> str:
        """Send a text and return the answer."""
        self._heard = asyncio.get_running_loop().create_future()
        self._send(_TEXT, text.encode())
        async with asyncio.timeout(20):
            return await self._heard

    def close(self) -> None:
        self._transport.abort()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _PING:
            self.pings += 1
            self._send(kind + 1, payload)
        elif kind == _COMPRESSED and not self.opened.done():
            self.opened.set_result(None)
        elif kind == _TEXT and self._heard is not None:
            self._heard.set_result(payload.decode())
        elif kind == _CLOSE:
            self._transport.close()

    def _send(self, kind: int, payload: bytes) -> None:
        # A mask of zeros leaves the payload as it is.
        self._transport.write(bytes((kind, _MASKED | len(payload), 0, 0, 0, 0)) + payload)


class Crowd:
    """A server process and its visitors."""

    def __init__(self, server: asyncio.subprocess.Process, port: int) -> None:
        self.server = server
        self._port = port
        self.visitors: list[Visitor] = []

    async def grow_to(self, count: int) -> None:
        """Let more visitors come."""
        while len(self.visitors) < count:
            first = len(self.visitors)
            size = min(AT_ONCE, count - first)
            self.visitors += await asyncio.gather(
                *(self._connect(f"room-{first + number}") for number in range(size))
            )

    async def _connect(self, room: str) -> Visitor:
        visitor = Visitor(room)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: visitor, "127.0.0.1", self._port)
        await visitor.opened
        return visitor

    async def get(self, path: str) -> str:
        """Fetch a page on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.partition(b"\r\n\r\n")[2].decode()

    async def wait_hibernated(self) -> None:
        """Return when no object is in memory."""
        async with asyncio.timeout(60):
            while await self.get("/live") != "0":
                await asyncio.sleep(0.1)

    async def latencies(self, seconds: float, *, pause_s: float = 0.001) -> list[float]:
        """Send requests one after the other on one connection for a while."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        found: list[float] = []
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(5) == b"hello"
            found.append(time.perf_counter() - start)
            await asyncio.sleep(pause_s)
        writer.close()
        return sorted(found)

    def rss_bytes(self) -> int:
        """Return the server's resident memory."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def descriptors(self) -> int:
        """Return how many files the server has open."""
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def lost(self) -> int:
        """Return how many visitors' connections have ended."""
        return sum(each.closed.done() for each in self.visitors)


@contextlib.asynccontextmanager
async def crowded(directory: Path) -> AsyncIterator[Crowd]:
    """Start a server for a crowd; it is killed in the end."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("socket_crowd.py")), str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        url = (await server.stdout.readline()).decode().strip()
        crowd = Crowd(server, int(url.rpartition(":")[2]))
        yield crowd
        for visitor in crowd.visitors:
            visitor.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()


class Crowded(msgspec.Struct, frozen=True, kw_only=True):
    """A crowd at one moment."""

    minutes: float
    rss_mib: float
    descriptors: int
    lost: int
    pings: int
    p99_ms: float


async def stay(crowd: Crowd, *, minutes: float) -> AsyncIterator[Crowded]:
    """Let visitors speak now and then, and say every half minute how things are."""
    chance = random.Random(1)
    began = time.monotonic()

    async def speak() -> None:
        while True:
            await asyncio.sleep(SPEAK_EVERY_S)
            for visitor in chance.sample(crowd.visitors, SPEAKERS):
                assert await visitor.say("hi") == f"{visitor.room} hi"

    speaking = asyncio.create_task(speak())
    try:
        while time.monotonic() - began < minutes * 60:
            found = await crowd.latencies(SAMPLE_EVERY_S, pause_s=0.02)
            if speaking.done():
                speaking.result()
            yield Crowded(
                minutes=(time.monotonic() - began) / 60,
                rss_mib=crowd.rss_bytes() / 2**20,
                descriptors=crowd.descriptors(),
                lost=crowd.lost(),
                pings=sum(each.pings for each in crowd.visitors),
                p99_ms=found[int(len(found) * 0.99)] * 1e3,
            )
    finally:
        speaking.cancel()


async def run(directory: Path, *, sockets: int, minutes: float) -> int:
    """Gather the crowd, let it stay, and print; return how many sockets were lost."""
    async with crowded(directory) as crowd:
        await crowd.grow_to(min(WARM_UP, sockets // 2))
        await crowd.wait_hibernated()
        before, few = crowd.rss_bytes(), len(crowd.visitors)
        await crowd.grow_to(sockets)
        await crowd.wait_hibernated()
        each = (crowd.rss_bytes() - before) / (sockets - few)
        print(f"{sockets} sockets, {each / 1024:.1f} KiB each when hibernated", flush=True)
        lost = 0
        async for now in stay(crowd, minutes=minutes):
            lost = now.lost
            print(
                f"{now.minutes:5.1f} min  {now.rss_mib:.1f} MiB  {now.descriptors} descriptors  "
                f"{now.lost} lost  {now.pings} pings  p99 {now.p99_ms:.1f} ms",
                flush=True,
            )
    return lost


def main() -> int:
    """Run the command line; exit 1 if a socket was lost."""
    parser = argparse.ArgumentParser(prog="crowd", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--sockets", type=int, default=SOCKETS)
    options = parser.parse_args()
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    with tempfile.TemporaryDirectory(prefix="crowd-") as name:
        lost = asyncio.run(run(Path(name), sockets=options.sockets, minutes=options.minutes))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
