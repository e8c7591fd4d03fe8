"""Between the connection and Worker code: an exchange becomes a Request, a Response becomes bytes.

Reading costs a URL string and an object: fields stay as the parser left them. Writing goes straight to
the transport, head and small body in one segment; a stream is pulled only as fast as the client takes it.

Invariants: (1) a request leaves here with the server's word on who the client is, never the client's own;
(2) one answer per exchange, framed by what is really sent: if a body breaks off, so does the connection;
(3) a stream that is not sent to its end is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine

from aiohttp import EMPTY_PAYLOAD, HttpVersion10, HttpVersion11
from aiohttp.http import RawRequestMessage
from workers.headers import ReceivedFields
from workers.request import Request
from workers.response import FetchResponse
from workers.streams import ReadableStream

from dohost.server.answers import Framing, declared_length, encode_head, length_line
from dohost.server.bodies import body_of
from dohost.server.client_address import (
    FORWARDING_FIELDS,
    IDENTITY_FIELDS,
    ForwardingField,
    forwarded_client,
    forwarded_hops,
    forwarded_scheme,
    identity_fields,
    stripped,
)
from dohost.server.connection import FIELDS_TOO_LARGE, Accepted, Connection
from dohost.server.exchange import SENT_CLOSE, SENT_KEEP, ClientGone, Exchange, Sent
from dohost.server.limits import Limits, header_bytes
from dohost.server.problems import Problem, encode_problem
from dohost.server.target import BadTarget, is_authority, url_of

_ALLOWED = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_FORBIDDEN_METHODS = frozenset(("CONNECT", "TRACE", "TRACK"))
_STRIPPED_NAMES = frozenset(
    name.lower().encode() for name in (*IDENTITY_FIELDS, *FORWARDING_FIELDS)
)
_IDENTITY_NAMES = frozenset(name.lower().encode() for name in IDENTITY_FIELDS)
# What is known of a connection here; the request copies it if somebody asks.
_CF = {
    HttpVersion10: {"httpProtocol": "HTTP/1.0"},
    HttpVersion11: {"httpProtocol": "HTTP/1.1"},
}
# Below this, one copy is cheaper than a second write.
_JOINED_BYTES_MAX = 64 * 1024
_BODILESS_STATUSES = frozenset((204, 304))


def refusal_of(message: RawRequestMessage, connection: Connection) -> Problem | None:
    """Return why a request that parses must still not be served, or None."""
    version = message.version
    if version is not HttpVersion11 and version is not HttpVersion10:
        return Problem(status=505, detail="This server speaks HTTP/1.1.")
    if message.chunked:
        if version is HttpVersion10:
            return Problem(status=400, detail="HTTP/1.0 has no transfer codings.")
        if message.headers["Transfer-Encoding"].strip().lower() != "chunked":
            return Problem(status=501, detail="Only the chunked transfer coding is supported.")
    elif "Transfer-Encoding" in message.headers:
        # The parser takes an empty one for none; others on the way may not.
        return Problem(status=400, detail="The Transfer-Encoding field is malformed.")
    if message.method in _FORBIDDEN_METHODS:
        return Problem(
            status=405, detail="This method is not served.", fields=(("Allow", _ALLOWED),)
        )
    if connection.is_large:
        limits = connection.listener.limits
        if header_bytes(message.raw_headers) > limits.header_bytes_max:
            return FIELDS_TOO_LARGE
    if not is_authority(host_of(message)):
        return Problem(status=400, detail="The Host field is malformed.")
    return None


def host_of(message: RawRequestMessage) -> str:
    """Return the Host field; only HTTP/1.0 may go without."""
    return message.headers.get("Host", "localhost" if message.version is HttpVersion10 else "")


class RequestReader:
    """Makes Worker requests."""

    __slots__ = ("_forwarding", "_limits")

    def __init__(self, limits: Limits, *, forwarding: ForwardingField) -> None:
        self._limits = limits
        self._forwarding = forwarding

    def read(self, exchange: Exchange) -> Request | Problem:
        """Return the request, or the answer to one that must not be served.

        Raises: BodyRefused if its body is too large already.
        """
        message = exchange.message
        connection = exchange.connection
        accepted = connection.accepted
        if accepted is None or accepted.raw_headers is not message.raw_headers:
            problem = refusal_of(message, connection)
            if problem is not None:
                return problem
            accepted = connection.accepted = self._accepted(message, connection)
        url = url_of(message.path, scheme=accepted.scheme, host=accepted.host)
        if type(url) is BadTarget:
            return Problem(status=400, detail=f"Bad request: {url.reason}.")
        assert type(url) is str
        payload = exchange.payload
        body = None
        if payload is not EMPTY_PAYLOAD:
            if problem := self._expect_body(exchange):
                return problem
            body = body_of(exchange, payload, bytes_max=self._limits.body_bytes_max)
        return Request.from_host(message.method, url, accepted.fields, body, _CF[message.version])

    def _accepted(self, message: RawRequestMessage, connection: Connection) -> Accepted:
        """Return the fields, with the client's address stated by us, and what follows from them."""
        raw_headers = message.raw_headers
        scheme = connection.scheme
        if connection.is_trusted:
            headers = message.headers
            hops = forwarded_hops(headers, self._forwarding)
            trusted = connection.listener.trusted_proxies
            client_ip = forwarded_client(hops, connection.client_ip, trusted=trusted)
            scheme = forwarded_scheme(headers, self._forwarding) or scheme
            raw = stripped(raw_headers, _IDENTITY_NAMES) + identity_fields(client_ip)
        else:
            raw = raw_headers
            for name, _ in raw_headers:
                if name.lower() in _STRIPPED_NAMES:
                    raw = stripped(raw_headers, _STRIPPED_NAMES)
                    break
            raw += connection.identity
        return Accepted(raw_headers, host_of(message), scheme, ReceivedFields(raw))

    def _expect_body(self, exchange: Exchange) -> Problem | None:
        headers = exchange.message.headers
        length = headers.get("Content-Length")
        if length is not None and int(length) > self._limits.body_bytes_max:
            return Problem(status=413, detail="The request body is too large.")
        expect = headers.get("Expect")
        if expect is not None:
            if expect.lower() != "100-continue":
                return Problem(status=417, detail="Only 100-continue can be expected.")
            exchange.is_continue_due = not exchange.payload.is_eof()
        return None


def connection_line(exchange: Exchange, *, keeps: bool) -> str:
    """Return the `Connection` field where it is not plain from the version."""
    if not keeps:
        return "Connection: close\r\n"
    return "Connection: keep-alive\r\n" if exchange.message.version is HttpVersion10 else ""


def can_keep(exchange: Exchange) -> bool:
    """Tell whether another request may follow on this connection.

    Not after a body that the client was never told to send: it may or may not come.
    """
    return not (
        exchange.message.should_close
        or exchange.is_continue_due
        or exchange.connection.listener.is_draining
    )


def send_response(
    exchange: Exchange, response: FetchResponse
) -> Sent | Coroutine[None, None, Sent]:
    """Write a response at once; return what is left to wait for if it is a stream or the client is slow.

    Raises: ClientGone; ValueError for bad fields. If it, or the wait, raises with
    `exchange.has_answered` set, a part may have gone out: close the connection.
    """
    body = response.host_body()
    if isinstance(body, ReadableStream):
        return _send_stream(exchange, response, body)
    status = response.status
    is_head = exchange.message.method == "HEAD"
    keeps = can_keep(exchange)
    length: int | None = len(body) if body else 0
    if status in _BODILESS_STATUSES or (is_head and not body):
        body = None
        declared = None if status == 204 else response.headers.get("content-length")
        length = declared_length(declared)
    head = encode_head(
        status,
        response.raw_header_items(),
        reason=response.status_text,
        own_lines=length_line(length) + connection_line(exchange, keeps=keeps),
        date=exchange.connection.listener.date.line(),
    )
    write_all(exchange, head, None if is_head else body)
    sent = SENT_KEEP if keeps else SENT_CLOSE
    return _drained(exchange, sent) if exchange.connection.writing_paused else sent


async def _drained(exchange: Exchange, sent: Sent) -> Sent:
    await exchange.drained()
    return sent


def write_all(exchange: Exchange, head: bytes, body: bytes | None) -> None:
    """Write a whole answer at once. Raises: ClientGone."""
    transport = _transport_of(exchange)
    exchange.has_answered = True
    if not body:
        transport.write(head)
    elif len(body) <= _JOINED_BYTES_MAX:
        transport.write(head + body)
    else:
        transport.write(head)
        transport.write(body)


def send_problem(exchange: Exchange, problem: Problem, *, is_refusal: bool = True) -> Sent:
    """Write an answer of the server's own; a refused request ends its connection."""
    exchange.status = problem.status
    keeps = not is_refusal and can_keep(exchange) and exchange.payload.is_eof()
    whole = encode_problem(
        problem,
        request_id=exchange.request_id,
        own_lines=connection_line(exchange, keeps=keeps),
        date=exchange.connection.listener.date.line(),
        is_head=exchange.message.method == "HEAD",
    )
    write_all(exchange, whole, None)
    return SENT_KEEP if keeps else SENT_CLOSE


async def _send_stream(exchange: Exchange, response: FetchResponse, stream: ReadableStream) -> Sent:
    chunks = stream.chunks()
    try:
        return await _pump(exchange, response, chunks)
    finally:
        exchange.is_pumping = False
        # Does nothing after the last chunk.
        await chunks.aclose()  # type: ignore[attr-defined]  # declared as any iterator; has it


async def _pump(exchange: Exchange, response: FetchResponse, chunks: AsyncIterator[bytes]) -> Sent:
    """Write head and chunks, each when the client has taken most of the one before."""
    framing = _framing_of_stream(exchange, response)
    is_delimited = framing.is_chunked or framing.has_no_body or framing.length is not None
    keeps = can_keep(exchange) and is_delimited
    framing_line = (
        "Transfer-Encoding: chunked\r\n" if framing.is_chunked else length_line(framing.length)
    )
    head = encode_head(
        response.status,
        response.raw_header_items(),
        reason=response.status_text,
        own_lines=framing_line + connection_line(exchange, keeps=keeps),
        date=exchange.connection.listener.date.line(),
    )
    write_all(exchange, head, None)
    if framing.has_no_body:
        return SENT_KEEP if keeps else SENT_CLOSE
    exchange.is_pumping = True
    left = framing.length
    async for chunk in chunks:
        size = len(chunk)
        if left is not None:
            left -= size
            if left < 0:
                raise ValueError("the body is longer than the Content-Length of its response")
        _write_chunk(exchange, chunk, is_chunked=framing.is_chunked)
        if exchange.connection.writing_paused:
            await exchange.drained()
    if left:
        raise ValueError("the body is shorter than the Content-Length of its response")
    if framing.is_chunked:
        _transport_of(exchange).write(b"0\r\n\r\n")
    return SENT_KEEP if keeps else SENT_CLOSE


def _framing_of_stream(exchange: Exchange, response: FetchResponse) -> Framing:
    length = declared_length(response.headers.get("content-length"))
    if exchange.message.method == "HEAD" or response.status in _BODILESS_STATUSES:
        return Framing(has_no_body=True, length=None if response.status == 204 else length)
    if length is not None:
        return Framing(length=length)
    return Framing(is_chunked=exchange.message.version is HttpVersion11)


def _write_chunk(exchange: Exchange, chunk: bytes, *, is_chunked: bool) -> None:
    transport = _transport_of(exchange)
    if is_chunked:
        transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    else:
        transport.write(chunk)


def _transport_of(exchange: Exchange) -> asyncio.Transport:
    transport = exchange.connection.transport
    if transport is None or transport.is_closing():
        raise ClientGone("the client is gone")
    return transport
