"""Requests that leave an object for the network: behind its output gate, outside its input gate.

The batch to wait for is the one at call time. The request itself runs in a plain task with a clean
context: a library that keeps shared tasks must not run them as turns of whichever object happened to
use it first; only the response crosses back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from workers import Request, Response
from workers.context import Fetcher

from dohost.gates import Batch
from dohost.runtime.tasks import spawn
from dohost.runtime.turns import current_owner


def when_durable(go: Callable[[], None], fail: Callable[[BaseException], None]) -> None:
    """Run `go` when every confirmed write of the running object is durable: now, if it is."""
    owner = current_owner.get()
    barrier = None if owner is None else owner.barrier()
    if barrier is None:
        go()
    else:
        barrier.add_callback(lambda error: go() if error is None else fail(error))


class GatedFetcher:
    """Sends requests through `fetcher` when the caller's writes are durable."""

    def __init__(self, fetcher: Fetcher, loop: asyncio.AbstractEventLoop) -> None:
        self._fetcher = fetcher
        self._loop = loop

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Start sending now; cancelling the awaiting turn cancels the request."""
        owner = current_owner.get()
        barrier = None if owner is None else owner.barrier()
        task = spawn(self._loop, self._send(request, barrier), name="outgoing fetch")
        return task  # type: ignore[return-value] # _send returns a Response

    async def _send(self, request: Request, barrier: Batch | None) -> Response:
        if barrier is not None:
            durable: asyncio.Future[None] = self._loop.create_future()
            barrier.add_callback(
                lambda error: (
                    durable.set_result(None) if error is None else durable.set_exception(error)
                )
            )
            await durable
        return await self._fetcher.fetch(request)
