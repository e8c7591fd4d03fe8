"""Request: what a handler receives and what `fetch` sends.

The host makes one for every request that arrives, so making one costs an object and four assignments:
headers stay as the parser left them until somebody asks for one. User code makes one from a URL or from
another request, and there everything is checked. This file must not know how requests are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPMethod
from typing import Unpack

from dohost.errors import JsTypeError
from workers.body import BodyMixin, Content, extract
from workers.fetchtypes import FetchKwargs
from workers.formdata import FormData
from workers.headers import HasItems, Headers
from workers.streams import ReadableStream
from workers.url import normalize
from workers.usv_text import utf8
from workers.values import JsDict, StreamMover

RawHeaders = HasItems | Iterable[tuple[bytes, bytes]] | Iterable[tuple[str, str]]

_METHODS: Mapping[str, HTTPMethod] = {method.value: method for method in HTTPMethod}
# The methods that the Fetch standard writes in capitals whatever the caller wrote.
_NORMALIZED = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"})
_BODILESS = frozenset({"GET", "HEAD"})
_REDIRECTS = frozenset({"follow", "manual"})
_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# Whoever sent a request follows redirects itself: passing it on must not.
_ARRIVED: FetchKwargs = {"redirect": "manual"}
# Options that a request keeps as fields of its own.
_OWN = frozenset({"body", "headers", "method"})


class Request(BodyMixin):
    """An HTTP request."""

    __slots__ = ("_cf", "_headers", "_method", "_options", "_raw_headers", "url")

    _headers: Headers | None
    _method: str
    _raw_headers: RawHeaders
    _options: FetchKwargs

    def __init__(self, input: Request | str, **options: Unpack[FetchKwargs]) -> None:
        """Make a request for a URL, or from another request whose body it takes over.

        Raises: JsTypeError for a URL that isn't absolute, a malformed method or header, and a body given to
        GET or HEAD; OSError if the other request's body was used. A request that arrived as a GET with a
        body can be copied as it is.
        """
        source = input if isinstance(input, Request) else None
        if source is None:
            self.url: str = normalize(str(input))
            self._options = _checked(options)
            self._cf: object = options.get("cf")
        else:
            self.url = source.url
            # Most copies change nothing but headers; the rest of the options is then the same.
            is_like = options.keys() <= _OWN
            self._options = source._options if is_like else _checked({**source._options, **options})
            self._cf = options.get("cf", source._cf)
        given = options.get("method")
        method = str(given) if given is not None else "GET" if source is None else source._method
        self._method = method if method in _NORMALIZED else _normal_method(method)
        headers = options.get("headers")
        self._raw_headers = ()
        if headers is None and source is not None:
            self._headers = source.headers.copy()
        else:
            self._headers = Headers(headers)
        self._is_used = False
        self._content = self._take_body(source, options)
        is_as_it_came = source is not None and source._method == self._method
        has_body_given = options.get("body") is not None or not is_as_it_came
        if self._content is not None and self._method in _BODILESS and has_body_given:
            raise JsTypeError("Request with a GET or HEAD method cannot have a body.")

    @classmethod
    def from_host(
        cls,
        method: str,
        url: str,
        raw_headers: RawHeaders,
        body: bytes | ReadableStream | None,
        cf: Mapping[str, object] | None = None,
    ) -> Request:
        """Return a request that arrived: `url` is absolute, `raw_headers` come from a parser.

        Nothing is copied or checked; headers are read from `raw_headers` on first use.
        """
        request = cls.__new__(cls)
        request.url = url
        request._method = method
        request._raw_headers = raw_headers
        request._headers = None
        request._content = body
        request._is_used = False
        request._cf = cf
        request._options = _ARRIVED
        return request

    @property
    def method(self) -> HTTPMethod | str:
        """The method, as an HTTPMethod if it is one."""
        return _METHODS.get(self._method, self._method)

    @property
    def headers(self) -> Headers:
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers.from_host(self._raw_headers)
        return headers

    @property
    def cf(self) -> JsDict | None:
        """What the host knows of the connection; None if nothing."""
        cf = self._cf
        if cf is None or isinstance(cf, JsDict):
            return cf
        assert isinstance(cf, Mapping)
        made = self._cf = JsDict(cf)
        return made

    @property
    def cache(self) -> str:
        return self._options.get("cache", "default")

    @property
    def credentials(self) -> str:
        return self._options.get("credentials", "same-origin")

    @property
    def destination(self) -> str:
        return ""

    @property
    def integrity(self) -> str:
        return self._options.get("integrity", "")

    @property
    def is_history_navigation(self) -> bool:
        return False

    @property
    def keepalive(self) -> bool:
        return self._options.get("keepalive", False)

    @property
    def mode(self) -> str:
        return self._options.get("mode", "cors")

    @property
    def redirect(self) -> str:
        """What `fetch` does with a redirect: "follow" or "manual"."""
        return self._options.get("redirect", "follow")

    @property
    def referrer(self) -> str:
        return self._options.get("referrer", "about:client")

    @property
    def referrer_policy(self) -> str:
        return self._options.get("referrer_policy", "")

    @property
    def js_object(self) -> Request:
        return self

    async def json(self, **options: object) -> object:
        """Read the body as JSON; `options` go to `json.loads`. Raises: OSError if it was used."""
        return await self._read_json(options)

    async def formData(self) -> FormData:
        return await self.form_data()

    def clone(self) -> Request:
        """Return a copy that can be read on its own. Raises: OSError if the body was used."""
        return self._twin(self._duplicate())

    def _twin(self, content: Content) -> Request:
        twin = Request.from_host(self._method, self.url, self._raw_headers, None)
        twin._content = content
        twin._headers = None if self._headers is None else self._headers.copy()
        twin._cf = self._cf
        twin._options = self._options
        return twin

    def transfer(self, streams: StreamMover) -> Request:
        """Move the request to the other side of a call; its body is used up here."""
        return self._twin(self._move(streams))

    def host_body(self) -> bytes | ReadableStream | None:
        """Use the body up and return it for sending. Raises: OSError if it was used."""
        content = self._take()
        return utf8(content) if isinstance(content, str) else content

    def raw_header_items(self) -> list[tuple[str, str]]:
        """Return the fields to send, `set-cookie` lines apart."""
        return self.headers.raw_items()

    def __repr__(self) -> str:
        return f"Request(method={self._method!r}, url={self.url!r})"

    def _take_body(self, source: Request | None, options: FetchKwargs) -> Content:
        assert self._headers is not None
        if "body" in options:
            content, content_type = extract(options["body"])
            if content_type is not None and "content-type" not in self._headers:
                self._headers.append("content-type", content_type)
            return content
        return None if source is None else source._take()


def _normal_method(method: str) -> str:
    upper = method.upper()
    if upper in _NORMALIZED:
        return upper
    if _is_token(method) is None:
        raise JsTypeError(f"Invalid HTTP method string: {method}")
    return method


def _checked(options: FetchKwargs) -> FetchKwargs:
    redirect = options.get("redirect", "follow")
    if redirect not in _REDIRECTS:
        raise JsTypeError(
            'Invalid redirect value, must be one of "follow" or "manual" ("error" won\'t be implemented '
            'since it does not make sense at the edge; use "manual" and check the response status code).'
        )
    return options
