"""What a server counts, and who may read it."""

from __future__ import annotations

import asyncio

import pytest
from server_loopback import Answer, Loopback, echo, serving, until
from workers import Request, Response

from dohost.server.figures import ServerFigures
from dohost.server.local_api import METRICS_TYPE

PATH = "/cdn-cgi/metrics"
LOCAL = "Host: localhost:PORT"
FROM_AFAR = "X-Forwarded-For: 203.0.113.7"
FROM_HERE = "X-Forwarded-For: 127.0.0.1"
BY_ANOTHER_FIELD = "Forwarded: for=203.0.113.7"


class Api:
    """Shows what a page would be made of."""

    token = "s3cret"
    seen: ServerFigures

    async def metrics(self, server: ServerFigures) -> str:
        self.seen = server
        return "dohost_up 1\n"


async def ask(server: Loopback, *lines: str, method: str = "GET", path: str = PATH) -> Answer:
    """Send a request to the port that it shall name; without a Host of its own, a right one."""
    named = any(line.startswith("Host:") for line in lines)
    fields = "".join(f"{line}\r\n" for line in (*(() if named else (LOCAL,)), *lines))
    raw = f"{method} {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"
    client = await server.connect()
    await client.write(raw.replace("PORT", str(server.port)).encode())
    return await client.answer(to_head=method == "HEAD")


def figures(server: Loopback) -> ServerFigures:
    return server.server.listener().figures()


# Who may read


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_this_machine_reads_without_a_secret_and_past_the_program(method: str) -> None:
    async with serving(local_api=Api()) as server:
        answer = await ask(server, method=method)
    assert (answer.status, answer["content-type"]) == (200, METRICS_TYPE)
    assert answer["cache-control"] == "no-store"
    assert answer.body == (b"dohost_up 1\n" if method == "GET" else b"")


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (["Host: evil.example:PORT"], {}),
        (["Host: localhost:1"], {}),
        (["Origin: http://evil.example"], {}),
        (["Sec-Fetch-Site: cross-site"], {}),
        (["Sec-Fetch-Site: same-site"], {}),
        # A proxy on this machine speaks for somebody: nobody told us to believe it, or to ignore it.
        ([FROM_AFAR], {}),
        ([FROM_HERE], {}),
        ([BY_ANOTHER_FIELD], {}),
        ([FROM_AFAR], {"trusted_proxies": ("127.0.0.1",)}),
        ([BY_ANOTHER_FIELD], {"trusted_proxies": ("127.0.0.1",)}),
        ([FROM_AFAR], {"metrics_to": ("127.0.0.1",)}),
        ([FROM_AFAR], {"metrics_to": ("198.51.100.0/24",), "trusted_proxies": ("127.0.0.1",)}),
        (["Origin: http://evil.example"], {"metrics_to": ("127.0.0.0/8",)}),
        (["Sec-Fetch-Site: cross-site"], {"metrics_to": ("127.0.0.0/8",)}),
    ],
)
async def test_other_sites_and_the_clients_of_proxies_are_refused(lines, options) -> None:
    api = Api()
    async with serving(local_api=api, **options) as server:
        assert (await ask(server, *lines)).status == 403
    assert not hasattr(api, "seen")


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (["Host: metrics.internal"], {"metrics_to": ("127.0.0.0/8",)}),
        (
            ["Host: metrics.internal", FROM_AFAR],
            {"metrics_to": ("203.0.113.0/24",), "trusted_proxies": ("127.0.0.1",)},
        ),
        (["Sec-Fetch-Site: none"], {}),
    ],
)
async def test_readers_that_were_named_know_the_server_by_any_name(lines, options) -> None:
    async with serving(local_api=Api(), **options) as server:
        assert (await ask(server, *lines)).status == 200


async def test_nothing_can_be_sent_there() -> None:
    async with serving(local_api=Api()) as server:
        answer = await ask(server, method="POST")
        assert (answer.status, answer["allow"]) == (405, "GET, HEAD")
        assert (await ask(server, path="/elsewhere" + PATH)).body == b"GET 0"


# What is counted


async def test_answers_are_counted_by_class_and_timed() -> None:
    async def program(request: Request) -> Response:
        status = int(request.url.rpartition("/")[2])
        server.clock.advance(status / 1000)
        return Response(None, status=status)

    async with serving(program) as server:
        for status in (200, 204, 302, 404, 500, 503):
            await server.get(f"/{status}")
        found = figures(server)
    assert found.answers == {"none": 0, "1xx": 0, "2xx": 2, "3xx": 1, "4xx": 1, "5xx": 2}
    assert found.durations.total == 6
    assert found.durations.sum_s == pytest.approx(2.113)
    assert found.connections_accepted == 6


@pytest.mark.parametrize(("status", "counted"), [(999, "9xx"), (1000, "none"), ("200", "none")])
async def test_a_status_that_no_server_sends_is_counted_all_the_same(status, counted) -> None:
    async def program(request: Request) -> Response:
        response = Response("passed on")
        response.status = status
        return response

    async with serving(program) as server:
        assert (await server.get()).status == int(status)
        assert figures(server).answers[counted] == 1
    assert server.events == []


async def test_a_failing_program_counts_as_5xx_and_a_client_that_left_as_none() -> None:
    asked = asyncio.Event()

    async def program(request: Request) -> Response:
        asked.set()
        await asyncio.sleep(0)
        raise ValueError("a bug")

    async def waiting(request: Request) -> Response:
        asked.set()
        await left.wait()
        return Response("too late")

    async with serving(program) as server:
        assert (await server.get()).status == 500
        assert figures(server).answers["5xx"] == 1
    asked.clear()
    left = asyncio.Event()
    async with serving(waiting) as server:
        client = await server.connect()
        await client.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        await asked.wait()
        assert (figures(server).in_flight, figures(server).connections) == (1, 1)
        client.close()
        await until(lambda: figures(server).connections == 0)
        left.set()
        await until(lambda: figures(server).answers["none"] == 1)
        assert figures(server).durations.total == 1


async def test_a_request_is_in_flight_until_its_answer_has_ended() -> None:
    goes_on = asyncio.Event()

    async def program(request: Request) -> Response:
        if request.url.endswith("/slow"):
            await goes_on.wait()
        return Response("done")

    async with serving(program) as server:
        client = await server.connect()
        await client.write(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        await until(lambda: figures(server).in_flight == 1)
        assert figures(server).durations.total == 0
        goes_on.set()
        await client.answer()
        assert (figures(server).in_flight, figures(server).connections) == (0, 1)
        # A body that is still coming keeps the connection busy, and nobody waits for an answer.
        await client.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nhalf")
        await client.answer()
        assert figures(server).in_flight == 0


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: t\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_never_became_a_request_is_counted_apart(raw: bytes, status: int) -> None:
    async with serving(echo) as server:
        assert (await server.send(raw)).status == status
        found = figures(server)
    assert found.refusals == {status: 1}
    assert found.durations.total == 0
