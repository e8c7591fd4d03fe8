"""Ten thousand hibernated WebSockets on one server: what each costs, and that nobody else feels them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
import zlib
from pathlib import Path

import pytest

SOCKETS = 10_000
WARM_UP = 500
BYTES_EACH_MAX = 20 * 1024
P99_MAX_S = 0.020
SERVER = Path(__file__).with_name("socket_crowd.py")
FRAME = b"\x81\x82\0\0\0\0hi"
_COMPRESSOR = zlib.compressobj(wbits=-15)
_PAYLOAD = (_COMPRESSOR.compress(b"hello " * 40) + _COMPRESSOR.flush(zlib.Z_SYNC_FLUSH))[:-4]
COMPRESSED_FRAME = bytes((0xC1, 0x80 | len(_PAYLOAD), 0, 0, 0, 0)) + _PAYLOAD


def rss_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Crowd:
    """Raw clients of one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def grow_to(self, count: int) -> None:
        while len(self.clients) < count:
            first = len(self.clients)
            size = min(100, count - first)
            self.clients += await asyncio.gather(
                *(self._connect(f"room-{first + number}") for number in range(size))
            )

    async def _connect(self, room: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1024)
        writer.write(
            f"GET /{room} HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Extensions: permessage-deflate" in head
        # A compressed message goes both ways before the socket sleeps.
        writer.write(COMPRESSED_FRAME)
        first, size = await reader.readexactly(2)
        assert first == 0xC1
        await reader.readexactly(size)
        return reader, writer

    async def get(self, path: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.partition(b"\r\n\r\n")[2].decode()

    async def wait_hibernated(self) -> None:
        async with asyncio.timeout(60):
            while await self.get("/live") != "0":
                await asyncio.sleep(0.1)

    async def latencies(self, seconds: float) -> list[float]:
        """Send requests one after the other on one connection for a while."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found: list[float] = []
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(5) == b"hello"
            found.append(time.perf_counter() - start)
            await asyncio.sleep(0.001)
        writer.close()
        return sorted(found)


def allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard < count:
            pytest.skip(f"this machine allows {hard} open files, {count} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_ten_thousand_hibernated_sockets(tmp_path: Path) -> None:
    allow_descriptors(SOCKETS + 500)
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVER),
        str(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    url = (await server.stdout.readline()).decode().strip()
    crowd = Crowd(int(url.rpartition(":")[2]))
    await crowd.grow_to(WARM_UP)
    await crowd.wait_hibernated()
    before = rss_bytes(server.pid)
    await crowd.grow_to(SOCKETS)
    await crowd.wait_hibernated()
    each = (rss_bytes(server.pid) - before) / (SOCKETS - WARM_UP)
    found = await crowd.latencies(10)
    p99 = found[int(len(found) * 0.99)]
    print(
        f"\n{each / 1024:.1f} KiB each; p50 {found[len(found) // 2] * 1e3:.2f} ms, "
        f"p99 {p99 * 1e3:.2f} ms of {len(found)} requests"
    )
    assert each <= BYTES_EACH_MAX
    assert p99 < P99_MAX_S

    for number in (0, 1234, SOCKETS - 1):
        reader, writer = crowd.clients[number]
        writer.write(FRAME)
        expected = f"room-{number} hi".encode()
        assert await reader.readexactly(2) == bytes((0x81, len(expected)))
        assert await reader.readexactly(len(expected)) == expected
    assert await crowd.get("/live") == "3"
    server.kill()
    await server.wait()
    async with asyncio.timeout(5):
        for reader, writer in crowd.clients:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read(1) == b""
            writer.close()
