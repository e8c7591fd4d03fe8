"""What leaves an object for somewhere else: behind its output gate, outside its input gate.

Requests for the network go through `GatedFetcher`, the work of simulated bindings through `GatedOutlet`.

The batch to wait for is the one at call time. The work itself runs in a plain task with a clean
context: a library that keeps shared tasks must not run them as turns of whichever object happened to
use it first; only its outcome crosses back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from workers import Request, Response
from workers.context import Fetcher

from dohost.gates import Batch
from dohost.objects.rpc import Reply
from dohost.runtime.custom_task import NEUTRAL
from dohost.runtime.moved_streams import moved_from_here
from dohost.runtime.tasks import spawn
from dohost.runtime.turns import current_owner

Result = TypeVar("Result")


class GatedFetcher:
    """Sends requests through `fetcher` when the caller's writes are durable."""

    def __init__(self, fetcher: Fetcher, loop: asyncio.AbstractEventLoop) -> None:
        self._fetcher = fetcher
        self._loop = loop

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Start sending now; cancelling the awaiting turn cancels the request."""
        owner = current_owner.get()
        barrier = None if owner is None else owner.barrier()
        if owner is not None:
            request.gate_body(moved_from_here)
        task = spawn(self._loop, self._send(request, barrier), name="outgoing fetch")
        return task  # type: ignore[return-value] # _send returns a Response

    async def _send(self, request: Request, barrier: Batch | None) -> Response:
        if barrier is not None:
            await _durable(self._loop, barrier)
        return await self._fetcher.fetch(request)


class GatedOutlet:
    """Runs the work of bindings; what was started is finished whether or not its caller waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: set[asyncio.Task[object]] = set()

    def read(self, work: Callable[[], Coroutine[object, object, Result]]) -> Awaitable[Result]:
        """Start `work` now."""
        return self._start(work, None)

    def write(self, work: Callable[[], Coroutine[object, object, Result]]) -> Awaitable[Result]:
        """Start `work` when the caller's writes so far are durable; if they fail, it never starts."""
        owner = current_owner.get()
        return self._start(work, None if owner is None else owner.barrier())

    async def drain(self) -> None:
        """Wait until everything that was started has ended."""
        while self._running:
            await asyncio.wait(tuple(self._running))

    def _start(
        self, work: Callable[[], Coroutine[object, object, Result]], barrier: Batch | None
    ) -> Awaitable[Result]:
        reply = Reply(loop=self._loop)
        task = spawn(self._loop, self._run(work, barrier), name="binding")
        self._running.add(task)

        def done(task: asyncio.Task[object]) -> None:
            self._running.discard(task)
            error = None if task.cancelled() else task.exception()
            if task.cancelled():
                reply.cancel()
            elif error is not None:
                reply.reject(error)
            else:
                reply.resolve(task.result())

        task.add_done_callback(done, context=NEUTRAL)
        return reply  # type: ignore[return-value]  # resolves to what `work` returns

    async def _run(
        self, work: Callable[[], Coroutine[object, object, object]], barrier: Batch | None
    ) -> object:
        if barrier is not None:
            await _durable(self._loop, barrier)
        return await work()


def _durable(loop: asyncio.AbstractEventLoop, barrier: Batch) -> asyncio.Future[None]:
    """Return a future of the moment when `barrier` is durable."""
    durable: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if durable.done():  # whoever waited was cancelled
            return
        if error is None:
            durable.set_result(None)
        else:
            durable.set_exception(error)

    barrier.add_callback(finish)
    return durable
