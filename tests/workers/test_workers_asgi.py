"""ASGI applications, written by hand."""

from __future__ import annotations

import asyncio

import pytest
from workers import Request, Response, WorkerEntrypoint, asgi
from workers.websocket import Close


class _Sink:
    def __init__(self) -> None:
        self.frames: list[object] = []

    def receive(self, frame: object) -> None:
        self.frames.append(frame)

    def gone(self) -> None: ...

    def abandoned(self) -> None: ...


async def _echo(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["started"] = True
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        scope["env"].append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    scope["env"].append(scope)
    event = await receive()
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1")]})
    await send({"type": "http.response.body", "body": event["body"]})


async def test_an_application_sees_the_request_and_answers() -> None:
    seen: list = []
    request = Request("http://do/a%20b?x=1", method="POST", body="hi", headers={"X-B": "2"})
    response = await asgi.fetch(_echo, request, seen, options={"extra": 1})
    assert (response.status, response.headers.get("x-a"), await response.text()) == (201, "1", "hi")
    while len(seen) < 2:
        await asyncio.sleep(0)
    scope, last = seen
    assert last == "shutdown"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"x=1")
    assert (scope["method"], scope["scheme"], scope["http_version"]) == ("POST", "http", "1.1")
    assert (b"x-b", b"2") in scope["headers"]
    assert scope["state"] == {"started": True}
    assert scope["extra"] == 1
    assert not {"client", "server", "root_path"} & set(scope)


def _plain(handle):
    async def app(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await handle(scope, receive, send)

    return app


async def test_a_streamed_response_begins_before_the_application_ends() -> None:
    go = asyncio.Event()

    @_plain
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await go.wait()
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await send({"type": "http.response.body"})

    response = await asgi.fetch(app, Request("http://x/"), None)
    reader = response.body.getReader()
    assert (await reader.read()).value == b"one"
    go.set()
    assert (await reader.read()).value == b"two"
    assert (await reader.read()).done


async def test_an_error_before_the_response_is_raised_by_fetch() -> None:
    @_plain
    async def app(scope, receive, send) -> None:
        raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        await asgi.fetch(app, Request("http://x/"), None)


async def test_an_error_after_the_response_breaks_its_body() -> None:
    @_plain
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        raise ValueError("late")

    response = await asgi.fetch(app, Request("http://x/"), None)
    with pytest.raises(ValueError, match="late"):
        await response.text()


async def test_an_application_without_a_response_is_an_error() -> None:
    @_plain
    async def app(scope, receive, send) -> None: ...

    with pytest.raises(RuntimeError, match="without a response"):
        await asgi.fetch(app, Request("http://x/"), None)


async def test_a_failed_start_up_is_an_error() -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="no database"):
        await asgi.fetch(app, Request("http://x/"), None)


async def test_cancelling_fetch_cancels_the_application() -> None:
    ended = asyncio.Event()

    @_plain
    async def app(scope, receive, send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(asgi.fetch(app, Request("http://x/"), None))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 1)


async def test_a_websocket_application_talks_and_is_closed_with_1000() -> None:
    async def app(scope, receive, send) -> None:
        assert (scope["type"], scope["scheme"]) == ("websocket", "ws")
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"].upper()})
        await send({"type": "websocket.send", "bytes": bytes((await receive())["bytes"])})

    Default = asgi.entrypoint(app)
    assert issubclass(Default, WorkerEntrypoint)
    request = Request("http://x/", headers={"Upgrade": "WebSocket"})
    response = await Default(None, None).fetch(request)
    assert isinstance(response, Response)
    assert response.status == 101
    sink = _Sink()
    response.web_socket.couple(sink)
    response.web_socket.end.relay("hi")
    response.web_socket.end.relay(b"raw")
    for _ in range(20):
        await asyncio.sleep(0)
    assert sink.frames == ["HI", b"raw", Close(code=1000, reason="")]


async def test_a_websocket_application_hears_of_the_end() -> None:
    heard: list = []

    async def app(scope, receive, send) -> None:
        await receive()
        heard.append(await receive())

    response = await asgi.websocket(app, Request("http://x/"), None)
    response.web_socket.couple(_Sink())
    response.web_socket.end.relay(Close(code=1001, reason="bye"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert heard == [{"type": "websocket.disconnect", "code": 1001, "reason": "bye"}]


async def test_an_entrypoint_serves_http_and_gives_its_env() -> None:
    seen: list = []
    response = await asgi.entrypoint(_echo)(None, seen).fetch(Request("http://x/"))
    assert response.status == 201

    class FrameworkRequest:
        scope = seen[0]

    assert asgi.env(FrameworkRequest()) is seen
