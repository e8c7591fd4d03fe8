"""What a host gives to the code that it runs: where fetches go, the bindings, the execution context.

Each is a ContextVar that the host sets in the context of a worker or an object before it runs its code, so
that two workers in one process never see each other's. Nothing else passes from host to this package.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workers.request import Request
    from workers.response import Response
    from workers.socket_events import SocketHost


class Fetcher(Protocol):
    """Anything that you can send a Request to."""

    def fetch(self, request: Request, /) -> Awaitable[Response]:
        """Send `request` at call time; await the response."""
        ...


class ExecutionContext(Protocol):
    """What `self.ctx` and `wait_until` need from the host."""

    def waitUntil(self, awaitable: Awaitable[object], /) -> None:
        """Keep the event alive until `awaitable` is done, and own it."""
        ...


# How synchronous code waits for an awaitable, where the host lets it.
suspend: ContextVar[Callable[[Awaitable[object]], object] | None] = ContextVar(
    "workers.suspend", default=None
)
outbound: ContextVar[Fetcher | None] = ContextVar("workers.outbound", default=None)
current_env: ContextVar[object | None] = ContextVar("workers.current_env", default=None)
current_ctx: ContextVar[ExecutionContext | None] = ContextVar("workers.current_ctx", default=None)
current_sockets: ContextVar[SocketHost | None] = ContextVar("workers.current_sockets", default=None)
