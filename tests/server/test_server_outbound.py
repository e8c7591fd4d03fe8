"""`fetch` to the outside, against our own server on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest
from server_loopback import echo, serving, until
from workers import Request, Response
from workers.streams import ReadableStream
from workers.writable import TransformStream

from dohost.server.outbound import Outbound


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound()
    yield made
    await made.close()


async def test_a_request_goes_out_as_it_is_and_nothing_is_added(outbound: Outbound) -> None:
    async with serving() as server:
        headers = {"x-a": "1", "connection": "x-hop", "x-hop": "2", "host": "other"}
        response = await outbound.fetch(Request(f"{server.url}/a%2Fb?x=%20", headers=headers))
        names = [name for name, _ in eval(response.headers["x-fields"])]
        assert names == ["cf-connecting-ip", "host", "x-a", "x-real-ip"]
        assert response.headers["x-url"] == f"{server.url}/a%2Fb?x=%20"
        assert (response.status, response.redirected) == (200, False)
        assert await response.text() == "GET 0"


async def test_bodies_stream_both_ways(outbound: Outbound) -> None:
    async def program(request: Request) -> Response:
        return Response(request.body)

    pipe = TransformStream()
    async with serving(program) as server:
        fetching = outbound.fetch(Request(f"{server.url}/", method="POST", body=pipe.readable))
        writer = pipe.writable.getWriter()
        await writer.write(b"one")
        response = await fetching
        chunks = response.body.chunks()
        assert await anext(chunks) == b"one"
        await writer.write(b"two")
        assert await anext(chunks) == b"two"
        await writer.close()
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_encoded_content_stays_as_it_came(outbound: Outbound) -> None:
    async def program(request: Request) -> Response:
        return Response(b"not really gzip", headers={"content-encoding": "gzip"})

    async with serving(program) as server:
        response = await outbound.fetch(Request(f"{server.url}/"))
        assert await response.bytes() == b"not really gzip"
        assert response.headers["content-encoding"] == "gzip"


async def redirecting(request: Request) -> Response:
    path = request.url.partition("/")[2].partition("/")[2]
    if path.endswith("end"):
        return await echo(request)
    target = "/loop" if path.endswith("loop") else "/end"
    return Response(None, 302, headers={"location": target, "set-cookie": "a=1"})


async def test_redirect_modes(outbound: Outbound) -> None:
    async with serving(redirecting) as server:
        url = f"{server.url}/start"
        followed = await outbound.fetch(Request(url))
        assert (followed.status, followed.redirected) == (200, True)
        assert followed.url == f"{server.url}/end"
        assert await followed.text() == "GET 0"
        assert "cookie" not in followed.headers["x-fields"]
        manual = await outbound.fetch(Request(url, redirect="manual"))
        assert (manual.status, manual.headers["location"]) == (302, "/end")
        await manual.body.cancel()
        with pytest.raises(OSError, match="failed"):
            await outbound.fetch(Request(f"{server.url}/loop"))


async def test_what_cannot_be_reached_is_an_oserror(outbound: Outbound) -> None:
    async with serving() as server:
        url = server.url
    for request in (
        Request(f"{url}/"),
        Request("ftp://t/"),
        Request("http://t/", headers={"upgrade": "websocket"}),
    ):
        with pytest.raises(OSError, match=r"fetch\("):
            await outbound.fetch(request)


async def test_a_response_that_breaks_off_is_an_oserror(outbound: Outbound) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise RuntimeError("cut")

    async def program(request: Request) -> Response:
        return Response(ReadableStream(chunks()))

    async with serving(program) as server:
        response = await outbound.fetch(Request(f"{server.url}/"))
        with pytest.raises(OSError, match=r"broke off|reset"):
            await response.bytes()


async def test_cancelling_the_await_ends_the_request(outbound: Outbound) -> None:
    async def program(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(program) as server:
        fetching = outbound.fetch(Request(f"{server.url}/"))
        await until(lambda: server.connections == 1)
        fetching.cancel()
        await asyncio.wait([fetching])
        await until(lambda: server.server._listener.connections == [] or fetching.cancelled())
        assert repr(outbound) == "<Outbound 0 under way>"


async def test_nothing_of_the_callers_context_reaches_the_exchange(outbound: Outbound) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="none")
    mark.set("the program's")
    seen = []

    async def chunks() -> AsyncIterator[bytes]:
        seen.append(mark.get())
        yield b"x"

    async with serving() as server:
        request = Request(f"{server.url}/", method="POST", body=ReadableStream(chunks()))
        assert await (await outbound.fetch(request)).bytes() == b"POST 1"
        assert seen == ["none"]
