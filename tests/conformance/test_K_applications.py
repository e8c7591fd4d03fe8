"""Section 12.K, row K21, and WSGI: whole applications behind a worker and behind an object."""

from __future__ import annotations

import asyncio

import pytest

from dohost.errors import JsException

ASGI = """
import asyncio
from workers import asgi

starts = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            starts.append(message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    request = await receive()
    if scope["path"] == "/fail":
        raise ValueError("before the response")
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/stream":
        for number in range(3):
            chunk = f"data: {number}\\n\\n".encode()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})
        return
    name = getattr(scope["env"], "NAME", None)
    text = f"{scope['method']} {scope['path']} {name} {request['body'].decode()}"
    await send({"type": "http.response.body", "body": text.encode()})

seen = []

async def websocket(receive, send):
    while True:
        message = await receive()
        seen.append(message["type"])
        match message["type"]:
            case "websocket.connect":
                await send({"type": "websocket.accept"})
            case "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"].upper()})
            case "websocket.disconnect":
                return

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.url.endswith("/starts"):
            return Response.json(starts)
        return await asgi.fetch(app, request, self.env, self.ctx)

class App(DurableObject):
    async def fetch(self, request):
        if request.headers.get("upgrade") == "websocket":
            return await asgi.websocket(app, request, self.env)
        return await asgi.fetch(app, request, self.env, self.ctx)

    def seen(self):
        return seen
"""


async def run(bench):
    await bench.run(bench.config(ASGI, vars={"NAME": "env"}))
    return bench.stub(class_name="App")


async def test_K21_an_application_sees_request_env_and_body(bench) -> None:
    stub = await run(bench)
    response = await stub.fetch("http://x/a%20b?q=1", method="POST", body="content")
    assert await response.text() == "POST /a b env content"


@pytest.mark.parametrize("where", ["worker", "object"])
async def test_K21_events_are_streamed_one_by_one(bench, where: str) -> None:
    stub = await run(bench)
    url = "http://x/stream"
    response = await (bench.get(url) if where == "worker" else stub.fetch(url))
    assert response.headers["content-type"] == "text/event-stream"
    chunks = [bytes(chunk) async for chunk in response.body]
    assert chunks == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


async def test_K21_the_lifespan_runs_for_each_request(bench) -> None:
    await run(bench)
    for _ in range(2):
        await (await bench.get("http://x/")).text()
    await asyncio.sleep(0)
    both = ["lifespan.startup", "lifespan.shutdown"]
    assert await (await bench.get("http://x/starts")).json() == both * 2


async def test_K21_an_error_before_the_response_reaches_the_caller(bench) -> None:
    stub = await run(bench)
    with pytest.raises(ValueError, match="before the response"):
        await bench.get("http://x/fail")
    with pytest.raises(JsException, match="ValueError: before the response"):
        await stub.fetch("http://x/fail")


async def test_K21_a_socket_that_closes_is_a_disconnect(bench) -> None:
    stub = await run(bench)
    response = await stub.fetch("http://x/", headers={"upgrade": "websocket"})
    assert response.status == 101
    socket = response.web_socket
    received = []
    socket.addEventListener("message", lambda event: received.append(event.data))
    socket.accept()
    socket.send("hello")
    for _ in range(10):
        await asyncio.sleep(0)
    assert received == ["HELLO"]
    socket.close(1000, "bye")
    for _ in range(10):
        await asyncio.sleep(0)
    types = ["websocket.connect", "websocket.receive", "websocket.disconnect"]
    assert await stub.seen() == types


WSGI = """
from workers import wsgi

closed = []

class Chunks:
    def __init__(self, chunks):
        self.chunks = iter(chunks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def close(self):
        closed.append(True)

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/silent":
        return []
    if path == "/generator":
        return generate(start_response)
    write = start_response("201 Created", [("X-A", "1"), ("Set-Cookie", "a"), ("Set-Cookie", "b")])
    if path == "/chunks":
        return Chunks([b"one,", b"two"])
    if path == "/write":
        write(b"written,")
        return [b"returned"]
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_X_B", "CONTENT_LENGTH")
    text = " ".join(str(environ[name]) for name in names)
    body = environ["wsgi.input"].read().decode()
    return [f"{text} {body} {environ['env'].NAME}".encode()]

def generate(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"a"
    yield b"b"

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await wsgi.fetch(app, request, self.env)

class App(DurableObject):
    async def fetch(self, request):
        return await wsgi.fetch(app, request, self.env)

    def closed(self):
        return closed
"""


async def wsgi(bench):
    await bench.run(bench.config(WSGI, vars={"NAME": "env"}))
    return bench.stub(class_name="App")


async def test_a_wsgi_application_gets_its_environ(bench) -> None:
    stub = await wsgi(bench)
    response = await stub.fetch(
        "http://x/a%20b?q=1", method="POST", body="content", headers={"x-b": "2"}
    )
    assert await response.text() == "POST /a b q=1 2 7 content env"
    assert (response.status, response.headers["x-a"]) == (201, "1")
    assert response.headers.get_all("set-cookie") == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("generator", "ab"), ("chunks", "one,two"), ("write", "written,returned")],
)
async def test_a_wsgi_body_is_a_list_or_comes_in_chunks(bench, path: str, body: str) -> None:
    stub = await wsgi(bench)
    assert await (await stub.fetch(f"http://x/{path}")).text() == body
    assert await stub.closed() == ([True] if path == "chunks" else [])


async def test_a_wsgi_application_that_starts_no_response_is_an_error(bench) -> None:
    stub = await wsgi(bench)
    with pytest.raises(JsException, match=r"did not call start_response\(\)"):
        await stub.fetch("http://x/silent")
