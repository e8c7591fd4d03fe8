"""A route's request to its service, and the service's answer back.

The service sees `http://<service>/<rest>`, its prefix in `X-Forwarded-Prefix` and the caller in
`X-Gateway-Context`; hop-by-hop and identity headers of the client never pass. What comes back is an
`Answer`: a small body is read, a stream is passed on unread.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from workers import ReadableStream, Request, Response, fetch

from dohost.gateway.bodies import read_bounded
from dohost.gateway.caller import CONTEXT_HEADER, PREFIX_HEADER, encode_header
from dohost.gateway.config_tables import ServiceConfig
from dohost.gateway.dispatch import Dispatcher
from dohost.gateway.exchange import Exchange
from dohost.gateway.headers import without_hop_by_hop, without_identity
from dohost.gateway.problems import Problem, problem
from dohost.gateway.routes import Match, rewrite_path
from dohost.gateway.upstream import Target, target_of
from dohost.memo import Memo

Header = tuple[str, str]
SWITCHING = 101
NOT_FORWARDED = frozenset({"host", "content-length"})
# Clients send few different sets of names; which of them pass is decided once for each.
_KEPT: Memo[tuple[str, ...]] = Memo(entries_max=256)
BODILESS = frozenset({"GET", "HEAD"})
STREAMED = (
    "text/event-stream",
    "application/x-ndjson",
    "audio/",
    "video/",
    "application/octet-stream",
)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How large a request may be and how long its answer may take."""

    body_bytes_max: int
    timeout_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer before the gateway's own headers; `body` is bytes, or a stream to pass on."""

    status: int
    headers: tuple[Header, ...]
    body: bytes | ReadableStream = b""
    upgrade: Response | None = None

    def content(self) -> bytes | None:
        """Return the body if it was read; None for a stream."""
        return self.body if isinstance(self.body, bytes) else None

    def to_response(self, more: tuple[Header, ...]) -> Response:
        """Return the answer with the gateway's headers; an upgrade passes as it is."""
        if self.upgrade is not None:
            return self.upgrade
        return Response(self.body or None, status=self.status, headers=[*self.headers, *more])


async def forward(
    exchange: Exchange, match: Match, *, target: Target, dispatcher: Dispatcher, limits: Bounds
) -> Answer | Problem:
    """Send the request to the route's service and return its answer."""
    service, timeout_s = target.service, limits.timeout_s
    path = rewrite_path(match) or "/"
    headers = _request_headers(exchange, match)
    body = None
    if exchange.method not in BODILESS:
        read = await read_bounded(exchange.request, limits.body_bytes_max)
        if isinstance(read, Problem):
            return read
        body = read or None
    query = f"?{exchange.query_text}" if exchange.query_text else ""
    if service.url is not None:
        url = service.url.rstrip("/") + path + query
        started = dispatcher.begin(
            target,
            lambda _: fetch(
                url, method=exchange.method, headers=headers, body=body, redirect="manual"
            ),
            timeout_s=timeout_s,
        )
    else:
        request = Request(
            f"http://{service.name}{path}{query}",
            method=exchange.method,
            headers=headers,
            body=body,
        )
        started = dispatcher.begin(target, lambda stub: stub.fetch(request), timeout_s=timeout_s)
    if isinstance(started, Problem):
        return started
    response = await started.finish()
    if isinstance(response, Problem):
        return response
    if not isinstance(response, Response):
        return problem("internal-error", f"The service {service.name} gave no response.")
    return await read_answer(response, method=exchange.method)


def route_target(
    exchange: Exchange, match: Match, services: Mapping[str, ServiceConfig]
) -> Target | Problem:
    """Return the object that a route's request goes to."""
    service = services[match.route.service]
    return target_of(
        service, exchange.identity.tenant, values=match.params, template=match.route.object
    )


async def read_answer(response: Response, *, method: str) -> Answer:
    """Return a response's status, end-to-end headers and body; streams stay unread."""
    if response.status == SWITCHING:
        return Answer(status=SWITCHING, headers=(), upgrade=response)
    headers = tuple(without_hop_by_hop(header_items(response)))
    if method == "HEAD":
        return Answer(status=response.status, headers=headers, body=b"")
    content_type = response.headers.get("content-type") or ""
    if content_type.startswith(STREAMED):
        return Answer(status=response.status, headers=headers, body=response.body or b"")
    return Answer(status=response.status, headers=headers, body=await response.bytes())


def header_items(message: Request | Response) -> list[Header]:
    """Return header fields as pairs with lower-case names; each Set-Cookie is a pair of its own."""
    return [(name.lower(), value) for name, value in message.headers.items()]


def _request_headers(exchange: Exchange, match: Match) -> list[Header]:
    fields = exchange.headers
    names = (*fields,) if (named := fields.get("connection")) is None else (*fields, named)
    kept = _KEPT.get_or_make(names, lambda: _kept_names(fields))
    sent = [(name, fields[name]) for name in kept]
    sent.append((CONTEXT_HEADER, encode_header(exchange.identity.caller())))
    sent.append((PREFIX_HEADER, match.prefix))
    return sent


def _kept_names(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of a client's fields that a service sees; names and Connection decide."""
    kept = without_identity(without_hop_by_hop(fields.items()))
    return tuple(name for name, _ in kept if name not in NOT_FORWARDED)
