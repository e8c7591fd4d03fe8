"""One client connection: aiohttp's parser and keep-alive loop with our bounds around them.

aiohttp parses, queues pipelined requests and keeps the connection; this file adds what it leaves open:
a deadline for dripping request heads, a bound on all fields together, admission by count, plain
refusals, and word to a reader whose body turned out malformed.

Invariants: (1) no timer and no task per request beyond aiohttp's own; one sweep sees to all deadlines.
(2) A refusal closes the connection, so nothing after a doubtful byte is ever taken for a request.
Tied to aiohttp's `RequestHandler` (checked with 3.14) by `_messages`, `_message_tail`, `_task_handler` and
`handle_error`, and through `eager_connection`, which answers most requests without aiohttp's loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import msgspec
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from workers.headers import ReceivedFields

from dohost.server.bodies import BodyRefused
from dohost.server.client_address import (
    identity_fields,
    is_loopback,
    is_within,
    plain_address,
)
from dohost.server.eager_connection import EagerConnection
from dohost.server.exchange import SENT_CLOSE, Exchange
from dohost.server.known_heads import is_whole
from dohost.server.problems import Problem

if TYPE_CHECKING:
    from dohost.server.listener import Listener

# Method, spaces and version beside the target in a request line.
_REQUEST_LINE_ROOM_BYTES = 64
_BAD_REQUEST = Problem(status=400, detail="The request is malformed.")
_URL_TOO_LONG = Problem(status=414, detail="The request target is too long.")
FIELDS_TOO_LARGE = Problem(status=431, detail="The request's header fields are too large.")
_HEAD_OVERDUE = Problem(status=408, detail="The request's header fields took too long.")
# aiohttp's words; it has no class of its own for this.
_TOO_MANY_FIELDS = "Too many headers"
_TOO_MANY = Problem(status=503, detail="Too many connections; try again later.", code="overloaded")


class Accepted(msgspec.Struct, frozen=True):
    """The fields of a request that may be served, and what follows from them on this connection.

    `raw_headers` are the very ones that the parser made; `fields` say who the client is.
    """

    raw_headers: tuple[tuple[bytes, bytes], ...]
    host: str
    scheme: str
    fields: ReceivedFields


class Peer(Protocol):
    """An open connection, whatever is spoken on it."""

    client_ip: str

    def drain(self) -> None:
        """End as soon as nothing is under way."""
        ...

    def cut(self) -> None:
        """End at once."""
        ...


class Connection(EagerConnection):
    """A client connection, from accept to close."""

    __slots__ = (
        "_bytes_seen",
        "_head_started_s",
        "_is_aligned",
        "_lingering",
        "_lingers_until_s",
        "accepted",
        "client_ip",
        "exchange",
        "identity",
        "is_large",
        "is_trusted",
        "listener",
        "scheme",
    )

    def __init__(self, listener: Listener, *, loop: asyncio.AbstractEventLoop) -> None:
        limits = listener.limits
        super().__init__(
            listener,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # documented as "no access log"
            keepalive_timeout=limits.idle_s,
            lingering_time=limits.linger_s,
            max_line_size=limits.url_bytes_max,
            max_field_size=limits.header_bytes_max,
            max_headers=limits.header_lines_max,
            read_bufsize=limits.read_ahead_bytes,
            auto_decompress=False,
        )
        self.accept_eagerly(listener.handle)
        self.listener = listener
        self.exchange: Exchange | None = None
        self.client_ip = ""
        self.identity: tuple[tuple[bytes, bytes], ...] = ()
        self.is_trusted = False
        self.scheme = "http"
        # The fields that were found in order last: clients repeat them.
        self.accepted: Accepted | None = None
        # True once more arrived at a time than all fields may take: then they are counted exactly.
        self.is_large = False
        self._bytes_seen = 0
        # Whether the parser holds nothing of a request that is still coming.
        self._is_aligned = True
        self._head_started_s: float | None = None
        self._lingering: asyncio.Transport | None = None
        self._lingers_until_s = 0.0

    @property
    def local_port(self) -> int | None:
        """The port that the client is connected to; None for a socket that has none."""
        transport = self.transport
        address = None if transport is None else transport.get_extra_info("sockname")
        return address[1] if isinstance(address, tuple) else None

    @property
    def is_answering(self) -> bool:
        """Whether a request is under way; not while the rest of an answered one is still taken in."""
        task = None if self.exchange is None else self.exchange.task
        return task is not None and not task.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listener = self.listener
        peer = transport.get_extra_info("peername")
        # The peer of a socket without an address is on this machine.
        peer_ip = plain_address(peer[0]) if isinstance(peer, tuple) else "127.0.0.1"
        self.client_ip = peer_ip or "0.0.0.0"
        self.identity = identity_fields(self.client_ip)
        self.is_trusted = is_within(self.client_ip, listener.trusted_proxies)
        if transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        self._head_started_s = listener.clock.monotonic()
        super().connection_made(transport)
        is_exempt = self.is_trusted or (
            listener.limits.are_local_clients_exempt and is_loopback(self.client_ip)
        )
        if not listener.count.admit(self.client_ip, is_exempt=is_exempt):
            # At once: one too many must not be kept to be told so gently.
            self._write_refusal(_TOO_MANY)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.listener.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._lingering is not None:
            return
        exchange = self.exchange
        is_between = (
            exchange is None
            and self._is_aligned
            and self._waiter is not None
            and not self.has_requests
        )
        if is_between and (known := self.listener.heads.find(data)) is not None:
            self._known = known
            self.listener.batch.add(self)
            return
        self._bytes_seen += len(data)
        waiting = len(self._messages)
        self.parse(data)
        # aiohttp gives itself nothing, to go on with what it holds.
        if data:
            self._is_aligned = len(self._messages) == waiting + 1 and is_whole(
                data, *self._messages[-1], is_aligned=self._is_aligned
            )
        if is_between and self._is_aligned:
            self.listener.heads.learn(data, *self._messages[0])
        if exchange is not None and self._messages and not exchange.payload.is_eof():
            # A message behind an unfinished body can only be the parser's complaint about it.
            exchange.payload.set_exception(BodyRefused("malformed body", status=400))
        if self._bytes_seen > self.listener.large_bytes:
            self._bound_head()
        if self._messages:
            self.listener.batch.add(self)
        elif exchange is None and self._head_started_s is None and data:
            self._head_started_s = self.listener.clock.monotonic()

    def begin(self, exchange: Exchange) -> None:
        """Note that a request's head is complete."""
        self.exchange = exchange
        self._bytes_seen = 0
        self._head_started_s = None

    def finish(self, exchange: Exchange) -> None:
        """Note that a request is answered."""
        self._bytes_seen = 0
        # What still comes of an unread body is no head; aiohttp's lingering bounds it.
        if exchange.payload.is_eof():
            self.exchange = None
        if self.listener.is_draining:
            self.close()

    def drain(self) -> None:
        """Close if idle, else with the answer that is under way."""
        if self._lingering is not None:
            self._lingering.close()
        if self.exchange is None and not self.has_requests:
            self.force_close()

    def sweep(self, now_s: float) -> None:
        """End what is overdue at `now_s`."""
        if self._lingering is not None:
            if now_s >= self._lingers_until_s:
                self._lingering.abort()
            return
        limits = self.listener.limits
        exchange = self.exchange
        if exchange is not None:
            exchange.sweep(now_s, limits)
        elif (
            self._head_started_s is not None
            and not self.has_requests
            and now_s - self._head_started_s >= limits.head_deadline_s
        ):
            self.refuse(_HEAD_OVERDUE)

    def refuse(self, problem: Problem) -> None:
        """Answer a request that is not understood yet, and close."""
        self._write_refusal(problem)
        self._linger()

    def _write_refusal(self, problem: Problem) -> None:
        transport = self.transport
        if transport is not None and not transport.is_closing():
            self.listener.counts.refusals[problem.status] += 1
            transport.write(self.listener.encode_refusal(problem))

    def _linger(self) -> None:
        """Stop sending but take in, for a while, what the client still sends.

        A socket that is closed over unread data is reset, and a reset destroys the answer that the
        client has not read yet.
        """
        transport = self.transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            self._lingering = transport
            self._lingers_until_s = self.listener.clock.monotonic() + self.listener.limits.linger_s
            transport.write_eof()
            # aiohttp closes what it finds here.
            self.transport = None
        self.force_close()

    def cut(self) -> None:
        """Close at once, whatever is under way, and cancel the handler."""
        transport = self.transport or self._lingering
        for task in (self._task_handler, self._answering):
            if task is not None:
                task.cancel()
        if transport is not None:
            transport.abort()

    def cut_answer(self) -> None:
        """Break off the answer that is under way: a broken connection tells that it is not the whole."""
        if self.transport is not None:
            self.transport.abort()

    def hand_over(self, successor: Peer) -> tuple[asyncio.Transport, bytes]:
        """Give the connection to `successor` for good; return its transport and what came already.

        aiohttp's part ends with the handler. The client must not have left.
        """
        transport, self.transport = self.transport, None
        assert transport is not None, "the caller saw it"
        tail, self._message_tail = self._message_tail, b""
        self.listener.replace(self, successor)
        super().connection_lost(None)
        return transport, tail

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Answer what the parser refused; aiohttp calls this in the place of the handler."""
        exchange = cast(Exchange, request)  # made by Listener.make_exchange
        if exchange.has_answered:
            raise ConnectionResetError("the answer was under way")
        exchange.has_answered = True
        self.refuse(_problem_of_parser(exc, self.max_line_size))
        return SENT_CLOSE

    def _bound_head(self) -> None:
        self.is_large = True
        limits = self.listener.limits
        room = limits.header_bytes_max + limits.url_bytes_max + _REQUEST_LINE_ROOM_BYTES
        if self._bytes_seen > room and self.exchange is None and not self._messages:
            self.refuse(FIELDS_TOO_LARGE)

    def __repr__(self) -> str:
        return f"<Connection {self.client_ip} {self.exchange or 'idle'}>"


def _problem_of_parser(error: BaseException | None, url_bytes_max: int) -> Problem:
    if isinstance(error, LineTooLong):
        is_url = str(error.args[1]) == str(url_bytes_max)
        return _URL_TOO_LONG if is_url else FIELDS_TOO_LARGE
    if error is not None and _TOO_MANY_FIELDS in str(error):
        return FIELDS_TOO_LARGE
    return _BAD_REQUEST
