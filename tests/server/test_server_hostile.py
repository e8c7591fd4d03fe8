"""Raw bytes that no decent client sends: each gets one exact answer or a close, and the server goes on."""

from __future__ import annotations

import asyncio

import pytest
from server_loopback import serving

from dohost.server.limits import Limits

LIMITS = Limits(header_bytes_max=2048, header_lines_max=10, url_bytes_max=512, body_bytes_max=100)
H = b"Host: t\r\n"


def get(target: bytes = b"/", fields: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + H + fields + b"\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + H + fields + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"

# Name, bytes, status. Every refusal closes the connection.
ROWS: list[tuple[str, bytes, int]] = [
    ("both lengths", post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"), 400),
    ("both lengths, other order", post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n"), 400),
    ("two equal lengths", post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), 400),
    ("two different lengths", post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"), 400),
    ("list of lengths", post(b"Content-Length: 3, 3\r\n", b"abc"), 400),
    ("signed length", post(b"Content-Length: +3\r\n", b"abc"), 400),
    ("negative length", post(b"Content-Length: -3\r\n", b"abc"), 400),
    ("hex length", post(b"Content-Length: 0x3\r\n", b"abc"), 400),
    ("empty length", post(b"Content-Length:\r\n", b"abc"), 400),
    ("length with words", post(b"Content-Length: 3 bytes\r\n", b"abc"), 400),
    ("length beyond 64 bits", post(b"Content-Length: 99999999999999999999999\r\n", b"abc"), 400),
    ("underscored length", post(b"Content-Length: 1_0\r\n", b"0123456789"), 400),
    ("unknown coding", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 400),
    ("identity coding", post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"), 400),
    ("coding before chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
    ("empty coding", post(b"Transfer-Encoding:\r\nContent-Length: 3\r\n", b"abc"), 400),
    ("chunked not last", post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), 400),
    ("chunked twice", post(CHUNKED + CHUNKED, b"0\r\n\r\n"), 400),
    ("chunked listed twice", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), 400),
    ("quoted coding", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), 400),
    ("coding with vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    ("space before colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    ("coding in HTTP/1.0", b"POST / HTTP/1.0\r\n" + H + CHUNKED + b"\r\n0\r\n\r\n", 400),
    ("bad chunk size", post(CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"), 400),
    ("negative chunk size", post(CHUNKED, b"-1\r\nabc\r\n0\r\n\r\n"), 400),
    ("hex-marked chunk size", post(CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    ("huge chunk size", post(CHUNKED, b"f" * 20 + b"\r\nabc\r\n0\r\n\r\n"), 400),
    ("chunk longer than its size", post(CHUNKED, b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    ("chunk ended by bare LF", post(CHUNKED, b"3\nabc\n0\n\n"), 400),
    ("space before chunk size", post(CHUNKED, b" 3\r\nabc\r\n0\r\n\r\n"), 400),
    ("folded field", get(fields=b"X-A: a\r\n b\r\n"), 400),
    ("folded field, tab", get(fields=b"X-A: a\r\n\tb\r\n"), 400),
    ("folded first field", b"GET / HTTP/1.1\r\n Host: t\r\n\r\n", 400),
    ("bare LF after a field", b"GET / HTTP/1.1\nHost: t\n\n", 400),
    ("bare LF in the middle", get(fields=b"X-A: a\nX-B: b\r\n"), 400),
    ("bare CR in a value", get(fields=b"X-A: a\rb\r\n"), 400),
    ("NUL in a value", get(fields=b"X-A: a\0b\r\n"), 400),
    ("NUL in a name", get(fields=b"X\0A: b\r\n"), 400),
    ("control character in a value", get(fields=b"X-A: a\x01b\r\n"), 400),
    ("DEL in a value", get(fields=b"X-A: a\x7fb\r\n"), 400),
    ("empty name", get(fields=b": b\r\n"), 400),
    ("space in a name", get(fields=b"X A: b\r\n"), 400),
    ("no colon", get(fields=b"X-A\r\n"), 400),
    ("umlaut in a name", get(fields="X-Ä: b\r\n".encode()), 400),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", get(fields=b"Host: u\r\n"), 400),
    ("empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("Host with a path", b"GET / HTTP/1.1\r\nHost: t/x\r\n\r\n", 400),
    ("Host with userinfo", b"GET / HTTP/1.1\r\nHost: a@t\r\n\r\n", 400),
    ("Host with a space", b"GET / HTTP/1.1\r\nHost: a t\r\n\r\n", 400),
    ("Host with a bad port", b"GET / HTTP/1.1\r\nHost: t:80x\r\n\r\n", 400),
    ("Host with port 65536", b"GET / HTTP/1.1\r\nHost: t:65536\r\n\r\n", 400),
    ("Host with half an IPv6 address", b"GET / HTTP/1.1\r\nHost: [1:2]\r\n\r\n", 400),
    ("Host with percent-encoding", b"GET / HTTP/1.1\r\nHost: t%00\r\n\r\n", 400),
    ("Host of 300 bytes", b"GET / HTTP/1.1\r\nHost: " + b"a" * 300 + b"\r\n\r\n", 400),
    ("other authority in target", get(b"http://evil/"), 400),
    ("userinfo in target", get(b"http://t@evil/"), 400),
    ("other scheme in target", get(b"ftp://t/"), 400),
    ("no slash in target", get(b"t"), 400),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("fragment in target", get(b"/a#b"), 400),
    ("tab in target", get(b"/a\tb"), 400),
    ("NUL in target", get(b"/a\0b"), 400),
    ("ESC in target", get(b"/a\x1bb"), 400),
    ("DEL in target", get(b"/a\x7fb"), 400),
    ("space in target", get(b"/a b"), 400),
    ("umlaut in target", get("/ä".encode()), 400),
    ("CONNECT", b"CONNECT t:443 HTTP/1.1\r\n" + H + b"\r\n", 405),
    ("TRACE", b"TRACE / HTTP/1.1\r\n" + H + b"\r\n", 405),
    ("unknown method", b"FOO / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("lower-case method", b"get / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("version 1.2", get(version=b"HTTP/1.2"), 400),
    ("lower-case protocol", get(version=b"http/1.1"), 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50, 400),
    ("noise", b"\xff\xfe\xfd\r\n\r\n", 400),
    ("target of limit + 1", get(b"/" + b"a" * 512), 414),
    ("one huge field", get(fields=b"X-A: " + b"a" * 3000 + b"\r\n"), 431),
    (
        "fields of limit + 1",
        get(fields=b"X-A: " + b"a" * 1014 + b"\r\nX-B: " + b"b" * 1012 + b"\r\n"),
        431,
    ),
    ("field lines of limit + 1", get(fields=b"X-A: a\r\n" * 10), 431),
    ("old WebSocket", get(fields=b"Sec-WebSocket-Key1: x\r\n"), 400),
    ("length of limit + 1", post(b"Content-Length: 101\r\n", b"a" * 101), 413),
    ("chunks of limit + 1", post(CHUNKED, b"65\r\n" + b"a" * 101 + b"\r\n0\r\n\r\n"), 413),
    ("unknown expectation", post(b"Content-Length: 1\r\nExpect: tea\r\n", b"a"), 417),
]


@pytest.mark.parametrize(("raw", "status"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_a_hostile_request_is_refused_once_and_the_next_client_is_served(
    raw: bytes, status: int
) -> None:
    async with serving(limits=LIMITS) as server:
        client = await server.connect()
        await client.write(raw + SMUGGLED)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (status, True)
        assert b"Traceback" not in answer.body
        assert answer["content-type"] == "application/problem+json"
        # RFC 9110 §15.5.6.
        assert (answer["allow"] is not None) == (status == 405)
        assert await client.is_closed()
        client.close()
        assert (await server.get()).status == 200
        assert "/smuggled" not in [line.path for line in server.lines]


# Name, bytes, body of the answer: unusual, but right.
WELL_FORMED: list[tuple[str, bytes, bytes]] = [
    (
        "field bytes at the limit",
        get(fields=b"X-A: " + b"a" * 1014 + b"\r\nX-B: " + b"b" * 1011 + b"\r\n"),
        b"GET 0",
    ),
    ("field lines at the limit", get(fields=b"X-A: a\r\n" * 9), b"GET 0"),
    ("target at the limit", get(b"/" + b"a" * 511), b"GET 0"),
    ("body at the limit", post(b"Content-Length: 100\r\n", b"a" * 100), b"POST 100"),
    ("chunks at the limit", post(CHUNKED, b"64\r\n" + b"a" * 100 + b"\r\n0\r\n\r\n"), b"POST 100"),
    ("chunk extension", post(CHUNKED, b"3;a=b\r\nabc\r\n0\r\n\r\n"), b"POST 3"),
    ("trailers", post(CHUNKED, b"3\r\nabc\r\n0\r\nX-T: t\r\n\r\n"), b"POST 3"),
    (
        "upper-case coding",
        post(b"Transfer-Encoding: CHUNKED\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        b"POST 3",
    ),
    ("length with leading zeros", post(b"Content-Length: 003\r\n", b"abc"), b"POST 3"),
    ("no length", post(b""), b"POST 0"),
    ("empty lines before", b"\r\n\r\n" + get(), b"GET 0"),
    ("absolute form, same authority", get(b"http://T/a"), b"GET 0"),
    ("umlaut in a value", get(fields="X-A: ä\r\n".encode()), b"GET 0"),
    ("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", b"GET 0"),
]


@pytest.mark.parametrize(
    ("raw", "body"), [row[1:] for row in WELL_FORMED], ids=[row[0] for row in WELL_FORMED]
)
async def test_an_unusual_but_right_request_is_served(raw: bytes, body: bytes) -> None:
    async with serving(limits=LIMITS) as server:
        answer = await server.send(raw)
        assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
async def test_the_verdict_is_the_same_byte_by_byte(row: tuple[str, bytes, int]) -> None:
    _, raw, status = row
    async with serving(limits=LIMITS) as server:
        client = await server.connect()
        head, tail = raw[: len(raw) // 2], raw[len(raw) // 2 :]
        for piece in (head, tail[:1], tail[1:]):
            client.writer.write(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (status, True)
        client.close()


@pytest.mark.parametrize("line", [b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"GET /"])
async def test_another_major_version_is_refused(line: bytes) -> None:
    async with serving(limits=LIMITS) as server:
        client = await server.connect()
        await client.write(line + b"\r\n" + (H if b" HTTP" in line else b"") + b"\r\n")
        assert (await client.answer()).status in (400, 505)
        assert await client.is_closed()
