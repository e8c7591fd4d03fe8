"""Compressed WebSocket messages: what is agreed on, every way to send one, and what none may cost."""

from __future__ import annotations

import tracemalloc
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_loopback import Client, Loopback, serving
from test_server_websocket_protocol import Echo, echo
from websocket_cases import said
from websocket_wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    close,
    frame,
    receive,
    receive_first,
)
from workers import Request, Response
from workers.websocket import WebSocketPair

from dohost.clock import SeededEntropy
from dohost.server.deflate import (
    COMPRESSED_BYTES_MAX,
    COMPRESSED_BYTES_MIN,
    Inflater,
    Unbounded,
    agree,
    compressed,
)
from dohost.server.frames import FrameReader, ProtocolError
from dohost.server.limits import Limits

BYTES_MAX = 200_000
TAIL = b"\0\0\xff\xff"
FIRST_BIT = 4
AGREED = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"


def deflated(
    data: bytes, *, mode: int = zlib.Z_SYNC_FLUSH, level: int = 6, bits: int = 15
) -> bytes:
    """A message's payload as a client compresses it."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (compressor.compress(data) + compressor.flush(mode)).removesuffix(TAIL)


def inflated(data: bytes, bits: int = 15) -> bytes:
    return zlib.decompressobj(-bits).decompress(data + TAIL)


OFFERS = [
    (("permessage-deflate",), AGREED),
    (("permessage-deflate; client_no_context_takeover",), AGREED),
    (("permessage-deflate; server_no_context_takeover; client_no_context_takeover",), AGREED),
    (("permessage-deflate; client_max_window_bits",), AGREED + "; client_max_window_bits=15"),
    (("permessage-deflate;client_max_window_bits=8",), AGREED + "; client_max_window_bits=8"),
    (("permessage-deflate; server_max_window_bits=10",), AGREED + "; server_max_window_bits=10"),
    (
        ("permessage-deflate; server_max_window_bits=9; client_max_window_bits",),
        AGREED + "; client_max_window_bits=15; server_max_window_bits=9",
    ),
    (("foo, permessage-deflate",), AGREED),
    (("foo", "permessage-deflate"), AGREED),
    (("foo; a=b, permessage-deflate; bar, permessage-deflate",), AGREED),
    (
        (
            "permessage-deflate; server_max_window_bits=16, "
            "permessage-deflate; server_max_window_bits=12",
        ),
        AGREED + "; server_max_window_bits=12",
    ),
    ((), None),
    (("",), None),
    (("foo",), None),
    (("x-webkit-deflate-frame",), None),
    (("PERMESSAGE-DEFLATE",), None),
    (("permessage-deflate; foo",), None),
    (("permessage-deflate; Client_No_Context_Takeover",), None),
    (("permessage-deflate; server_max_window_bits",), None),
    (("permessage-deflate; server_no_context_takeover=1",), None),
    (("permessage-deflate; client_no_context_takeover; client_no_context_takeover",), None),
    (("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",), None),
    *[
        ((f"permessage-deflate; {side}_max_window_bits={bits}",), None)
        for side in ("client", "server")
        for bits in ("7", "16", "0", "-9", "010", "10x", '"10"', "", "1e1", "9" * 5000, "٩")
    ],
]


@pytest.mark.parametrize(("offers", "field"), OFFERS, ids=lambda each: str(each)[:60])
def test_the_first_offer_that_can_be_kept_is_agreed_on(
    offers: tuple[str, ...], field: str | None
) -> None:
    agreement = agree(offers)
    assert (None if agreement is None else agreement.field) == field


async def offered(server: Loopback, offer: str = "permessage-deflate") -> tuple[Client, str | None]:
    """Return a client whose offer was answered, and the answer."""
    client = await server.connect()
    await client.write(HANDSHAKE + f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode())
    answer = await client.answer(to_head=True)
    assert answer.status == 101
    return client, answer["sec-websocket-extensions"]


class Case(msgspec.Struct, frozen=True):
    name: str
    sends: bytes
    gets: tuple[tuple[int, bytes], ...]


HELLO = (TEXT, b"Hello")
LONG = b"All work and no play makes Jack a dull boy. " * 400
RESERVED = said(1002, "Received a frame with a reserved bit set")
UNDECODABLE = said(1002, "Invalid compressed data")
TOO_LARGE = said(1009, f"Message is too large: more than {BYTES_MAX} > {BYTES_MAX}")


def one(kind: int, payload: bytes) -> bytes:
    return frame(kind, payload, reserved=FIRST_BIT)


def parts(kind: int, payload: bytes, size: int, between: bytes = b"") -> bytes:
    """A compressed message in frames of `size` bytes; only the first has the bit."""
    cuts = range(0, len(payload), size)
    return between.join(
        frame(
            CONTINUATION if start else kind,
            payload[start : start + size],
            reserved=0 if start else FIRST_BIT,
            fin=start + size >= len(payload),
        )
        for start in cuts
    )


CASES = [
    # The examples of RFC 7692, section 7.2.3.
    Case("one block", one(TEXT, bytes.fromhex("f248cdc9c90700")), (HELLO,)),
    Case(
        "one block in fragments",
        frame(TEXT, bytes.fromhex("f248cd"), fin=False, reserved=FIRST_BIT)
        + frame(CONTINUATION, bytes.fromhex("c9c90700")),
        (HELLO,),
    ),
    Case("no compression", one(TEXT, bytes.fromhex("000500faff48656c6c6f00")), (HELLO,)),
    Case("a final block", one(TEXT, bytes.fromhex("f348cdc9c9070000")), (HELLO,)),
    Case("two blocks", one(TEXT, bytes.fromhex("f248050000 00ffffcac9c90700")), (HELLO,)),
    # And what else a client may do.
    Case("a final block without an empty one", one(TEXT, deflated(b"Hello", mode=4)), (HELLO,)),
    Case("an uncompressed message", frame(TEXT, b"Hello"), (HELLO,)),
    Case(
        "both kinds by turns",
        (one(TEXT, deflated(b"Hello")) + frame(TEXT, b"Hello")) * 3,
        (HELLO,) * 6,
    ),
    Case("empty text", one(TEXT, b"\0"), ((TEXT, b""),)),
    Case("empty text without a byte", one(TEXT, b""), ((TEXT, b""),)),
    Case("binary", one(BINARY, deflated(bytes(range(256)))), ((BINARY, bytes(range(256))),)),
    Case("long text", one(TEXT, deflated(LONG)), ((TEXT, LONG),)),
    Case("in fragments of a byte", parts(TEXT, deflated(LONG), 1), ((TEXT, LONG),)),
    Case(
        "pings between fragments",
        parts(TEXT, deflated(b"Hello"), 3, frame(PING, b"p")),
        ((PONG, b"p"), (PONG, b"p"), HELLO),
    ),
    Case(
        "empty first fragment",
        frame(TEXT, fin=False, reserved=FIRST_BIT) + frame(CONTINUATION, deflated(b"Hello")),
        (HELLO,),
    ),
    Case(
        "empty last fragment",
        frame(TEXT, deflated(b"Hello"), fin=False, reserved=FIRST_BIT) + frame(CONTINUATION),
        (HELLO,),
    ),
    *[
        Case(f"level {level}", one(TEXT, deflated(LONG, level=level)), ((TEXT, LONG),))
        for level in range(10)
    ],
    *[
        Case(f"window of {bits}", one(TEXT, deflated(LONG, bits=bits)), ((TEXT, LONG),))
        for bits in range(9, 16)
    ],
    Case(
        "as long as allowed", one(BINARY, deflated(b"x" * BYTES_MAX)), ((BINARY, b"x" * BYTES_MAX),)
    ),
    Case(
        "as long as allowed, not compressible",
        one(
            BINARY,
            deflated(zlib.compress(LONG) * 100, level=0)[:0] or deflated(b"z" * BYTES_MAX, level=0),
        ),
        ((BINARY, b"z" * BYTES_MAX),),
    ),
    Case("longer by one", one(BINARY, deflated(b"x" * (BYTES_MAX + 1))), (TOO_LARGE,)),
    Case("a bomb", one(BINARY, deflated(b"\0" * 50_000_000)), (TOO_LARGE,)),
    Case("a bomb in fragments", parts(BINARY, deflated(b"\0" * 50_000_000), 1000), (TOO_LARGE,)),
    Case("not deflate", one(TEXT, b"\xff\xff\xff\xff"), (UNDECODABLE,)),
    Case("a block type that is none", one(TEXT, b"\x07"), (UNDECODABLE,)),
    Case(
        "more behind a final block",
        one(TEXT, deflated(b"Hello", mode=4) + b"\x03\x00\x01"),
        (UNDECODABLE,),
    ),
    Case("many final blocks", one(TEXT, deflated(b"", mode=4) * 10_000), (UNDECODABLE,)),
    Case("a distance beyond the beginning", one(TEXT, bytes.fromhex("4b04a30000")), (UNDECODABLE,)),
    Case(
        "a window of the message before",
        one(TEXT, deflated(LONG)) + one(TEXT, bytes.fromhex("02130000")),
        ((TEXT, LONG), UNDECODABLE),
    ),
    Case(
        "text that is not UTF-8",
        one(TEXT, deflated(b"\xff")),
        (said(1007, "Received text that is not UTF-8"),),
    ),
    Case(
        "text that is cut off in a character",
        one(TEXT, deflated("é".encode()[:1])),
        (said(1007, "Received text that is not UTF-8"),),
    ),
    Case(
        "bit on a continuation",
        frame(TEXT, b"\0", fin=False, reserved=4) + frame(CONTINUATION, b"\0", reserved=4),
        (RESERVED,),
    ),
    Case("bit on a ping", frame(PING, reserved=4), (RESERVED,)),
    Case("bit on a pong", frame(PONG, reserved=4), (RESERVED,)),
    Case("bit on a close", frame(CLOSE, reserved=4), (RESERVED,)),
    *[
        Case(f"bits {bits}", frame(TEXT, b"\0", reserved=bits), (RESERVED,))
        for bits in (1, 2, 3, 5, 6, 7)
    ],
    Case(
        "close behind a message",
        one(TEXT, deflated(b"Hello")) + close(1000),
        (HELLO, (CLOSE, b"\x03\xe8")),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_protocol(case: Case) -> None:
    async with serving(echo, Limits(websocket_message_bytes_max=BYTES_MAX)) as server:
        client, field = await offered(server)
        assert field == AGREED
        await client.write(case.sends)
        for kind, payload in case.gets:
            first, received = await receive_first(client)
            assert (first & 15, inflated(received) if first & 0x40 else received) == (kind, payload)
        if case.gets[-1][0] == CLOSE:
            assert await client.is_closed()
        else:
            await client.write(frame(PING, b"still there?"))
            assert await receive(client) == (PONG, b"still there?")


@pytest.mark.parametrize("bits", range(8, 16))
async def test_answers_unfold_in_the_window_that_the_client_has(bits: int) -> None:
    text = b"".join(b"%d " % number for number in range(20_000))
    async with serving(echo) as server:
        client, _ = await offered(server, f"permessage-deflate; server_max_window_bits={bits}")
        await client.write(frame(TEXT, text))
        first, payload = await receive_first(client)
        # zlib can't write a window of 8 bits: such a client gets what it can read, uncompressed.
        assert bool(first & 0x40) == (bits > 8)
        assert (inflated(payload, bits) if bits > 8 else payload) == text


@pytest.mark.parametrize(
    ("size", "is_compressed"),
    [
        (COMPRESSED_BYTES_MIN - 1, False),
        (COMPRESSED_BYTES_MIN, True),
        (COMPRESSED_BYTES_MAX, True),
        (COMPRESSED_BYTES_MAX + 1, False),
    ],
)
def test_messages_of_middling_length_are_compressed(*, size: int, is_compressed: bool) -> None:
    assert (compressed(b"x" * size, 15) is not None) == is_compressed


def test_a_message_that_gets_no_shorter_goes_as_it_is() -> None:
    assert compressed(SeededEntropy(1).token(1000), 15) is None


@pytest.mark.parametrize("extensions", ["foo", "permessage-deflate; foo", ""])
async def test_a_program_that_names_extensions_may_leave_compression_out(extensions: str) -> None:
    async def program(request: Request) -> Response:
        client, server = WebSocketPair()
        Echo(server)
        headers = {"sec-websocket-extensions": extensions}
        return Response(None, 101, headers=headers, web_socket=client)

    async with serving(program) as server:
        client, field = await offered(server)
        assert field is None
        await client.write(one(TEXT, deflated(b"Hello")))
        assert await receive(client) == RESERVED


async def test_without_the_compatibility_flag_nothing_is_agreed_on() -> None:
    async with serving(echo, compresses_sockets=lambda: False) as server:
        assert (await offered(server))[1] is None


def test_a_bomb_is_not_unfolded_beyond_the_limit() -> None:
    bomb = deflated(b"\0" * 200_000_000, level=9)
    tracemalloc.start()
    with pytest.raises(Unbounded):
        Inflater(bytes_max=100_000).inflate(bomb, is_final=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(bomb) + 500_000


@given(
    messages=st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=4),
    data=st.data(),
)
def test_any_messages_compressed_or_not_in_any_pieces_arrive(messages, data) -> None:
    stream = b""
    for message in messages:
        kind = TEXT if isinstance(message, str) else BINARY
        payload = message.encode() if isinstance(message, str) else message
        if data.draw(st.booleans()):
            size = data.draw(st.integers(1, 100))
            stream += parts(kind, deflated(payload) or b"\0", size)
        else:
            stream += frame(kind, payload)
    step = data.draw(st.integers(1, 200))
    reader = FrameReader(message_bytes_max=1000, inflates=True)
    pieces = (stream[start : start + step] for start in range(0, len(stream), step))
    assert [received for piece in pieces for received in reader.feed(piece)] == messages


@given(st.binary(max_size=400))
def test_no_compressed_bytes_fail_but_by_an_error_of_the_protocol(noise: bytes) -> None:
    reader = FrameReader(message_bytes_max=1000, inflates=True)
    try:
        for received in reader.feed(one(BINARY, noise)):
            assert len(received) <= 1000
    except ProtocolError as error:
        code = error.code
    else:
        return
    assert code in (1002, 1009)
