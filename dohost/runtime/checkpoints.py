"""Keeping each object's write-ahead log short without stalling the loop.

A log that has grown past `WAL_PAGES_MAX` is copied into its file in a thread (two passes, while the
loop goes on writing), and only the short tail on the loop, after which SQLite starts the log anew. A
file that could not be copied is left alone for a second: its disk fails, and commits come often.

Two are copied at a time. Objects that are written alike have long logs at the same time, and each copy takes
megabytes that its thread then keeps, and time of the disk that commits wait for.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Protocol
from weakref import WeakKeyDictionary

from dohost.errors import HostError
from dohost.telemetry import Log

WAL_PAGES_MAX = 1000
RETRY_AFTER_S = 1.0
AT_A_TIME_MAX = 2


class Checkpointed(Protocol):
    """A file with a log, and whether it is still in use."""

    @property
    def wal_pages(self) -> int: ...

    def checkpoint_passive(self) -> None: ...

    def checkpoint_finish(self) -> None: ...


class FileOwner(Protocol):
    """The instance that has the file open."""

    is_evicted: bool
    broken: BaseException | None

    @property
    def database(self) -> Checkpointed: ...

    def hold(self) -> Release: ...


class Release(Protocol):
    def __call__(self) -> None: ...


class Checkpointer:
    """Runs one checkpoint per file at a time, and a few of all."""

    def __init__(self, loop: asyncio.AbstractEventLoop, executor: Executor, log: Log) -> None:
        self._loop = loop
        self._executor = executor
        self._log = log
        self._running: set[FileOwner] = set()
        # Whose turn comes when one of those is done, in order.
        self._waiting: dict[FileOwner, None] = {}
        self._not_before_s: WeakKeyDictionary[FileOwner, float] = WeakKeyDictionary()
        self._rests = 0
        self._quiet: list[asyncio.Future[None]] = []
        self.checkpoints = 0
        self.failures = 0

    @property
    def is_running(self) -> bool:
        """Whether a log is being copied."""
        return bool(self._running)

    def after_commit(self, owner: FileOwner) -> None:
        """Start a checkpoint of `owner`'s file if its log has grown long."""
        if owner.database.wal_pages < WAL_PAGES_MAX or self._rests or owner in self._running:
            return
        if self._not_before_s and self._not_before_s.get(owner, 0.0) > self._loop.time():
            return
        if len(self._running) >= AT_A_TIME_MAX:
            self._waiting[owner] = None
            return
        self._waiting.pop(owner, None)
        self._running.add(owner)
        release = owner.hold()
        future = self._loop.run_in_executor(self._executor, _two_passes, owner.database)
        future.add_done_callback(lambda done: self._finish(owner, release, done))

    async def rest(self) -> None:
        """Change no main file from now on, until `go_on`; a log may grow long meanwhile."""
        self._rests += 1
        while self._running:
            quiet = self._loop.create_future()
            self._quiet.append(quiet)
            await quiet

    def go_on(self) -> None:
        """End one rest."""
        self._rests -= 1

    def _finish(self, owner: FileOwner, release: Release, done: asyncio.Future[None]) -> None:
        self._running.discard(owner)
        release()
        error = None if done.cancelled() else done.exception()
        try:
            if error is None and owner.broken is None and not owner.is_evicted:
                owner.database.checkpoint_finish()
        except HostError as failure:
            error = failure
        if error is None:
            self.checkpoints += 1
            self._not_before_s.pop(owner, None)
        else:
            self.failures += 1
            # The log keeps growing and a later commit tries again; no data is at risk.
            self._not_before_s[owner] = self._loop.time() + RETRY_AFTER_S
            self._log.event("storage.checkpoint_failed", level="warn", error=repr(error))
        quiet, self._quiet = self._quiet, []
        for each in quiet:
            if not each.done():
                each.set_result(None)
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Give the places that are free to those who wait and still need one."""
        while self._waiting and len(self._running) < AT_A_TIME_MAX:
            owner = next(iter(self._waiting))
            del self._waiting[owner]
            if owner.broken is None and not owner.is_evicted:
                self.after_commit(owner)


def _two_passes(database: Checkpointed) -> None:
    database.checkpoint_passive()
    database.checkpoint_passive()
