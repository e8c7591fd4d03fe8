"""Response: what a handler returns and what `fetch` brings back.

`FetchResponse` is the reading side; `Response` adds what makes one. Both are on every request's path: text
without options costs an object and a few assignments, headers are an object only where some were given,
and the content type that a body implies is added when headers are read or sent. This file must not
know how a response reaches the network.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import overload

from dohost.errors import DataCloneError, JsRangeError, JsTypeError
from workers.body import TEXT, BodyMixin, extract
from workers.fetchtypes import Body
from workers.formdata import FormData
from workers.headers import Headers, HeadersInit
from workers.streams import ReadableStream
from workers.url import normalize
from workers.usv_text import utf8
from workers.values import StreamMover
from workers.websocket import WebSocket

# `json.dumps` makes this encoder anew for each value, which costs more than to use it. It looks for no
# cycles, so `_to_json` leaves what is too deep to `json.dumps`, which says why.
_encoder = json.encoder.c_make_encoder  # type: ignore[attr-defined]  # None without the C module
_encode_json: Callable[[object, int], tuple[str, ...]] | None = _encoder and _encoder(
    None,
    json.JSONEncoder().default,
    json.encoder.encode_basestring_ascii,
    None,
    ": ",
    ", ",
    False,
    False,
    True,
)

PHRASES = {status.value: status.phrase for status in HTTPStatus}
NULL_BODY_STATUSES = frozenset({101, 204, 205, 304})
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


class FetchResponse(BodyMixin):
    """A response, to be read."""

    __slots__ = (
        "_content_type",
        "_headers",
        "_status_text",
        "redirected",
        "status",
        "url",
        "web_socket",
    )

    _headers: Headers | None
    _content_type: str | None

    # Cloudflare's five parameters, in its order.
    def __init__(
        self,
        body: Body | FetchResponse = None,
        status: int | None = None,
        status_text: str = "",
        headers: HeadersInit | None = None,
        web_socket: WebSocket | None = None,
    ) -> None:
        """Make a response; a status other than 200 to 599 needs a WebSocket and is 101.

        Raises: TypeError for a body or headers of another type; JsRangeError for the status;
        JsTypeError for a malformed header or a body where the status has none.
        """
        self._is_used = False
        self.url: str = ""
        self.redirected: bool = False
        self._status_text = status_text
        if type(body) is str:
            self._content, self._content_type = body, TEXT
        elif isinstance(body, FetchResponse):
            _require_no_options(status, status_text, headers)
            self._adopt(body)
            return
        else:
            self._content, self._content_type = extract(body)
        self.status: int = 200 if status is None else int(status)
        self._headers = None if headers is None else Headers(headers)
        self.web_socket: WebSocket | None = web_socket
        if status is not None or web_socket is not None:
            self._check_status()

    @property
    def status_text(self) -> str:
        """The reason phrase; the status's own unless one was given."""
        return self._status_text or PHRASES.get(self.status, "")

    @property
    def ok(self) -> bool:
        return 200 <= self.status <= 299

    @property
    def type(self) -> str:
        return "default"

    @property
    def headers(self) -> Headers:
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers()
        if self._content_type is not None:
            if "content-type" not in headers:
                headers.append("content-type", self._content_type)
            self._content_type = None
        return headers

    @property
    def js_object(self) -> FetchResponse:
        return self

    @property
    def js_response(self) -> FetchResponse:
        return self

    @property
    def webSocket(self) -> WebSocket | None:
        """JavaScript's name for `web_socket`."""
        return self.web_socket

    async def string(self) -> str:
        return await self.text()

    async def memoryview(self) -> memoryview:
        return memoryview(await self.bytes())

    async def formData(self) -> FormData:
        return await self.form_data()

    async def json(self, **options: object) -> object:
        """Read the body as JSON; `options` go to `json.loads`. Raises: OSError if it was used."""
        return await self._read_json(options)

    def clone(self) -> Response:
        """Return a copy that can be read on its own. Raises: OSError if the body was used."""
        if self.web_socket is not None:
            raise JsTypeError("Cannot clone a response to a WebSocket handshake.")
        content = self._duplicate()
        twin = self._like(self)
        twin._content = content
        return twin

    def replace_body(self, body: Body) -> Response:
        """Return a response with this status and these headers, and another body."""
        twin = self._like(self)
        twin._content, _ = extract(body)
        twin._check_status()
        return twin

    def raise_for_status(self) -> None:
        """Raises: OSError if the status is 400 or above."""
        if self.status >= 400:
            side = "Client" if self.status < 500 else "Server"
            raise OSError(f"{self.status} {side} Error: {self.status_text} for url: {self.url}")

    def transfer(self, streams: StreamMover) -> Response:
        """Move the response to the other side of a call; its body is used up here."""
        if self.web_socket is not None:
            raise DataCloneError("A response to a WebSocket handshake cannot be sent over RPC.")
        twin = self._like(self)
        twin._content = self._move(streams)
        return twin

    # What a host reads -------------------------------------------------------------------------

    def raw_header_items(self) -> list[tuple[str, str]]:
        """Return the fields to send, `set-cookie` lines apart; implies the content type."""
        if self._headers is None:
            return [] if self._content_type is None else [("content-type", self._content_type)]
        return self.headers.raw_items()

    def host_body(self) -> bytes | ReadableStream | None:
        """Use the body up and return it for sending. Raises: OSError if it was used."""
        content = self._take()
        return utf8(content) if isinstance(content, str) else content

    def __repr__(self) -> str:
        content_type = self.headers.get("content-type")
        return (
            f"Response(status={self.status}, status_text={self.status_text!r}, "
            f"content_type={content_type!r})"
        )

    def _adopt(self, other: FetchResponse) -> None:
        """Become the response `other`, whose body is used up by that."""
        self._content = other._take()
        self._copy_head(other)
        self.web_socket = other.web_socket

    def _copy_head(self, other: FetchResponse) -> None:
        self.status = other.status
        self._status_text = other._status_text
        self._headers = other.headers.copy()
        self._content_type = None
        self.url, self.redirected = other.url, other.redirected

    @staticmethod
    def _like(other: FetchResponse) -> Response:
        twin = Response()
        twin._copy_head(other)
        return twin

    def _check_status(self) -> None:
        status = self.status
        if self.web_socket is not None:
            if status != 101:
                raise JsRangeError("Responses with a WebSocket must have status code 101.")
        elif not 200 <= status <= 599:
            raise JsRangeError(
                "Responses may only be constructed with status codes in the range 200 to 599, inclusive."
            )
        if status in NULL_BODY_STATUSES and self._content is not None:
            # Cloudflare lets an empty body pass and drops it.
            if self._content not in ("", b""):
                raise JsTypeError(
                    "Response with null body status (101, 204, 205, or 304) cannot have a body."
                )
            self._content = self._content_type = None


class _JsonRole:
    """`Response.json(data)` makes a response; `response.json()` reads one."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Response]) -> Callable[..., Response]: ...
    @overload
    def __get__(
        self, instance: Response, owner: type[Response]
    ) -> Callable[..., Awaitable[object]]: ...
    def __get__(self, instance: Response | None, owner: type[Response]) -> Callable[..., object]:
        return owner.from_json if instance is None else instance._read_json_with


class Response(FetchResponse):
    """A response, to be made or read. `Response.json(data, …)` is `Response.from_json`."""

    __slots__ = ()

    json = _JsonRole()  # type: ignore[assignment]  # the class and its instances answer differently

    @classmethod
    def from_json(
        cls,
        data: object,
        status: int = 200,
        status_text: str = "",
        headers: HeadersInit | None = None,
    ) -> Response:
        """Return `data` as JSON; the content type is application/json unless `headers` have one.

        Raises: TypeError for what `json.dumps` refuses, ValueError for cycles.
        """
        response = cls(_to_json(data), status, status_text, headers)
        response._content_type = "application/json"
        return response

    @staticmethod
    def redirect(url: str, status: int = 302) -> Response:
        """Return a redirect. Raises: ValueError for a status that isn't 301, 302, 303, 307 or 308."""
        if status not in REDIRECT_STATUSES:
            raise ValueError(
                f"Invalid redirect status code: {status}; must be 301, 302, 303, 307 or 308"
            )
        return Response(None, status, headers={"location": normalize(url)})

    @classmethod
    def from_host(
        cls,
        status: int,
        headers: Headers,
        body: bytes | ReadableStream | None,
        url: str,
    ) -> Response:
        """Return a response that `fetch` received: nothing is checked or copied."""
        response = cls()
        response.status = status
        response._headers = headers
        response._content = body
        response.url = url
        return response

    async def _read_json_with(self, **options: object) -> object:
        return await self._read_json(options)


def _to_json(data: object) -> str:
    """Return what `json.dumps(data)` returns, or raise what it raises."""
    if _encode_json is None:
        return json.dumps(data)
    try:
        return "".join(_encode_json(data, 0))
    except RecursionError:
        return json.dumps(data)


def _require_no_options(status: int | None, status_text: str, headers: HeadersInit | None) -> None:
    if status is not None or status_text or headers is not None:
        raise ValueError("Expected no options when constructing Response from a js.Response")
