"""Requests whose fields came before: they skip the parser, and nobody can tell by the answers."""

from __future__ import annotations

import asyncio

import pytest
from server_loopback import Answer, Client, Loopback, echo, serving, until
from workers import Request, Response

from dohost.server.connection import Connection
from dohost.server.limits import Limits

FIELDS = (
    "Host: t\r\nUser-Agent: test\r\nCF-Connecting-IP: 6.6.6.6\r\nX-Twice: a\r\nX-Twice: b\r\n\r\n"
)
WARM = f"GET / HTTP/1.1\r\n{FIELDS}".encode()


def connection_of(server: Loopback) -> Connection:
    listener = server.server._listener
    assert listener is not None
    (connection,) = listener.connections
    assert isinstance(connection, Connection)
    return connection


def told(answer: Answer) -> tuple[object, ...]:
    return answer.status, answer["x-url"], answer["x-fields"], answer["connection"], answer.body


async def test_the_second_of_equal_heads_is_not_parsed_again() -> None:
    async with serving() as server:
        client = await server.connect()
        for number in range(5):
            await client.write(WARM.replace(b"GET /", b"GET /%d" % number))
            answer = await client.answer()
            assert answer["x-url"] == f"http://t/{number}"
        # aiohttp counts what its parser gave it.
        assert connection_of(server)._request_count == 1


async def test_every_connection_knows_what_one_learned() -> None:
    async with serving() as server:
        first = await server.connect()
        await first.write(WARM)
        await first.answer()
        await first.leave()
        await until(lambda: server.connections == 0)
        second = await server.connect()
        await second.write(WARM)
        assert (await second.answer())["x-url"] == "http://t/"
        assert connection_of(server)._request_count == 0


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(f"GET /a/../b%2f//c?x=%20&y HTTP/1.1\r\n{FIELDS}", id="a plain target"),
        pytest.param(f"HEAD /x HTTP/1.1\r\n{FIELDS}", id="HEAD"),
        pytest.param(f"OPTIONS /x HTTP/1.1\r\n{FIELDS}", id="OPTIONS"),
        pytest.param(f"DELETE /x HTTP/1.1\r\n{FIELDS}", id="DELETE"),
        pytest.param(f"POST /x HTTP/1.1\r\n{FIELDS}", id="POST without a body"),
        pytest.param(f"OPTIONS * HTTP/1.1\r\n{FIELDS}", id="no path"),
        pytest.param(f"GET http://t/x HTTP/1.1\r\n{FIELDS}", id="an absolute target"),
        pytest.param(f"GET http://u/x HTTP/1.1\r\n{FIELDS}", id="another authority"),
        pytest.param(f"GET /x#y HTTP/1.1\r\n{FIELDS}", id="a fragment"),
        pytest.param(f"GET /\xe4 HTTP/1.1\r\n{FIELDS}", id="beyond ASCII"),
        pytest.param(f"GET /a b HTTP/1.1\r\n{FIELDS}", id="a blank in the target"),
        pytest.param(f"GET  /a HTTP/1.1\r\n{FIELDS}", id="two blanks"),
        pytest.param(f"get / HTTP/1.1\r\n{FIELDS}", id="a method in small letters"),
        pytest.param(f"TRACE / HTTP/1.1\r\n{FIELDS}", id="a forbidden method"),
        pytest.param(f"GET / HTTP/1.0\r\n{FIELDS}", id="HTTP/1.0"),
        pytest.param(f"GET / HTTP/2.0\r\n{FIELDS}", id="HTTP/2.0"),
        pytest.param(f"GET / HTTP/1.1\n{FIELDS}", id="a bare line feed"),
        pytest.param(f"\r\nGET /x HTTP/1.1\r\n{FIELDS}", id="an empty line before"),
        pytest.param(f"GET /{'a' * 9_000} HTTP/1.1\r\n{FIELDS}", id="a target that is too long"),
    ],
)
async def test_an_answer_does_not_depend_on_what_is_known(raw: str) -> None:
    async with serving() as unknown, serving() as knows:
        warm = await knows.connect()
        await warm.write(WARM)
        await warm.answer()
        fresh = await unknown.connect()
        for client in (fresh, warm):
            await client.write(raw.encode("latin-1"))
        to_head = raw.startswith("HEAD")
        first, second = await fresh.answer(to_head=to_head), await warm.answer(to_head=to_head)
        assert told(first) == told(second)


@pytest.mark.parametrize(
    "line",
    ["Connection: close", "Content-Length: 3", "Transfer-Encoding: chunked", "Upgrade: h2c"],
)
async def test_only_heads_without_a_body_that_keep_the_connection_are_known(line: str) -> None:
    async with serving() as server:
        connection_fields = "Connection: upgrade\r\n" if line.startswith("Upgrade") else ""
        body = "3\r\nabc\r\n0\r\n\r\n" if "chunked" in line else "abc" if "Length" in line else ""
        raw = f"GET / HTTP/1.1\r\nHost: t\r\n{connection_fields}{line}\r\n\r\n{body}".encode()
        for _ in range(2):
            await server.send(raw)
        listener = server.server._listener
        assert listener is not None
        assert repr(listener.heads) == "<KnownHeads 0>"


async def test_two_requests_at_once_are_told_apart() -> None:
    async with serving() as server:
        client = await server.connect()
        await client.write(WARM)
        await client.answer()
        await client.write(WARM.replace(b"/ ", b"/1 ") + WARM.replace(b"/ ", b"/2 "))
        assert (await client.answer())["x-url"] == "http://t/1"
        assert (await client.answer())["x-url"] == "http://t/2"


async def test_a_head_in_two_pieces_is_read_as_one() -> None:
    async with serving() as server:
        client = await server.connect()
        await client.write(WARM)
        await client.answer()
        await client.write(WARM[:20])
        connection = connection_of(server)
        await until(lambda: connection._bytes_seen > 0)
        await client.write(WARM[20:])
        assert (await client.answer())["x-url"] == "http://t/"
        await client.write(b"GET /x HTTP/1.1\r\n")
        await until(lambda: connection._bytes_seen > 0)
        # Alone it would be known; it is the rest of a request here.
        await client.write(FIELDS.encode())
        assert (await client.answer())["x-url"] == "http://t/x"


async def test_known_requests_wait_for_the_answer_before_them() -> None:
    go_on = asyncio.Event()

    async def program(request: Request) -> Response:
        if request.url.endswith("/slow"):
            await go_on.wait()
        return await echo(request)

    async with serving(program) as server:
        client = await server.connect()
        await client.write(WARM)
        await client.answer()
        connection = connection_of(server)
        await client.write(WARM.replace(b"/ ", b"/slow "))
        await until(lambda: connection.exchange is not None)
        await client.write(WARM.replace(b"/ ", b"/quick "))
        await until(lambda: connection.has_requests)
        go_on.set()
        assert (await client.answer())["x-url"] == "http://t/slow"
        assert (await client.answer())["x-url"] == "http://t/quick"


async def test_long_fields_are_not_kept() -> None:
    async with serving() as server:
        client = await server.connect()
        raw = f"GET / HTTP/1.1\r\nHost: t\r\nX-Long: {'a' * 3_000}\r\n\r\n".encode()
        for _ in range(2):
            await client.write(raw)
            await client.answer()
        assert connection_of(server)._request_count == 2


async def test_a_target_is_bounded_for_known_fields_too() -> None:
    async with serving(limits=Limits(url_bytes_max=20)) as server:
        client = await server.connect()
        await client.write(WARM)
        await client.answer()
        await client.write(WARM.replace(b"/ ", b"/" + b"a" * 20 + b" "))
        assert (await client.answer()).status == 414


HALF = b"GET /mine HTTP/1.1\r\nCookie: session=mine\r\nX-Rest: "
FIRST = b"GET /first HTTP/1.1\r\nHost: t\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"POST /first HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
# A request and half a head behind it, in pieces.
HALF_HEADS = [
    pytest.param([FIRST + HALF], id="in one piece"),
    pytest.param([FIRST[:-2], b"\r\nG", HALF[1:]], id="torn before the end of the first"),
    pytest.param([FIRST[:-1], b"\n" + HALF], id="torn in the last line of the first"),
    pytest.param([POST + HALF], id="behind a body"),
    pytest.param([POST[:-1], b"y" + HALF], id="behind the end of a body"),
    pytest.param([CHUNKED + HALF], id="behind a chunked body"),
]


async def send_half(server: Loopback, client: Client, pieces: list[bytes]) -> None:
    """Let the pieces arrive one by one, and see the first request answered."""
    await until(lambda: server.connections == 1)
    for piece in pieces:
        connection_of(server).data_received(piece)
    assert (await client.answer())["x-url"] == "http://t/first"


@pytest.mark.parametrize("pieces", HALF_HEADS)
async def test_half_a_head_behind_a_request_teaches_nothing(pieces: list[bytes]) -> None:
    """Or one client could put fields of its own before those of every other."""
    async with serving() as server:
        evil = await server.connect()
        await send_half(server, evil, pieces)
        await evil.write(WARM)
        assert (await evil.answer())["x-url"] == "http://t/mine"
        victim = await server.connect()
        await victim.write(WARM)
        answer = await victim.answer()
        assert answer["x-url"] == "http://t/"
        assert "session=mine" not in (answer["x-fields"] or "")


@pytest.mark.parametrize("pieces", HALF_HEADS)
async def test_the_rest_of_a_head_is_no_request_although_it_looks_like_one(
    pieces: list[bytes],
) -> None:
    async with serving() as server:
        client = await server.connect()
        await client.write(WARM)
        await client.answer()
        await send_half(server, client, pieces)
        await client.write(WARM)
        assert (await client.answer())["x-url"] == "http://t/mine"


async def test_heads_are_known_again_after_bodies_and_pieces() -> None:
    async with serving() as server:
        client = await server.connect()
        await until(lambda: server.connections == 1)
        connection = connection_of(server)
        for parsed, pieces in [
            (1, [WARM]),
            (2, [POST]),
            (2, [WARM]),
            (3, [POST[:-1], POST[-1:]]),
            (4, [WARM]),
            (4, [WARM]),
        ]:
            for piece in pieces:
                connection.data_received(piece)
            await client.answer()
            assert connection._request_count == parsed
