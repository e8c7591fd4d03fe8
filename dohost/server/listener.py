"""The listener: makes connections, counts them, sweeps them, and waits for the last.

What all connections share is here: limits, the date, the heads that were read before, the batch in which
requests are answered. One timer looks at every connection's deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import cast

from aiohttp import StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from dohost.clock import Clock
from dohost.server.answers import DateField
from dohost.server.client_address import Network
from dohost.server.connection import Connection, Peer
from dohost.server.eager_connection import Batch, Handler
from dohost.server.exchange import Exchange
from dohost.server.figures import ServerCounts, ServerFigures
from dohost.server.known_heads import KnownHeads
from dohost.server.limits import ConnectionCount, Limits
from dohost.server.problems import Problem, encode_problem
from dohost.server.websocket_watch import WebSocketWatch


class Listener(Server):
    """Makes connections, counts them, sweeps them, and waits for the last."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        *,
        clock: Clock,
        trusted_proxies: tuple[Network, ...],
        new_context: Callable[[], Context],
        compresses_sockets: Callable[[], bool],
        counts: ServerCounts,
    ) -> None:
        super().__init__(
            cast("Callable[[BaseRequest], Awaitable[StreamResponse]]", handler),
            request_factory=cast("Callable[..., BaseRequest]", _make_exchange),
        )
        self.handle = handler
        self.new_context = new_context
        self.compresses_sockets = compresses_sockets
        self.batch = Batch(self._loop)
        self.limits = limits
        self.clock = clock
        self.date = DateField(clock)
        self.heads = KnownHeads(limits)
        self.trusted_proxies = trusted_proxies
        self.count = ConnectionCount(limits)
        self.counts = counts
        self.is_draining = False
        # Fields may be too large only if more than half their bound came between two requests' heads,
        # as a head is at most spread over the bytes seen before and after the last one.
        self.large_bytes = limits.header_bytes_max // 2
        self.sockets = WebSocketWatch(limits)
        self._http: set[Connection] = set()
        self._upgraded: set[Peer] = set()
        self._emptied = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    def __call__(self) -> Connection:
        connection = Connection(self, loop=self._loop)
        self._http.add(connection)
        self.counts.accepted += 1
        self._emptied.clear()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self.limits.sweep_s, self._sweep_again)
        return connection

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def replace(self, connection: Connection, successor: Peer) -> None:
        """Note that another protocol is spoken on a connection from now on."""
        self._http.discard(connection)
        self._upgraded.add(successor)

    def forget(self, connection: Peer) -> None:
        """Stop counting a connection that is closed."""
        self.count.release(connection.client_ip)
        self._http.discard(connection)
        self._upgraded.discard(connection)
        if not self._http and not self._upgraded:
            self._emptied.set()

    def figures(self) -> ServerFigures:
        """Return what has been answered, and what is open now."""
        counts = self.counts
        return ServerFigures(
            answers=counts.by_class(),
            durations=counts.durations,
            in_flight=sum(each.is_answering for each in self._http),
            refusals=counts.refusals,
            connections=len(self._http),
            connections_upgraded=len(self._upgraded),
            connections_accepted=counts.accepted,
        )

    def sweep(self) -> None:
        """End what is overdue on any connection."""
        now_s = self.clock.monotonic()
        # Idle WebSockets may be many; their watch has its own way to find the few that are due.
        for connection in tuple(self._http):
            connection.sweep(now_s)
        self.sockets.sweep(now_s)

    async def drain(self, grace_s: float) -> None:
        """Close idle connections, let the others finish their answer, and cut what is left."""
        self.is_draining = True
        for peer in self._peers():
            peer.drain()
        if self._peers():
            try:
                async with asyncio.timeout(grace_s):
                    await self._emptied.wait()
            except TimeoutError:
                await self._cut()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def encode_refusal(self, problem: Problem) -> bytes:
        """Return the answer to a request that was not understood."""
        return encode_problem(
            problem,
            request_id=None,
            own_lines="Connection: close\r\n",
            date=self.date.line(),
            is_head=False,
        )

    def _sweep_again(self) -> None:
        self._sweeper = None
        self.sweep()
        if self._http or self._upgraded:
            self._sweeper = self._loop.call_later(self.limits.sweep_s, self._sweep_again)

    def _peers(self) -> tuple[Peer, ...]:
        return (*self._http, *self._upgraded)

    async def _cut(self) -> None:
        for peer in self._peers():
            peer.cut()
        await self._emptied.wait()

    def __repr__(self) -> str:
        return f"<Listener {self.count!r}{', draining' if self.is_draining else ''}>"


def _make_exchange(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: Connection,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> Exchange:
    exchange = Exchange(message, payload, connection=protocol, task=task)
    protocol.begin(exchange)
    return exchange
