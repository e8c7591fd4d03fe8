"""(Long: one table of behaviours of one server.) Requests and answers over real sockets, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import json
import socket
from collections.abc import AsyncIterator

import pytest
from server_loopback import echo, serving, until
from workers import Request, Response
from workers.streams import ReadableStream
from workers.writable import TransformStream

from dohost.errors import CallerError, Overloaded
from dohost.server.limits import Limits

GET = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"


async def test_the_url_is_host_and_raw_target() -> None:
    async with serving() as server:
        answer = await server.get("/a/../b%2f//c?x=%20&y")
        assert answer["x-url"] == "http://t/a/../b%2f//c?x=%20&y"
        raw = b"GET HTTP://T?q HTTP/1.1\r\nHost: t\r\n\r\n"
        assert (await server.send(raw))["x-url"] == "http://t/?q"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as server:
        client = await server.connect()
        posts = b"POST /%d HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
        await client.write(b"".join(posts % n for n in range(40)))
        for n in range(40):
            answer = await client.answer()
            assert (answer["x-url"], answer.body) == (f"http://t/{n}", b"POST 3")


async def test_a_request_behind_one_that_waits_is_answered_after_it() -> None:
    go_on = asyncio.Event()

    async def program(request: Request) -> Response:
        if request.url.endswith("/slow"):
            await go_on.wait()
        return Response(f"{request.url} {await request.text()}")

    async with serving(program) as server:
        client = await server.connect()
        await client.write(
            b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\nGET /quick HTTP/1.1\r\nHost: t\r\n\r\n"
        )
        await client.write(b"POST /body HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab")
        other = await server.connect()
        await other.write(b"GET /other HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await other.answer()).body == b"http://t/other "
        go_on.set()
        assert (await client.answer()).body == b"http://t/slow "
        assert (await client.answer()).body == b"http://t/quick "
        await client.write(b"cd" + GET)
        assert (await client.answer()).body == b"http://t/body abcd"
        assert (await client.answer()).body == b"http://t/ "


async def test_an_answer_that_says_when_it_was_made_gets_no_second_date() -> None:
    made = "Mon, 21 Sep 2026 14:14:20 GMT"

    async def program(request: Request) -> Response:
        fields = [("Date", made)] if request.url.endswith("/one") else [("date", made), ("X", "y")]
        return Response("", headers=fields)

    async with serving(program) as server:
        client = await server.connect()
        for path in (b"/one", b"/two"):
            await client.write(b"GET %b HTTP/1.1\r\nHost: t\r\n\r\n" % path)
            answer = await client.answer()
            assert [value for name, value in answer.fields if name.lower() == "date"] == [made]


async def test_requests_that_come_together_are_read_before_the_first_is_answered() -> None:
    order: list[str] = []

    async def program(request: Request) -> Response:
        order.append(request.url)
        return Response("")

    async with serving(program) as server:
        clients = [await server.connect() for _ in range(3)]
        listener = server.server._listener
        assert listener is not None
        await until(lambda: len(listener.connections) == 3)
        connections = listener.connections
        for number, connection in enumerate(connections):
            await until(lambda connection=connection: connection._waiter is not None)
            connection.data_received(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % number)
        assert order == []
        await asyncio.sleep(0)
        assert order == [f"http://t/{number}" for number in range(3)]
        for client in clients:
            assert (await client.answer()).status == 200


async def test_a_program_runs_in_a_task_and_a_context_of_its_own_request() -> None:
    seen: contextvars.ContextVar[int] = contextvars.ContextVar("seen", default=0)

    async def program(request: Request) -> Response:
        task = asyncio.current_task()
        assert task is not None
        seen.set(seen.get() + 1)
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        assert asyncio.current_task() is task
        return Response(str(seen.get()))

    async with serving(program) as server:
        client = await server.connect()
        await client.write(GET * 3)
        assert [(await client.answer()).body for _ in range(3)] == [b"1"] * 3


async def test_a_connection_whose_answer_takes_longer_than_idle_ones_live_is_kept() -> None:
    go_on = asyncio.Event()

    async def program(request: Request) -> Response:
        await go_on.wait()
        return Response("late")

    async with serving(program, Limits(idle_s=0.01)) as server:
        client = await server.connect()
        await client.write(GET)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await client.reader.read(1)
        go_on.set()
        assert (await client.answer()).body == b"late"
        assert await client.is_closed()


async def test_a_connection_is_kept_or_closed_as_its_version_and_fields_say() -> None:
    async with serving() as server:
        for line, connection in (
            (b"GET / HTTP/1.1\r\nHost: t\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n", "close"),
            (b"GET / HTTP/1.0\r\n", "close"),
            (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", "keep-alive"),
        ):
            client = await server.connect()
            await client.write(line + b"\r\n")
            assert (await client.answer())["connection"] == connection
            if connection == "close":
                assert await client.is_closed()
            else:
                await client.write(GET)
                assert (await client.answer()).status == 200


async def test_head_has_the_length_of_get_and_no_body() -> None:
    async def program(request: Request) -> Response:
        return Response("12345")

    async with serving(program) as server:
        client = await server.connect()
        await client.write(b"HEAD / HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = await client.answer(to_head=True)
        assert (answer.status, answer["content-length"]) == (200, "5")
        await client.write(GET)
        assert (await client.answer()).body == b"12345"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (lambda: Response(None, 204, headers={"content-length": "7"}), None),
        (lambda: Response(None, 304, headers={"content-length": "7"}), "7"),
        (lambda: Response(None, headers={"content-length": "7"}), "0"),
        (lambda: Response("ab", headers={"content-length": "7"}), "2"),
        (lambda: Response("ab", headers={"Transfer-Encoding": "chunked"}), "2"),
    ],
)
async def test_a_wrong_length_in_a_program_never_reaches_the_wire(response, expected) -> None:
    async def program(request: Request) -> Response:
        return response()

    async with serving(program) as server:
        client = await server.connect()
        for _ in range(2):
            await client.write(GET)
            answer = await client.answer()
            assert answer["content-length"] == expected
            assert answer["transfer-encoding"] is None


async def test_cookies_keep_their_lines_and_bytes_survive() -> None:
    async def program(request: Request) -> Response:
        headers = [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-echo", request.headers["x-in"]),
        ]
        return Response("", headers=headers)

    async with serving(program) as server:
        answer = await server.get("/", "X-In: grün")
        assert [value for name, value in answer.fields if name == "set-cookie"] == ["a=1", "b=2"]
        assert answer["x-echo"] == "grün".encode().decode("latin-1")


async def test_a_streamed_answer_leaves_chunk_by_chunk() -> None:
    pipe = TransformStream()

    async def program(request: Request) -> Response:
        return Response(pipe.readable)

    async with serving(program) as server:
        client = await server.connect()
        await client.write(GET)
        assert (await client.answer(to_head=True))["transfer-encoding"] == "chunked"
        writer = pipe.writable.getWriter()
        for text in (b"one", b"three"):
            await writer.write(text)
            assert await client.reader.readuntil(b"\r\n") == b"%x\r\n" % len(text)
            assert await client.reader.readuntil(b"\r\n") == text + b"\r\n"
        await writer.close()
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"
        await client.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")


class Endless:
    """A source of chunks that counts, and notes its end."""

    def __init__(self) -> None:
        self.pulled = 0
        self.is_closed = False

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> bytes:
        self.pulled += 1
        await asyncio.sleep(0)
        return b"x" * 65_536

    async def aclose(self) -> None:
        self.is_closed = True


async def test_a_client_that_does_not_read_stops_the_stream_and_is_cut_when_it_stalls() -> None:
    source = Endless()

    async def program(request: Request) -> Response:
        return Response(ReadableStream(source))

    async with serving(program) as server:
        client = await server.connect()
        client.writer.transport.pause_reading()
        await client.write(GET)
        last = -1
        while last != source.pulled:
            last = source.pulled
            for _ in range(200):
                await asyncio.sleep(0)
        assert 0 < source.pulled < 500
        server.clock.advance(61)
        server.sweep()
        await until(lambda: source.is_closed)
        await until(lambda: server.connections == 0)


async def test_a_client_that_leaves_cancels_a_stream_that_waits() -> None:
    pipe = TransformStream()

    async def program(request: Request) -> Response:
        return Response(pipe.readable)

    async with serving(program) as server:
        client = await server.connect()
        await client.write(GET)
        await client.answer(to_head=True)
        client.writer.transport.abort()
        await until(lambda: len(server.lines) == 1)
        with pytest.raises(Exception, match="cancelled"):
            await pipe.writable.getWriter().write(b"late")
        assert server.events == []


async def test_a_stream_that_breaks_off_breaks_the_connection() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise RuntimeError("disk on fire")

    async def program(request: Request) -> Response:
        return Response(ReadableStream(chunks()))

    async with serving(program) as server:
        client = await server.connect()
        await client.write(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.answer()
        assert [event.name for event in server.events] == ["server.answer_cut"]


@pytest.mark.parametrize(("declared", "is_whole"), [("4", True), ("3", False), ("5", False)])
async def test_a_stream_must_be_as_long_as_it_says(declared: str, is_whole: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    async def program(request: Request) -> Response:
        return Response(ReadableStream(chunks()), headers={"content-length": declared})

    async with serving(program) as server:
        client = await server.connect()
        await client.write(GET)
        if is_whole:
            answer = await client.answer()
            assert (answer["content-length"], answer.body) == ("4", b"abcd")
        else:
            await client.reader.readuntil(b"\r\n\r\n")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await client.reader.readexactly(10)


async def test_an_upload_waits_for_its_reader() -> None:
    may_read = asyncio.Event()
    sizes: list[int] = []

    async def program(request: Request) -> Response:
        await may_read.wait()
        sizes.extend([len(chunk) async for chunk in request.body])
        return Response(str(sum(sizes)))

    total = 8 * 1024 * 1024
    async with serving(program) as server:
        client = await server.connect()
        client.writer.write(b"PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % total)
        client.writer.write(b"x" * total)
        for _ in range(2000):
            await asyncio.sleep(0)
        assert client.writer.transport.get_write_buffer_size() > 0
        may_read.set()
        assert (await client.answer()).body == str(total).encode()
        assert max(sizes) < 1024 * 1024


async def test_100_continue_is_sent_at_the_first_read_only() -> None:
    async def program(request: Request) -> Response:
        if request.url.endswith("/unread"):
            return Response("no", status=403)
        return Response(await request.bytes())

    head = b"POST %b HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n"
    async with serving(program) as server:
        client = await server.connect()
        await client.write(head % b"/read")
        assert (await client.answer()).status == 100
        await client.write(b"body")
        assert (await client.answer()).body == b"body"
        await client.write(head % b"/unread")
        answer = await client.answer()
        assert (answer.status, answer.closes) == (403, True)


@pytest.mark.parametrize(
    ("rest", "status"),
    [(b"zz\r\n", 400), (b"65\r\n" + b"x" * 101 + b"\r\n", 413)],
    ids=["malformed", "too large"],
)
async def test_a_body_that_turns_out_wrong_while_it_is_read_is_refused(rest, status) -> None:
    async with serving(limits=Limits(body_bytes_max=100)) as server:
        client = await server.connect()
        await client.write(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: server.connections == 1)
        await client.write(b"1\r\nx\r\n")
        await asyncio.sleep(0.01)
        await client.write(rest)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (status, True)
        assert server.events == []


async def test_a_client_that_leaves_before_its_answer_is_no_failure() -> None:
    may_answer = asyncio.Event()

    async def program(request: Request) -> Response:
        await may_answer.wait()
        return Response("late")

    async with serving(program) as server:
        client = await server.connect()
        await client.write(GET)
        await asyncio.sleep(0.01)
        client.writer.transport.abort()
        await until(lambda: server.connections == 0)
        may_answer.set()
        await until(lambda: len(server.lines) == 1)
        assert (server.lines[0].status, server.events) == (0, [])


async def test_an_error_says_nothing_to_the_client_and_all_to_the_log() -> None:
    async def program(request: Request) -> Response:
        raise RuntimeError("secret")

    async with serving(program) as server:
        client = await server.connect()
        for _ in range(2):
            await client.write(GET)
            answer = await client.answer()
            assert answer.status == 500
            assert b"secret" not in answer.body
        event = server.events[1]
        assert json.loads(answer.body)["requestId"] == event.fields["request_id"]
        assert (event.fields["cause"], event.fields["message"]) == ("RuntimeError", "secret")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Overloaded("busy"), 503, "1"),
        (CallerError("say please"), 400, None),
        (OSError(24, "too many open files"), 503, "1"),
        (OSError(2, "no such file"), 500, None),
    ],
)
async def test_errors_have_their_status(error, status, retry_after) -> None:
    async def program(request: Request) -> Response:
        raise error

    async with serving(program) as server:
        answer = await server.get()
        assert (answer.status, answer["retry-after"]) == (status, retry_after)
        assert json.loads(answer.body)["status"] == status


async def test_a_flood_of_one_failure_is_few_events_and_a_count() -> None:
    async def program(request: Request) -> Response:
        raise RuntimeError("again")

    async with serving(program) as server:
        for _ in range(25):
            await server.get()
        assert len(server.events) == 10
        server.clock.advance(10)
        await server.get()
        assert server.events[-1].fields["left_out_before"] == 15


async def test_an_error_page_answers_and_a_broken_one_does_not_hide_the_error() -> None:
    async def program(request: Request) -> Response:
        raise RuntimeError(request.url)

    def page(error: BaseException, request: Request) -> Response:
        if request.url.endswith("broken"):
            raise KeyError("template")
        return Response(f"page: {error}", status=500)

    async with serving(program, error_page=page) as server:
        assert (await server.get("/a")).body == b"page: http://t/a"
        answer = await server.get("/broken")
        assert (answer.status, answer["content-type"]) == (500, "application/problem+json")


async def test_a_control_character_in_a_header_is_a_failure_and_no_split() -> None:
    async def program(request: Request) -> Response:
        response = Response("x")
        response.headers._fields["x-evil"] = ("x-evil", "a\r\nSet-Cookie: evil=1")
        return response

    async with serving(program) as server:
        answer = await server.get()
        assert (answer.status, answer["set-cookie"]) == (500, None)


async def test_request_lines_tell_status_and_duration() -> None:
    async with serving() as server:

        async def slow(request: Request) -> Response:
            server.clock.advance(0.25)
            return await echo(request)

        server.server._host_fetch = slow
        await server.get("/a?secret=1")
        line = server.lines[0]
        assert (line.method, line.path, line.status) == ("GET", "/a", 200)
        assert line.duration_ms == pytest.approx(250)


async def test_a_dripping_head_is_ended_at_its_deadline() -> None:
    async with serving(limits=Limits(head_deadline_s=10)) as server:
        client = await server.connect()
        for byte in b"GET / HTTP/1.1\r\nH":
            await client.write(bytes([byte]))
            await asyncio.sleep(0.001)
            server.clock.advance(0.5)
            server.sweep()
        server.clock.advance(2)
        server.sweep()
        assert (await client.answer()).status == 408
        assert await client.is_closed()
        assert (await server.get()).status == 200


async def test_a_client_that_says_nothing_is_ended_at_the_same_deadline() -> None:
    async with serving(limits=Limits(head_deadline_s=10)) as server:
        client = await server.connect()
        await until(lambda: server.connections == 1)
        server.clock.advance(9.9)
        server.sweep()
        assert server.connections == 1
        server.clock.advance(0.1)
        server.sweep()
        assert (await client.answer()).status == 408


async def test_the_watchdog_runs_by_itself() -> None:
    async with serving(limits=Limits(head_deadline_s=0, sweep_s=0.001)) as server:
        client = await server.connect()
        assert (await client.answer()).status == 408


async def test_an_idle_connection_is_closed() -> None:
    async with serving(limits=Limits(idle_s=0.02)) as server:
        client = await server.connect()
        await client.write(GET)
        await client.answer()
        assert await client.is_closed()


async def test_a_program_that_never_answers_is_overdue() -> None:
    async def program(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(program, limits=Limits(request_deadline_s=30)) as server:
        client = await server.connect()
        await client.write(GET)
        await asyncio.sleep(0.01)
        server.clock.advance(29)
        server.sweep()
        assert server.lines == []
        server.clock.advance(1)
        server.sweep()
        assert (await client.answer()).status == 504


async def test_connections_are_bounded_overall_and_per_address() -> None:
    for limits in (
        Limits(connections_max=2),
        Limits(connections_per_ip_max=2, are_local_clients_exempt=False),
    ):
        async with serving(limits=limits) as server:
            first, second = await server.connect(), await server.connect()
            await until(lambda s=server: s.connections == 2)
            third = await server.connect()
            answer = await third.answer()
            assert (answer.status, answer["retry-after"]) == (503, "1")
            assert await third.is_closed()
            await first.leave()
            await until(lambda s=server: s.connections == 1)
            assert (await server.get()).status == 200
            await second.write(GET)
            assert (await second.answer()).status == 200


async def test_local_clients_do_not_count_against_the_bound_per_address() -> None:
    async with serving(limits=Limits(connections_per_ip_max=1)) as server:
        await server.connect()
        await server.connect()
        assert (await server.get()).status == 200


async def test_no_free_descriptor_at_accept_does_not_kill_the_server(monkeypatch) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.001)
    async with serving() as server:
        loop = asyncio.get_running_loop()
        complaints = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        original, failures = socket.socket.accept, iter(range(3))

        def accept(self):
            if next(failures, None) is not None:
                raise OSError(errno.EMFILE, "too many open files")
            return original(self)

        monkeypatch.setattr(socket.socket, "accept", accept)
        assert (await server.get()).status == 200
        assert complaints


async def test_drain_finishes_what_is_under_way_and_closes_what_is_idle() -> None:
    may_answer = asyncio.Event()

    async def program(request: Request) -> Response:
        if request.url.endswith("/slow"):
            await may_answer.wait()
        return Response(await request.text())

    async with serving(program) as server:
        idle, slow = await server.connect(), await server.connect()
        await idle.write(GET)
        await idle.answer()
        await slow.write(b"POST /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nabc")
        await until(lambda: server.connections == 2)
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(server.server.stop(5))
        assert await idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            await server.connect()
        await slow.write(b"def")
        may_answer.set()
        answer = await slow.answer()
        assert (answer.status, answer.body, answer.closes) == (200, b"abcdef", True)
        await stopping
        assert server.connections == 0


async def test_after_the_grace_period_the_rest_is_cut() -> None:
    async def program(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(program) as server:
        client = await server.connect()
        await client.write(GET)
        await asyncio.sleep(0.01)
        await server.server.stop(0.01)
        assert await client.is_closed()
        await server.server.stop(0.01)


async def test_readiness_is_503_while_draining_whatever_the_program_says() -> None:
    async with serving() as server:
        assert (await server.get("/health/ready")).status == 200
        server.server.begin_drain()
        answer = await server.get("/health/ready?x")
        assert (answer.status, answer.closes) == (503, True)
        assert (await server.get("/other")).status == 200
