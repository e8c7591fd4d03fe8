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
from dohost.gateway.caller import CONTEXT_HEADER, PREFIX_HEADER, encode_header_end
from dohost.gateway.dispatch import Dispatcher
from dohost.gateway.exchange import Exchange
from dohost.gateway.headers import HOP_BY_HOP, without_hop_by_hop, without_identity
from dohost.gateway.plan import Plan
from dohost.gateway.problems import Problem, problem
from dohost.gateway.routes import rewrite_path
from dohost.gateway.upstream import Target
from dohost.memo import Memo

Header = tuple[str, str]
SWITCHING = 101
NOT_FORWARDED = frozenset({"host", "content-length"})
# Clients send few different sets of names; which of them pass is decided once for each.
_KEPT: Memo[tuple[str, ...]] = Memo(entries_max=256)
_CLEAN: Memo[int] = Memo(entries_max=256)
BODILESS = frozenset({"GET", "HEAD"})
STATUSES = range(200, 600)
CONDITIONS = frozenset(
    {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"}
)
STREAMED = (
    "text/event-stream",
    "application/x-ndjson",
    "audio/",
    "video/",
    "application/octet-stream",
)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How large a request may be, how long its answer may take, and the `validators` by which it asks
    whether a kept answer still holds, instead of any conditions of the client's."""

    body_bytes_max: int
    timeout_s: float
    validators: tuple[Header, ...] = ()


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
    exchange: Exchange, plan: Plan, *, target: Target, dispatcher: Dispatcher, terms: Terms
) -> Answer | Problem:
    """Send the request to the route's service and return its answer."""
    service, timeout_s = target.service, terms.timeout_s
    path = rewrite_path(plan.match) or "/"
    headers = _request_headers(exchange, plan)
    if terms.validators:
        headers = {name: value for name, value in headers.items() if name not in CONDITIONS}
        headers.update(terms.validators)
    body = None
    if exchange.method not in BODILESS:
        read = await read_bounded(exchange.request, terms.body_bytes_max)
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
            request_id=exchange.identity.request_id,
        )
    else:
        request = Request(
            f"http://{service.name}{path}{query}",
            method=exchange.method,
            headers=headers,
            body=body,
            # A redirect is the client's to follow, by its own limits and under its own name.
            redirect="manual",
        )
        started = dispatcher.begin(
            target,
            lambda stub: stub.fetch(request),
            timeout_s=timeout_s,
            request_id=exchange.identity.request_id,
        )
    if isinstance(started, Problem):
        return started
    response = await started.finish()
    if isinstance(response, Problem):
        return response
    if not isinstance(response, Response):
        return problem("internal-error", f"The service {service.name} gave no response.")
    if response.status != SWITCHING and response.status not in STATUSES:
        return problem(
            "upstream-failed",
            f"The service {service.name} answered {response.status}, no HTTP status.",
        )
    return await read_answer(response, method=exchange.method)


async def read_answer(response: Response, *, method: str) -> Answer:
    """Return a response's status, end-to-end headers and body; streams stay unread."""
    if response.status == SWITCHING:
        return Answer(status=SWITCHING, headers=(), upgrade=response)
    fields = response.headers
    headers = end_to_end(tuple(fields.items()))
    if method == "HEAD":
        return Answer(status=response.status, headers=headers, body=b"")
    content_type = fields.get("content-type") or ""
    if content_type.startswith(STREAMED):
        return Answer(status=response.status, headers=headers, body=response.body or b"")
    return Answer(status=response.status, headers=headers, body=await response.bytes())


def end_to_end(fields: tuple[Header, ...]) -> tuple[Header, ...]:
    """Return a message's fields without those that end here; names in lower case."""
    names = tuple([name for name, _ in fields])
    if "connection" in names:
        return tuple(without_hop_by_hop(fields))
    is_clean = _CLEAN.get(names)
    if is_clean is None:
        is_clean = 1 if HOP_BY_HOP.isdisjoint(names) else 0
        _CLEAN.put(names, is_clean)
    return fields if is_clean else tuple(without_hop_by_hop(fields))


def _request_headers(exchange: Exchange, plan: Plan) -> dict[str, str]:
    fields, identity = exchange.headers, exchange.identity
    names = (*fields,) if (named := fields.get("connection")) is None else (*fields, named)
    kept = _KEPT.get(names)
    if kept is None:
        kept = _kept_names(fields)
        _KEPT.put(names, kept)
    sent = {name: fields[name] for name in kept}
    sent[CONTEXT_HEADER] = plan.caller_start + encode_header_end(
        request_id=identity.request_id,
        deadline_ms=identity.deadline_ms,
        traceparent=identity.traceparent,
    )
    sent[PREFIX_HEADER] = plan.match.prefix
    return sent


def _kept_names(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of a client's fields that a service sees; names and Connection decide."""
    kept = without_identity(without_hop_by_hop(fields.items()))
    unsent = NOT_FORWARDED | {PREFIX_HEADER.lower()}
    return tuple(name for name, _ in kept if name not in unsent)
