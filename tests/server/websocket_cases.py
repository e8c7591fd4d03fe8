"""WebSocket protocol cases: what a client sends after the handshake, and what it gets. (Long: it is a table.)

The server echoes messages. `gets` are the frames that come back, in order; a case whose last frame is a Close
ends with a closed connection, every other one leaves the connection open. Sections follow RFC 6455:
framing and sizes, reserved bits and opcodes, masking, control frames, fragmentation, text, close frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack

import msgspec
from websocket_wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame

MESSAGE_BYTES_MAX = 200_000
ZERO_MASK = b"\0\0\0\0"

Frame = tuple[int, bytes]


class Case(msgspec.Struct, frozen=True):
    name: str
    sends: bytes
    gets: tuple[Frame, ...]


def said(code: int, reason: str) -> Frame:
    """A Close of the server that says what was wrong."""
    return (CLOSE, pack("!H", code) + reason.encode())


def echoed_close(code: int, reason: bytes = b"") -> Frame:
    return (CLOSE, pack("!H", code) + reason)


RESERVED = said(1002, "Received a frame with a reserved bit set")
FRAGMENTED_CONTROL = said(1002, "Received fragmented control frame")
LONG_CONTROL = said(1002, "Received control frame above 125 bytes")
UNEXPECTED = said(1002, "Unexpected continuation frame")
MISSING = said(1002, "Missing continuation frame")
UNMASKED = said(1002, "Received unmasked frame")
NOT_UTF8 = said(1007, "Received text that is not UTF-8")
REASON_NOT_UTF8 = said(1007, "Received close reason that is not UTF-8")
HALF_A_CODE = said(1002, "Received close frame with half a code")


def sizes() -> Iterator[Case]:
    """Lengths on both sides of every encoding's edge, and the limit."""
    for size in (0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, MESSAGE_BYTES_MAX):
        text, data = b"*" * size, bytes(i % 256 for i in range(size))
        yield Case(f"text of {size}", frame(TEXT, text), ((TEXT, text),))
        yield Case(f"binary of {size}", frame(BINARY, data), ((BINARY, data),))
    for size in (MESSAGE_BYTES_MAX + 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        head = pack("!BBQ", 0x82, 0xFF, size)
        reason = f"Message is too large: {size} > {MESSAGE_BYTES_MAX}"
        yield Case(f"head of {size}", head, (said(1009, reason),))
    short, whole = frame(TEXT, b"hi"), ((TEXT, b"hi"),)
    yield Case("length in 16 bits that fits in 7", b"\x81\xfe\x00\x02" + ZERO_MASK + b"hi", whole)
    yield Case(
        "length in 64 bits that fits in 7", pack("!BBQ", 0x81, 0xFF, 2) + ZERO_MASK + b"hi", whole
    )
    yield Case("three messages in one segment", short * 3, whole * 3)
    half = MESSAGE_BYTES_MAX // 2
    parts = frame(BINARY, b"x" * half, fin=False) + frame(CONTINUATION, b"x" * half)
    yield Case("fragments up to the limit", parts, ((BINARY, b"x" * (2 * half)),))
    reason = f"Message is too large: {half * 2 + 1} > {MESSAGE_BYTES_MAX}"
    parts = frame(BINARY, b"x" * half, fin=False) + frame(CONTINUATION, b"x" * (half + 1))
    yield Case("fragments above the limit", parts, (said(1009, reason),))


def reserved_bits() -> Iterator[Case]:
    for bits in range(1, 8):
        yield Case(f"reserved bits {bits} on text", frame(TEXT, b"x", reserved=bits), (RESERVED,))
        yield Case(f"reserved bits {bits} on ping", frame(PING, b"", reserved=bits), (RESERVED,))
    yield Case("reserved bit on binary", frame(BINARY, b"x", reserved=4), (RESERVED,))
    yield Case("reserved bit on close", frame(CLOSE, b"", reserved=2), (RESERVED,))
    yield Case("reserved bit on pong", frame(PONG, b"", reserved=1), (RESERVED,))
    parts = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", reserved=4)
    yield Case("reserved bit on a continuation", parts, (RESERVED,))
    parts = frame(TEXT, b"good") + frame(TEXT, b"bad", reserved=4) + frame(PING, b"unseen")
    yield Case("reserved bit behind a good message", parts, ((TEXT, b"good"), RESERVED))


def opcodes() -> Iterator[Case]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        unknown = said(1002, f"Unknown opcode {opcode}")
        yield Case(f"opcode {opcode}", frame(opcode), (unknown,))
        yield Case(
            f"opcode {opcode} behind text",
            frame(TEXT, b"a") + frame(opcode, b"x"),
            ((TEXT, b"a"), unknown),
        )
    yield Case(
        "unknown opcode in fragments",
        frame(TEXT, b"a", fin=False) + frame(3),
        (said(1002, "Unknown opcode 3"),),
    )


def masks() -> Iterator[Case]:
    for kind, name in ((TEXT, "text"), (BINARY, "binary"), (PING, "ping"), (CLOSE, "close")):
        yield Case(f"unmasked {name}", frame(kind, b"", mask=None), (UNMASKED,))
    yield Case("unmasked text with a payload", frame(TEXT, b"hi", mask=None), (UNMASKED,))
    parts = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", mask=None)
    yield Case("unmasked continuation", parts, (UNMASKED,))
    for mask in (ZERO_MASK, b"\xff\xff\xff\xff", b"\x00\x01\x02\x03"):
        for size in (1, 2, 3, 4, 5, 1001):
            payload = b"abcde" * 201
            yield Case(
                f"mask {mask.hex()} on {size}",
                frame(TEXT, payload[:size], mask=mask),
                ((TEXT, payload[:size]),),
            )
    parts = frame(TEXT, b"ab", mask=b"1234", fin=False) + frame(CONTINUATION, b"cd", mask=b"5678")
    yield Case("another mask on each fragment", parts, ((TEXT, b"abcd"),))


def controls() -> Iterator[Case]:
    for size in (0, 1, 124, 125):
        payload = bytes(range(size))
        yield Case(f"ping of {size}", frame(PING, payload), ((PONG, payload),))
    for size in (126, 65_535, 65_536, (1 << 64) - 1):
        head = pack("!BBH", 0x89, 0xFE, size) if size < 65_536 else pack("!BBQ", 0x89, 0xFF, size)
        yield Case(f"head of a ping of {size}", head, (LONG_CONTROL,))
    yield Case(
        "a flood of pings in the middle of a message",
        frame(TEXT, b"a", fin=False)
        + b"".join(frame(PING, b"%d" % number) for number in range(2000))
        + frame(CONTINUATION, b"b"),
        (*((PONG, b"%d" % number) for number in range(2000)), (TEXT, b"ab")),
    )
    yield Case("ping of 126", frame(PING, b"x" * 126), (LONG_CONTROL,))
    yield Case("pong of 126", frame(PONG, b"x" * 126), (LONG_CONTROL,))
    yield Case("close of 126", frame(CLOSE, b"\x03\xe8" + b"x" * 124), (LONG_CONTROL,))
    yield Case("ping with a length in 64 bits", pack("!BBQ", 0x89, 0xFF, 1), (LONG_CONTROL,))
    yield Case(
        "ten pings",
        b"".join(frame(PING, b"%d" % i) for i in range(10)),
        tuple((PONG, b"%d" % i) for i in range(10)),
    )
    asked = frame(PONG, b"nobody asked")
    yield Case("a pong that nobody asked for", asked + frame(PING, b"p"), ((PONG, b"p"),))
    yield Case("an empty pong", frame(PONG) + frame(TEXT, b"x"), ((TEXT, b"x"),))
    for kind, name in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        yield Case(f"fragmented {name}", frame(kind, b"", fin=False), (FRAGMENTED_CONTROL,))
    parts = frame(PING, b"a", fin=False) + frame(CONTINUATION, b"b")
    yield Case("ping in two fragments", parts, (FRAGMENTED_CONTROL,))
    yield Case("ping behind close", close(1000) + frame(PING, b"late"), (echoed_close(1000),))
    yield Case("message behind close", close(1000) + frame(TEXT, b"late"), (echoed_close(1000),))
    yield Case("close behind close", close(1000) + close(1001), (echoed_close(1000),))


def fragments() -> Iterator[Case]:
    first, last = frame(TEXT, b"frag", fin=False), frame(CONTINUATION, b"ment")
    middle = frame(CONTINUATION, b"-", fin=False)
    yield Case("two fragments", first + last, ((TEXT, b"fragment"),))
    yield Case("three fragments", first + middle + last, ((TEXT, b"frag-ment"),))
    yield Case(
        "ping between fragments",
        first + frame(PING, b"p") + last,
        ((PONG, b"p"), (TEXT, b"fragment")),
    )
    yield Case("pong between fragments", first + frame(PONG, b"p") + last, ((TEXT, b"fragment"),))
    yield Case("close between fragments", first + close(1000) + last, (echoed_close(1000),))
    yield Case(
        "binary fragments",
        frame(BINARY, b"\xff", fin=False) + frame(CONTINUATION, b"\xfe"),
        ((BINARY, b"\xff\xfe"),),
    )
    yield Case(
        "empty fragments",
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION),
        ((TEXT, b""),),
    )
    yield Case(
        "an empty first fragment",
        frame(TEXT, fin=False) + frame(CONTINUATION, b"x"),
        ((TEXT, b"x"),),
    )
    yield Case(
        "a hundred fragments of one byte",
        frame(TEXT, b"0", fin=False)
        + frame(CONTINUATION, b"1", fin=False) * 98
        + frame(CONTINUATION, b"2"),
        ((TEXT, b"0" + b"1" * 98 + b"2"),),
    )
    yield Case("two fragmented messages", (first + last) * 2, ((TEXT, b"fragment"),) * 2)
    yield Case("continuation of nothing", frame(CONTINUATION, b"x"), (UNEXPECTED,))
    yield Case("open continuation of nothing", frame(CONTINUATION, b"x", fin=False), (UNEXPECTED,))
    yield Case(
        "continuation behind a whole message", frame(TEXT, b"x") + last, ((TEXT, b"x"), UNEXPECTED)
    )
    yield Case(
        "continuation behind the last one", first + last + last, ((TEXT, b"fragment"), UNEXPECTED)
    )
    yield Case("text inside of text", first + frame(TEXT, b"x"), (MISSING,))
    yield Case("binary inside of text", first + frame(BINARY, b"x"), (MISSING,))
    yield Case("a second first fragment", first + first, (MISSING,))


VALID = {
    "two bytes": "é",
    "three bytes": "€",
    "four bytes": "𝄞",
    "greek": "κόσμε",
    "highest below surrogates": "\ud7ff",
    "lowest above surrogates": "\ue000",
    "highest code point": "\U0010ffff",
    "a NUL": "\0",
    "noncharacter U+FFFE": "\ufffe",
    "replacement character": "\ufffd",
    "byte order mark": "\ufeffx",
}
INVALID = {
    "lone continuation": b"\x80",
    "lone lead": b"\xc3",
    "overlong slash": b"\xc0\xaf",
    "overlong NUL": b"\xe0\x80\x80",
    "overlong in four bytes": b"\xf0\x80\x80\x80",
    "high surrogate": b"\xed\xa0\x80",
    "low surrogate": b"\xed\xbf\xbf",
    "surrogate pair": b"\xed\xa0\x80\xed\xb0\x80",
    "above the last code point": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "cut after three of four": "𝄞".encode()[:3],
    "good text, then bad": "κόσμε".encode() + b"\xed\xa0\x80edited",
}


def texts() -> Iterator[Case]:
    for name, text in VALID.items():
        yield Case(f"text: {name}", frame(TEXT, text.encode()), ((TEXT, text.encode()),))
    for name, data in INVALID.items():
        yield Case(f"bad text: {name}", frame(TEXT, data), (NOT_UTF8,))
        yield Case(f"binary that is bad text: {name}", frame(BINARY, data), ((BINARY, data),))
    clef = "𝄞".encode()
    for cut in (1, 2, 3):
        parts = frame(TEXT, clef[:cut], fin=False) + frame(CONTINUATION, clef[cut:])
        yield Case(f"character cut after {cut}", parts, ((TEXT, clef),))
    yield Case(
        "each byte of text in a fragment",
        frame(TEXT, fin=False)
        + b"".join(frame(CONTINUATION, bytes([b]), fin=False) for b in "κόσμε".encode())
        + frame(CONTINUATION),
        ((TEXT, "κόσμε".encode()),),
    )
    every_width = "a é € 𝄞 \0 \uffff".encode()
    for cut in range(len(every_width) + 1):
        split = frame(TEXT, every_width[:cut], fin=False) + frame(CONTINUATION, every_width[cut:])
        yield Case(f"text cut at byte {cut}", split, ((TEXT, every_width),))
    # Told as soon as it can't become valid, long before the message ends.
    yield Case("bad text in a first fragment", frame(TEXT, b"a\xffb", fin=False), (NOT_UTF8,))
    parts = frame(TEXT, b"good", fin=False) + frame(CONTINUATION, b"\xff", fin=False)
    yield Case("bad text in a later fragment", parts, (NOT_UTF8,))
    parts = frame(TEXT, clef[:2], fin=False) + frame(CONTINUATION, b"x")
    yield Case("a character that is not continued", parts, (NOT_UTF8,))
    yield Case(
        "a character that never ends",
        frame(TEXT, clef[:2], fin=False) + frame(CONTINUATION),
        (NOT_UTF8,),
    )


def closes() -> Iterator[Case]:
    yield Case("close without a code", close(), ((CLOSE, b""),))
    yield Case("close with half a code", frame(CLOSE, b"\x03"), (HALF_A_CODE,))
    good = (
        1000,
        1001,
        1002,
        1003,
        1007,
        1008,
        1009,
        1010,
        1011,
        1012,
        1013,
        1014,
        3000,
        3999,
        4000,
        4999,
    )
    for code in good:
        yield Case(f"close {code}", close(code), (echoed_close(code),))
    # Not assigned by the RFC; an ordinary code on Cloudflare.
    for code in (1016, 1100, 1234, 2000, 2999):
        yield Case(f"close {code}, not assigned", close(code), (echoed_close(code),))
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 5000, 65_535):
        reason = f"Received close code {code}, which may not be sent"
        yield Case(f"close {code}, forbidden", close(code), (said(1002, reason),))
    yield Case("close with a reason", close(1000, b"bye"), (echoed_close(1000, b"bye"),))
    yield Case(
        "close with a reason of 123", close(1000, b"x" * 123), (echoed_close(1000, b"x" * 123),)
    )
    yield Case(
        "close with a text reason",
        close(4000, "grün".encode()),
        (echoed_close(4000, "grün".encode()),),
    )
    for name in ("lone continuation", "high surrogate", "good text, then bad", "FF"):
        yield Case(f"close reason: {name}", close(1000, INVALID[name]), (REASON_NOT_UTF8,))
    yield Case(
        "close behind a message",
        frame(TEXT, b"x") + close(1000),
        ((TEXT, b"x"), echoed_close(1000)),
    )


CASES = (
    *sizes(),
    *reserved_bits(),
    *opcodes(),
    *masks(),
    *controls(),
    *fragments(),
    *texts(),
    *closes(),
)
