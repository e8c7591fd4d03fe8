"""A client's side of RFC 6455 without manners: it sends whatever frames a test asks for."""

from __future__ import annotations

import asyncio
from struct import pack, unpack

from server_loopback import Client

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"


def frame(
    kind: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = MASK,
) -> bytes:
    """One frame; without a mask it is none of a client's."""
    masked = 0 if mask is None else 0x80
    size = len(payload)
    head = pack("!B", fin << 7 | reserved << 4 | kind)
    if size < 126:
        head += pack("!B", masked | size)
    elif size < 1 << 16:
        head += pack("!BH", masked | 126, size)
    else:
        head += pack("!BQ", masked | 127, size)
    if mask is None:
        return head + payload
    key = (mask * (size // 4 + 1))[:size]
    hidden = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
    return head + mask + hidden


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, b"" if code is None else pack("!H", code) + reason)


async def receive(client: Client) -> tuple[int, bytes]:
    """Read one frame of the server, which must be whole, unmasked and uncompressed."""
    first, payload = await receive_first(client)
    assert first & 0xF0 == 0x80
    return first & 15, payload


async def receive_first(client: Client) -> tuple[int, bytes]:
    """Read one frame of the server: its first byte and its payload."""
    async with asyncio.timeout(10):
        first, size = await client.reader.readexactly(2)
        assert size < 128
        if size == 126:
            (size,) = unpack("!H", await client.reader.readexactly(2))
        elif size == 127:
            (size,) = unpack("!Q", await client.reader.readexactly(8))
        return first, await client.reader.readexactly(size)


async def connected(server, path: bytes = b"/ws") -> Client:
    """Return a client whose handshake was answered."""
    client = await server.connect()
    await client.write(HANDSHAKE.replace(b"/ws", path, 1) + b"\r\n")
    answer = await client.answer(to_head=True)
    assert answer.status == 101
    return client
