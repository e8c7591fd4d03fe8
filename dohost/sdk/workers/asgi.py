"""ASGI applications (FastAPI, Starlette, …) as Workers.

Each request runs its own lifespan and then the application, with the whole request body read first; the
response is streamed as the application sends it. A WebSocket is accepted before the application runs and
is a standard one, which does not hibernate. This file must not know any framework.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from workers.entrypoint import WorkerEntrypoint
from workers.request import Request
from workers.response import Response
from workers.values import JsDict
from workers.websocket import WebSocket, WebSocketPair
from workers.writable import TransformStream, WritableStreamDefaultWriter

# What ASGI calls a scope or an event is an open mapping of values of any type.
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


async def fetch(
    app: Application,
    request: Request,
    env: object,
    ctx: object = None,
    *,
    options: Mapping[str, object] | None = None,
) -> Response:
    """Return the application's response to `request`; its body may still be streaming.

    `options` are added to the scope. Raises: what the application raised before it responded;
    RuntimeError if it ended without a response or its start-up failed.
    """
    body = await request.bytes()
    exchange = _Exchange(body)
    task = asyncio.get_running_loop().create_task(_serve(app, request, exchange, env, options))
    exchange.own(task)
    try:
        return await exchange.response
    except asyncio.CancelledError:
        task.cancel()
        raise


async def websocket(app: Application, request: Request, env: object) -> Response:
    """Accept a WebSocket and give it to the application; return the 101 response."""
    client, server = WebSocketPair()
    conversation = _Conversation(server)
    server.accept()
    scope = _scope(request, env, {}, kind="websocket")
    conversation.own(asyncio.get_running_loop().create_task(conversation.run(app, scope)))
    return Response(None, status=101, web_socket=client)


def entrypoint(app: Application) -> type[WorkerEntrypoint]:
    """Return a `Default` class that serves `app` over HTTP and WebSockets."""

    class Default(WorkerEntrypoint):
        async def fetch(self, request: Request) -> Response:
            if (request.headers.get("upgrade") or "").lower() == "websocket":
                return await websocket(app, request, self.env)
            return await fetch(app, request, self.env, self.ctx)

    return Default


def env(request: object) -> object:
    """Return the bindings of a framework's request: `Depends(asgi.env)`."""
    scope = getattr(request, "scope")  # noqa: B009 - the framework's class is unknown here
    return scope["env"]


def _scope(
    request: Request, env: object, state: Mapping[str, object], *, kind: str
) -> dict[str, object]:
    url = urlsplit(request.url)
    scheme = url.scheme.replace("http", "ws") if kind == "websocket" else url.scheme
    scope: dict[str, object] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
        "env": env,
        "state": dict(state),
    }
    if kind == "websocket":
        scope["subprotocols"] = []
    else:
        scope["method"] = str(request.method)
    return scope


async def _serve(
    app: Application,
    request: Request,
    exchange: _Exchange,
    env: object,
    options: Mapping[str, object] | None,
) -> None:
    """Run start-up, the application, and shut-down for one request."""
    try:
        async with _lifespan(app, env) as state:
            scope = {**_scope(request, env, state, kind="http"), **(options or {})}
            await app(scope, exchange.receive, exchange.send)
    except BaseException as error:  # whatever the application raises is the exchange's outcome
        await exchange.fail(error)
        if not isinstance(error, Exception):
            raise
    else:
        await exchange.fail(RuntimeError("The ASGI application ended without a response."))


@asynccontextmanager
async def _lifespan(app: Application, env: object) -> AsyncIterator[dict[str, object]]:
    """Run the application's lifespan round a request; yields the state that start-up filled."""
    events: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    state: dict[str, object] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}

    async def run() -> None:
        try:
            await app({**scope, "env": env}, events.get, answers.put)
        except Exception:  # noqa: BLE001 - an application without a lifespan raises whatever it likes
            answers.put_nowait({"type": "lifespan.unsupported"})
        else:
            answers.put_nowait({"type": "lifespan.ended"})

    task = asyncio.get_running_loop().create_task(run())
    try:
        events.put_nowait({"type": "lifespan.startup"})
        answer = await answers.get()
        if answer["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"ASGI start-up failed: {answer.get('message', '')}")
        try:
            yield state
        finally:
            if answer["type"] == "lifespan.startup.complete":
                events.put_nowait({"type": "lifespan.shutdown"})
                await answers.get()
    finally:
        task.cancel()
        await asyncio.wait([task])


class _Exchange:
    """One request and its response: the `receive` and `send` of an HTTP application."""

    def __init__(self, body: bytes) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._body: bytes | None = body
        self._start: Message | None = None
        self._writer: WritableStreamDefaultWriter | None = None
        self._is_ended = False
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def own(self, task: asyncio.Task[None]) -> None:
        """Keep the application's task alive as long as this exchange is used."""
        self._task = task

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                self._start = message
            case "http.response.body":
                await self._send_body(message)
            case kind:
                raise RuntimeError(f"Unexpected ASGI message {kind!r} in an HTTP exchange.")

    async def fail(self, error: BaseException) -> None:
        """End the exchange; an error after the response began breaks the response's body."""
        self._gone.set()
        if not self.response.done():
            self.response.set_exception(error)
        elif self._writer is not None and not self._is_ended:
            await self._writer.abort(error)

    async def _send_body(self, message: Message) -> None:
        if self._start is None or self._is_ended:
            raise RuntimeError(
                "http.response.body must follow http.response.start, once ended never."
            )
        chunk = message.get("body", b"")
        assert isinstance(chunk, bytes)
        self._is_ended = not message.get("more_body", False)
        if not self.response.done():
            self._respond(chunk)
            if self._is_ended:
                self._gone.set()
                return
        assert self._writer is not None
        if chunk:
            await self._writer.write(chunk)
        if self._is_ended:
            self._gone.set()
            await self._writer.close()

    def _respond(self, chunk: bytes) -> None:
        """Answer with the first chunk alone, or with a stream that it begins."""
        assert self._start is not None
        status = self._start["status"]
        assert isinstance(status, int)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self._fields()
        ]
        if self._is_ended:
            self.response.set_result(Response(chunk or None, status, headers=headers))
            return
        pipe = TransformStream()
        self._writer = pipe.writable.getWriter()
        self.response.set_result(Response(pipe.readable, status, headers=headers))

    def _fields(self) -> list[tuple[bytes, bytes]]:
        assert self._start is not None
        return list(self._start.get("headers", ()))  # type: ignore[call-overload, no-any-return]  # pairs, says ASGI


class _Conversation:
    """One WebSocket: the `receive` and `send` of a WebSocket application."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._events.put_nowait({"type": "websocket.connect"})
        self._task: asyncio.Task[None] | None = None
        socket.addEventListener("message", self._take_message)
        socket.addEventListener("close", self._take_close)

    def own(self, task: asyncio.Task[None]) -> None:
        """Keep the application's task alive as long as its socket is used."""
        self._task = task

    async def run(self, app: Application, scope: Message) -> None:
        """Run the application to its end and close the socket: 1000, or 1011 if it raised."""
        try:
            await app(scope, self._events.get, self.send)
        except BaseException:
            self._close(1011, "The ASGI application raised an exception.")
            raise
        self._close(1000, "")

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                return
            case "websocket.send":
                data = message.get("bytes")
                self._socket.send(data if isinstance(data, bytes) else str(message["text"]))
            case "websocket.close":
                code = message.get("code", 1000)
                assert isinstance(code, int)
                self._close(code, str(message.get("reason") or ""))
            case kind:
                raise RuntimeError(f"Unexpected ASGI message {kind!r} in a WebSocket exchange.")

    def _close(self, code: int, reason: str) -> None:
        if self._socket.readyState == WebSocket.OPEN:
            self._socket.close(code, reason)

    def _take_message(self, event: JsDict) -> None:
        data = event["data"]
        kind = "text" if isinstance(data, str) else "bytes"
        self._events.put_nowait({"type": "websocket.receive", kind: data})

    def _take_close(self, event: JsDict) -> None:
        self._events.put_nowait(
            {"type": "websocket.disconnect", "code": event["code"], "reason": event["reason"]}
        )
