"""A host in this process: what every command needs that loads code or works on objects.

Nothing here listens. The HTTP library, which takes longer to import than all of the host, is imported by
the server, or with the first request that a program sends out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from workers.request import Request
from workers.response import Response

from dohost.config import WorkerConfig
from dohost.runtime.descriptors import raise_descriptor_limit
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.inspection import Inspector
from dohost.runtime.lock import LockInfo
from dohost.runtime.watchdog import HANG_S_DEFAULT, Watchdog

if TYPE_CHECKING:
    from dohost.server.outbound import Outbound

DRAIN_GRACE_S = 5.0


class _Internet:
    """The way to the outside, made when the first request leaves."""

    def __init__(self) -> None:
        self._outbound: Outbound | None = None

    def fetch(self, request: Request) -> Awaitable[Response]:
        """Send a request over the network. Raises: OSError."""
        if self._outbound is None:
            from dohost.server.outbound import Outbound  # lazy: the HTTP library

            self._outbound = Outbound()
        return self._outbound.fetch(request)

    async def close(self) -> None:
        """Cancel what is under way and close every connection."""
        if self._outbound is not None:
            await self._outbound.close()


@contextlib.asynccontextmanager
async def running_host(
    options: HostOptions, *, hang_s: float = HANG_S_DEFAULT
) -> AsyncIterator[Host]:
    """Run a host on its data directory. Raises: DataDirLocked at once if another process has it."""
    raise_descriptor_limit()
    internet = _Internet()
    host = Host(options, outbound=internet)
    await host.start(LockInfo(pid=os.getpid()))
    try:
        with Watchdog(host.parts, hang_s=hang_s, lag=host.lag):
            yield host
    finally:
        await host.drain(grace_s=DRAIN_GRACE_S)
        await internet.close()


def inspector_of(host: Host, persist: Path, workers: tuple[WorkerConfig, ...]) -> Inspector:
    """Return a look at the data of `workers`, and at what is in memory of them now."""
    # A copy, made on the loop's thread: the look-up itself runs in another.
    live = {key: frozenset(found.actors) for key, found in host.classes.items()}
    return Inspector(persist, workers, live=lambda key: live.get(key, frozenset()))


def run_async(main: Coroutine[object, object, int]) -> int:
    """Run a command's coroutine on the fastest event loop; return its exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
