"""Where a redirect sends a request of an object or a service: `fetch` follows it there by default. Pure.

Each hop is a request of its own to the same target, whatever host its URL names, and arrives as one that
its receiver passes on without following anything (workerd's http.c++, and tried with it).
"""

from __future__ import annotations

from typing import Final

from workers import Request, Response
from workers.response import REDIRECT_STATUSES
from workers.streams import ReadableStream
from workers.url import Url, parse

from dohost.errors import JsTypeError

REDIRECTS_MAX: Final = 20
_ONE_TIME_BODY = (
    "A request with a one-time-use body (it was initialized from a stream, not a buffer) encountered a "
    "redirect requiring the body to be retransmitted. To avoid this error in the future, construct this "
    "request from a buffer-like body initializer."
)


class Trail:
    """A request that follows redirects: what is sent now, and the URLs that it went through."""

    __slots__ = ("_body", "_cf", "_fields", "_method", "_urls")

    def __init__(self, request: Request) -> None:
        """Use up the body of `request`. Raises: OSError if it was used."""
        self._method = str(request.method)
        self._fields = request.raw_header_items()
        self._body = request.host_body()
        self._cf = request.cf
        self._urls = [request.url]

    def request(self) -> Request:
        """Return the request of this hop, as it arrives."""
        return Request.from_host(self._method, self._urls[-1], self._fields, self._body, self._cf)

    def follow(self, response: Response) -> bool:
        """Go where `response` sends the request, or return False: it is the answer, and says where from.

        Raises: JsTypeError for a place that is none, a body that can't be sent again, and after 20 hops.
        """
        location = response.headers.get("location")
        if response.status not in REDIRECT_STATUSES or not location:
            if len(self._urls) > 1:
                response.url, response.redirected = self._urls[-1], True
            return False
        before = parse(self._urls[-1])
        place = _place(location, before)
        if len(self._urls) > REDIRECTS_MAX:
            raise JsTypeError(f"Too many redirects.{', '.join(self._urls)}")
        if isinstance(self._body, ReadableStream) and response.status != 303:
            # Also where the method becomes GET: only 303 says that the body has done its work.
            raise JsTypeError(_ONE_TIME_BODY)
        if _becomes_get(response.status, self._method):
            self._method, self._body = "GET", None
            self._drop("content-length")
        if (place.scheme, place.authority) != (before.scheme, before.authority):
            # Credentials for one origin are not another's business.
            self._drop("authorization")
        self._urls.append(place.href.partition("#")[0])
        return True

    def _drop(self, name: str) -> None:
        self._fields = [field for field in self._fields if field[0].lower() != name]


def _place(location: str, base: Url) -> Url:
    try:
        place = parse(location, base.href)
    except JsTypeError:
        place = None
    if place is None or not place.host:
        raise JsTypeError("Invalid Location header; unable to follow redirect.")
    return place


def _becomes_get(status: int, method: str) -> bool:
    """Whether the next request is a GET, by the Fetch standard."""
    return (status == 303 and method not in ("GET", "HEAD")) or (
        status in (301, 302) and method == "POST"
    )
