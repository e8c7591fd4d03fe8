"""One request and the place of its answer, as aiohttp's connection loop sees them.

aiohttp makes a request object per message and waits for a response object; both cost more than the rest
of the server. `Exchange` stands where its request would, with the few things the adapter needs, and
`Sent` where its response would: the answer is on the wire already.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from dohost.server.bodies import CONTINUE, BodyRefused
from dohost.server.limits import Limits

if TYPE_CHECKING:
    from dohost.server.connection import Connection


class ClientGone(ConnectionResetError):
    """The client left before its answer was complete; nobody is to blame."""


class Sent(StreamResponse):
    """What a handler returns when the answer is written: aiohttp has only `keep_alive` left to read."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self._keep_alive = keeps

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


SENT_KEEP = Sent(keeps=True)
SENT_CLOSE = Sent(keeps=False)


class Exchange:
    """One request and the place of its answer."""

    __slots__ = (
        "body_refusal",
        "connection",
        "has_answered",
        "is_continue_due",
        "is_lost",
        "is_overdue",
        "is_pumping",
        "loop_task",
        "message",
        "payload",
        "request_id",
        "stalled_s",
        "started_s",
        "status",
        "task",
    )

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        *,
        connection: Connection,
        task: asyncio.Task[None] | None,
    ) -> None:
        self.message = message
        self.payload = payload
        self.connection = connection
        # The task of the whole connection; `task` is the one that answers this request.
        self.loop_task = task
        self.task: asyncio.Task[object] | None = None
        self.started_s = 0.0
        self.stalled_s: float | None = None
        self.status = 0
        self.has_answered = False
        self.is_continue_due = False
        self.is_lost = False
        self.is_overdue = False
        self.is_pumping = False
        self.body_refusal: BodyRefused | None = None
        self.request_id: str | None = None

    def send_continue(self) -> None:
        """Tell the client to send its body."""
        self.is_continue_due = False
        transport = self.connection.transport
        if transport is not None and not self.has_answered:
            transport.write(CONTINUE)

    def refuse_body(self, refusal: BodyRefused) -> BodyRefused:
        """Note why the body ends early; the first reason stays."""
        if self.body_refusal is None:
            self.body_refusal = refusal
        return self.body_refusal

    def sweep(self, now_s: float, limits: Limits) -> None:
        """End the wait for an answer, or for a client that doesn't read it, if overdue at `now_s`."""
        if self.stalled_s is not None:
            transport = self.connection.transport
            if now_s - self.stalled_s >= limits.write_stall_s and transport is not None:
                transport.abort()
        elif not self.has_answered and self.task is not None:
            deadline_s = limits.request_deadline_s
            if deadline_s is not None and now_s - self.started_s >= deadline_s:
                self.is_overdue = True
                self.task.cancel()

    async def drained(self) -> None:
        """Wait until the client took most of what was written. Raises: ClientGone."""
        if self.connection.writing_paused:
            self.stalled_s = self.connection.listener.clock.monotonic()
            try:
                await self.connection._drain_helper()
            except ConnectionError as error:
                raise ClientGone("the client is gone") from error
            finally:
                self.stalled_s = None

    # aiohttp sets this to None at the end, to break a cycle of its own.
    @property
    def _task(self) -> asyncio.Task[None] | None:
        return self.loop_task

    @_task.setter
    def _task(self, task: asyncio.Task[None] | None) -> None:
        self.loop_task = task

    # aiohttp calls the next two on what it takes for its own request object.
    def _cancel(self, exc: BaseException) -> None:
        self.is_lost = True
        if not self.payload.is_eof():
            self.payload.set_exception(exc)
        if self.is_pumping and self.task is not None:
            self.task.cancel()

    def _finish(self) -> None:
        return

    def __repr__(self) -> str:
        return f"<Exchange {self.message.method} {self.message.path!r} {self.status or 'open'}>"
