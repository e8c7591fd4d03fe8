"""The server: listens, gives each request to the host, and answers for it when the host can't.

The handler is one coroutine per request with nothing in it that nobody asked for. Whatever goes wrong, a
client gets one complete answer or a closed connection, never a traceback; the log gets one event per
failure with the request's id, and few of a kind per second.

Invariants: (1) every request that was read is answered before `stop` ends, or its connection is cut at
the end of the grace period; (2) after `begin_drain` readiness is 503 whatever the program says.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextvars import Context
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec
from workers.request import Request
from workers.response import FetchResponse, Response

from dohost.clock import Clock, Entropy, SystemEntropy, uuid7
from dohost.server.adapters import (
    RequestReader,
    send_problem,
    send_response,
)
from dohost.server.bodies import BodyRefused
from dohost.server.client_address import ForwardingField, parse_networks
from dohost.server.exchange import SENT_CLOSE, ClientGone, Exchange, Sent
from dohost.server.figures import ServerCounts
from dohost.server.limits import Limits
from dohost.server.listener import Listener
from dohost.server.local_api import (
    GUARDED_PREFIX,
    TEST_SCHEDULED_PATH,
    LocalApi,
    LocalGuard,
    caller_of,
)
from dohost.server.problems import Problem, problem_of
from dohost.server.websockets import upgrade
from dohost.telemetry import Log

READY_PATH = "/health/ready"
_BACKLOG = 1024
_OVERDUE = Problem(status=504, detail="The program did not answer in time.")

HostFetch = Callable[[Request], Awaitable[FetchResponse]]
ErrorPage = Callable[[BaseException, Request], Response]


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen and what to accept.

    `port` 0 takes a free one. `trusted_proxies`: addresses or CIDR blocks whose `forwarding` field is
    believed. `local_names`: host names, beside loopback ones and `ip`,
    under which `/cdn-cgi/` answers. `dev`: show what failed to the client. `tests_scheduled`:
    `/__scheduled` runs the `scheduled` handler. `metrics_to`: addresses or CIDR blocks of clients, beside this
    machine's, that may read the metrics. `tls`: serve https.
    """

    ip: str = "127.0.0.1"
    port: int = 8787
    limits: Limits = Limits()
    trusted_proxies: tuple[str, ...] = ()
    forwarding: ForwardingField = "x-forwarded-for"
    local_names: tuple[str, ...] = ()
    dev: bool = False
    tests_scheduled: bool = False
    metrics_to: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was answered; `status` 0 if the client left before that."""

    method: str
    path: str
    status: int
    duration_ms: float


class Server:
    """One listening socket and its connections."""

    def __init__(
        self,
        host_fetch: HostFetch,
        options: ServerOptions,
        *,
        clock: Clock,
        log: Log,
        entropy: Entropy | None = None,
        on_request: Callable[[RequestLine], None] | None = None,
        error_page: ErrorPage | None = None,
        local_api: LocalApi | None = None,
        new_context: Callable[[], Context] = Context,
        compresses_sockets: Callable[[], bool] = lambda: True,
    ) -> None:
        """Prepare a server; nothing listens yet. Raises: ValueError for a malformed proxy address.

        `new_context` makes the context in which a request is answered. `compresses_sockets`: whether a
        WebSocket's client may agree on compression now.
        """
        self._host_fetch = host_fetch
        self._new_context = new_context
        self._compresses_sockets = compresses_sockets
        self._options = options
        self._clock = clock
        self._entropy = entropy or SystemEntropy()
        self._log = log.limited(clock.monotonic)
        self._on_request = on_request
        self._error_page = error_page
        self._local = (
            LocalGuard(
                local_api,
                (options.ip, *options.local_names),
                is_dev=options.dev,
                metrics_to=parse_networks(options.metrics_to),
                figures=lambda: self.listener().figures(),
            )
            if local_api
            else None
        )
        self._reader = RequestReader(options.limits, forwarding=options.forwarding)
        self._trusted = parse_networks(options.trusted_proxies)
        self._counts = ServerCounts()
        self._listener: Listener | None = None
        self._sockets: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen, and return the URL with the port that was bound. Raises: OSError if it is taken."""
        options = self._options
        self._sockets = await asyncio.get_running_loop().create_server(
            self.listener(),
            options.ip,
            options.port,
            backlog=_BACKLOG,
            ssl=options.tls,
        )
        port = self._sockets.sockets[0].getsockname()[1]
        scheme = "http" if options.tls is None else "https"
        host = f"[{options.ip}]" if ":" in options.ip else options.ip
        return f"{scheme}://{host}:{port}"

    def listener(self) -> Listener:
        """Return what makes connections, for callers who have sockets of their own."""
        if self._listener is None:
            self._listener = Listener(
                self._handle,
                self._options.limits,
                clock=self._clock,
                trusted_proxies=self._trusted,
                new_context=self._new_context,
                compresses_sockets=self._compresses_sockets,
                counts=self._counts,
            )
        return self._listener

    def begin_drain(self) -> None:
        """Answer readiness with 503 and end each connection with its next answer; still accept."""
        if self._listener is not None:
            self._listener.is_draining = True

    async def stop(self, grace_s: float) -> None:
        """Accept no more, finish what is under way within `grace_s`, and cut the rest.

        A second call does nothing. Cancelling it leaves connections open; call it again.
        """
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None
        if self._listener is not None:
            await self._listener.drain(grace_s)

    async def _handle(self, exchange: Exchange) -> Sent:
        exchange.started_s = self._clock.monotonic()
        # With the loop given: finding it costs a system call on Python 3.11.
        exchange.task = asyncio.current_task(exchange.connection.listener.loop)
        try:
            return await self._answer(exchange)
        except asyncio.CancelledError:
            answer = self._interrupted(exchange)
            if answer is None:
                raise
            return answer
        except ClientGone:
            return SENT_CLOSE
        finally:
            exchange.connection.finish(exchange)
            self._counts.answered(exchange, self._clock.monotonic())
            if self._on_request is not None:
                self._on_request(self._line(exchange))

    async def _answer(self, exchange: Exchange) -> Sent:
        try:
            request = self._reader.read(exchange)
        except BodyRefused as refusal:
            return send_problem(exchange, _problem_of_body(refusal))
        if isinstance(request, Problem):
            return send_problem(exchange, request)
        try:
            if exchange.connection.listener.is_draining or self._is_own(request.url):
                own = await self._own_answer(request, exchange)
                response = own or await self._host_fetch(request)
            else:
                response = await self._host_fetch(request)
            exchange.status = response.status
            if response.web_socket is not None:
                problem = upgrade(exchange, response)
                return SENT_CLOSE if problem is None else send_problem(exchange, problem)
            sent = send_response(exchange, response)
            return sent if isinstance(sent, Sent) else await sent
        except Exception as error:  # noqa: BLE001  # the boundary: every failure becomes an answer
            return await self._failed(exchange, request, error)

    def _is_own(self, url: str) -> bool:
        """Whether the answer may be the server's own; a cheap look, as every request takes it."""
        return GUARDED_PREFIX in url or (
            self._options.tests_scheduled and TEST_SCHEDULED_PATH in url
        )

    async def _own_answer(self, request: Request, exchange: Exchange) -> Response | None:
        path = urlsplit(request.url).path
        if path == READY_PATH and self._is_draining:
            headers = {"content-type": "application/json", "cache-control": "no-store"}
            return Response('{"status": "draining"}', status=503, headers=headers)
        is_test = self._options.tests_scheduled and path == TEST_SCHEDULED_PATH
        if (is_test or path.startswith(GUARDED_PREFIX)) and self._local is not None:
            return await self._local.answer(request, caller_of(exchange))
        return None

    @property
    def _is_draining(self) -> bool:
        return self._listener is not None and self._listener.is_draining

    async def _failed(self, exchange: Exchange, request: Request, error: Exception) -> Sent:
        """Answer for a program or host that failed, and log it once."""
        if isinstance(error, ClientGone):
            return SENT_CLOSE
        if exchange.body_refusal is not None and not exchange.has_answered:
            return send_problem(exchange, _problem_of_body(exchange.body_refusal))
        self._log_failure(exchange, error)
        if exchange.has_answered:
            # Part of an answer is out: only a broken connection tells that it is not the whole.
            exchange.connection.cut_answer()
            return SENT_CLOSE
        if self._error_page is not None:
            page = self._page_of(self._error_page, request, error)
            if page is not None:
                exchange.status = page.status
                sent = send_response(exchange, page)
                return sent if isinstance(sent, Sent) else await sent
        problem = problem_of(error)
        if self._options.dev:
            detail = f"{type(error).__name__}: {error}"
            problem = msgspec.structs.replace(problem, detail=detail)
        return send_problem(exchange, problem, is_refusal=False)

    def _page_of(self, make: ErrorPage, request: Request, error: Exception) -> Response | None:
        try:
            return make(error, request)
        except Exception as second:  # noqa: BLE001  # a broken page must not hide what it was to show
            self._log.event("server.error_page_failed", level="error", cause=type(second).__name__)
            return None

    def _log_failure(self, exchange: Exchange, error: BaseException) -> None:
        exchange.request_id = uuid7(self._clock, self._entropy)
        self._log.event(
            "server.answer_cut" if exchange.has_answered else "server.request_failed",
            level="error",
            cause=type(error).__name__,
            request_id=exchange.request_id,
            method=exchange.message.method,
            path=_path_of(exchange),
            message=str(error),
        )

    def _interrupted(self, exchange: Exchange) -> Sent | None:
        """Answer after a cancellation that the server asked for; None after any other."""
        task = exchange.task
        assert task is not None, "_handle set it"
        if exchange.is_overdue and not exchange.has_answered:
            task.uncancel()
            self._log_failure(exchange, TimeoutError("no answer within the request deadline"))
            return send_problem(exchange, _OVERDUE)
        if exchange.is_lost:
            task.uncancel()
            return SENT_CLOSE
        return None

    def _line(self, exchange: Exchange) -> RequestLine:
        return RequestLine(
            method=exchange.message.method,
            path=_path_of(exchange),
            status=exchange.status if exchange.has_answered else 0,
            duration_ms=(self._clock.monotonic() - exchange.started_s) * 1000,
        )

    def __repr__(self) -> str:
        return f"<Server {self._options.ip}:{self._options.port} {self._listener or 'not started'}>"


def _path_of(exchange: Exchange) -> str:
    return exchange.message.path.partition("?")[0]


def _problem_of_body(refusal: BodyRefused) -> Problem:
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Problem(status=413, detail="The request body is too large.")
    return Problem(status=refusal.status, detail="The request body is malformed or incomplete.")
