"""Where `fetch` goes: HTTP to the outside, through one lazily made client session.

What a program gives is what goes out, and what comes in is what it gets: no cookies kept, no encoding
added or undone, no header invented beside framing and Host. Bodies stream both ways.

The exchange runs in a task of its own with an empty context, made directly and not by the loop's task
factory: connections are shared, so nothing of the program that happened to ask first (its context
variables, its gates) may stick to what the library starts. Cancelling the await cancels the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from http import HTTPStatus
from weakref import WeakSet

import aiohttp
from workers.headers import Headers
from workers.request import Request
from workers.response import Response
from workers.streams import ReadableStream
from yarl import URL

REDIRECTS_MAX = 20
CONNECT_TIMEOUT_S = 30.0
# Shorter than what servers keep idle connections open (5 s is the least that is common), so that a request
# seldom goes out on one that the other end is about to close.
KEEP_ALIVE_S = 4.0
_SCHEMES = frozenset(("http", "https"))
_BODILESS_STATUSES = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
_HOP_FIELDS = frozenset(
    (
        "connection",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Outbound:
    """A Fetcher that sends requests over the network."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._running: set[asyncio.Task[Response]] = set()
        self._unread: WeakSet[aiohttp.ClientResponse] = WeakSet()

    def fetch(self, request: Request) -> asyncio.Task[Response]:
        """Start sending `request`; await the response, whose body streams.

        Raises: OSError for what can't be reached, or too many redirects (20).
        """
        task = _task(self._fetch(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def close(self) -> None:
        """Cancel what is under way and close every connection."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for response in tuple(self._unread):
            response.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetch(self, request: Request) -> Response:
        url = URL(request.url, encoded=True)
        if url.scheme not in _SCHEMES or url.raw_host is None:
            raise OSError(f"fetch() can't load {request.url!r}: it is no http or https URL")
        if (request.headers.get("upgrade") or "").lower() == "websocket":
            raise OSError("fetch() can't open WebSockets to the outside here")
        body = request.host_body()
        try:
            received = await self._open_session().request(
                request.method,
                url,
                headers=_sent_fields(request, body),
                data=body.chunks() if isinstance(body, ReadableStream) else body,
                allow_redirects=request.redirect == "follow",
                max_redirects=REDIRECTS_MAX,
                skip_auto_headers=_NOT_ADDED,
            )
        except (aiohttp.ClientError, ValueError) as error:
            raise OSError(f"fetch({request.url!r}) failed: {error}") from error
        self._unread.add(received)
        return _response_of(received, has_body=request.method != "HEAD")

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_S),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            )
        return self._session

    def __repr__(self) -> str:
        return f"<Outbound {len(self._running)} under way>"


class _Received:
    """The chunks of a response, as they arrive."""

    __slots__ = ("_response",)

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> _Received:
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk. Raises: OSError if the connection breaks."""
        try:
            chunk = await self._response.content.readany()
        except aiohttp.ClientError as error:
            raise OSError(f"the response of {self._response.url} broke off: {error}") from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Give up the rest; its connection can't be used again."""
        self._response.close()


def _task(coroutine: Coroutine[object, object, Response]) -> asyncio.Task[Response]:
    return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), context=Context())


def _sent_fields(request: Request, body: bytes | ReadableStream | None) -> list[tuple[str, str]]:
    fields = request.raw_header_items()
    named = next((value for name, value in fields if name.lower() == "connection"), "")
    dropped = _HOP_FIELDS | {token.strip().lower() for token in named.split(",")}
    if not isinstance(body, ReadableStream):
        # Of a whole body the client knows the length itself.
        dropped |= {"content-length"}
    return [field for field in fields if field[0].lower() not in dropped]


def _response_of(received: aiohttp.ClientResponse, *, has_body: bool) -> Response:
    body = None
    if has_body and received.status not in _BODILESS_STATUSES:
        body = ReadableStream(_Received(received))
    else:
        received.release()
    headers = Headers.from_host(received.raw_headers)
    response = Response.from_host(received.status, headers, body, str(received.url))
    response.redirected = bool(received.history)
    return response
