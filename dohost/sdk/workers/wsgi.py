"""WSGI applications (Flask, Django, Bottle, …) as Workers.

The application is called once per request with the whole body read first. What it yields is sent as it is
asked for, so a generator streams; between two chunks other events run. This file must not know any
framework.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from io import BytesIO
from types import TracebackType
from urllib.parse import unquote_to_bytes, urlsplit

from workers.entrypoint import WorkerEntrypoint
from workers.request import Request
from workers.response import Response
from workers.streams import ReadableStream

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[dict[str, object], StartResponse], Iterable[bytes]]


async def fetch(app: Application, request: Request, env: object, ctx: object = None) -> Response:
    """Return the application's response to `request`; its body may still be streaming.

    The bindings are in the environ under "env". Raises: what the application raises before its first
    chunk; RuntimeError if it never calls `start_response`.
    """
    start = _Start()
    chunks = app(await _environ(request, env), start)
    if isinstance(chunks, (list, tuple)):
        content = b"".join([*start.written, *chunks])
        status, headers = start.head()
        return Response(content or None, status, headers=headers)
    # A generator runs up to its first chunk before there is a status.
    iterator = iter(chunks)
    first = next(iterator, None)
    status, headers = start.head()
    begun = [*start.written] if first is None else [*start.written, first]
    if first is None:
        _close(chunks)
        return Response(b"".join(begun) or None, status, headers=headers)
    stream = ReadableStream.from_async_iterable(_rest(begun, iterator, chunks))
    return Response(stream, status, headers=headers)


def entrypoint(app: Application) -> type[WorkerEntrypoint]:
    """Return a `Default` class that serves `app`."""

    class Default(WorkerEntrypoint):
        async def fetch(self, request: Request) -> Response:
            return await fetch(app, request, self.env, self.ctx)

    return Default


class _Start:
    """The `start_response` of one request."""

    def __init__(self) -> None:
        self._head: tuple[int, list[tuple[str, str]]] | None = None
        self.written: list[bytes] = []

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        if self._head is not None and exc_info is None:
            raise RuntimeError("start_response() was called twice without exc_info.")
        self._head = int(status.split(" ", 1)[0]), list(headers)
        return self.written.append

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        if self._head is None:
            raise RuntimeError("The WSGI application did not call start_response().")
        return self._head


async def _environ(request: Request, env: object) -> dict[str, object]:
    url = urlsplit(request.url)
    body = await request.bytes()
    environ: dict[str, object] = {
        "REQUEST_METHOD": str(request.method),
        "SCRIPT_NAME": "",
        # WSGI's strings are bytes in disguise: latin-1 text of whatever bytes came.
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname or "",
        "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": request.headers.get("content-type") or "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "env": env,
    }
    for name, value in request.headers.items():
        if name not in ("content-type", "content-length"):
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ


async def _rest(
    begun: list[bytes], iterator: Iterator[bytes], chunks: Iterable[bytes]
) -> AsyncIterator[bytes]:
    try:
        for chunk in begun:
            yield chunk
        for chunk in iterator:
            yield chunk
    finally:
        _close(chunks)


def _close(chunks: Iterable[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
