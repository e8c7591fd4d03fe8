"""One run of the real host, made to be traced: it writes an `acks` line whenever an answer has left.

    python -m tests.simulation.traced_run DIRECTORY SEED [BUG]

Bursts of calls reach cells of one class while objects are created, evicted, checkpointed and reopened,
and while the host is stopped and started again. Every other seed has a slow disk, whose syncs are left to
threads, so that everything else happens in the middle of them. Every line of `acks` says `CELL COUNT`: the caller has
been told that so many operations are applied. Nothing here knows what is checked.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.errors import DohostError
from dohost.runtime import checkpoints
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.storage import commit, files
from dohost.storage.database import Database
from tests.simulation.cell import ENTRY, OPERATIONS
from tests.simulation.planted_bugs import plant

CELLS = 8
BURSTS = 60
RESTART_EVERY = 25
SYNC_FAILURES = 0.05
SLOW_SYNCS_S = (0.0, 0.0, 0.001, 0.004, 0.01)
UNIQUE_KEY = "power-Cell"


class Run:
    """The host and what drives it."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._chance = random.Random(seed)
        self._is_slow = seed % 2 == 0
        if self._is_slow:
            commit.SYNC_INLINE_MAX_S = 0.0
        self._acks = os.open(root / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def run(self) -> None:
        """Make all bursts; the last answers have left when this returns."""
        self._fail_syncs()
        burst = 0
        while burst < BURSTS:
            host = await self._started()
            for _ in range(RESTART_EVERY):
                burst += 1
                await self._burst(host, cells=min(CELLS, 2 + burst // 3))
                if self._chance.random() < 0.2:
                    host._evictor.sweep(idle_since_s=float("inf"))
            await host.drain(grace_s=5)

    async def _started(self) -> Host:
        host = Host(HostOptions(persist=self._root / "data", evict_after_s=None))
        await host.start(LockInfo(pid=os.getpid()))
        binding = DurableObjectBinding(name="CELL", class_name="Cell")
        config = WorkerConfig(
            name="power",
            main=self._root / "entry.py",
            config_path=self._root / "wrangler.toml",
            durable_objects=(binding,),
            classes={"Cell": "sqlite"},
        )
        await host.load((config,))
        return host

    async def _burst(self, host: Host, *, cells: int) -> None:
        chance = self._chance
        calls = []
        for _ in range(chance.choice((1, 2, 3, 8))):
            cell = chance.randrange(cells)
            calls.append(self._call(host, cell))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        await asyncio.gather(*calls)

    def _fail_syncs(self) -> None:
        """Let some syncs of a log fail; the disk has then dropped what it could not write.

        Not the first of a log: an object whose creation failed begins its history anew. And not while
        SQLite copies it: the kernel would report that failure to SQLite's descriptors as well, so that
        the copying ends, and what it tells them can't be changed here.
        """
        real, seen, copied = files._data_sync, set[str](), Counter[str]()

        def data_sync(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            may_fail = path in seen and not copied[path]
            if may_fail and self._chance.random() < SYNC_FAILURES:
                os.write(self._acks, f"failed {path}\n".encode())
                raise OSError(errno.EIO, "Input/output error")
            seen.add(path)
            if self._is_slow:
                time.sleep(self._chance.choice(SLOW_SYNCS_S))
            real(descriptor)

        def noted(copy: Callable[[Database], None]) -> Callable[[Database], None]:
            def run(database: Database) -> None:
                log = f"{database.path}-wal"
                copied[log] += 1
                try:
                    copy(database)
                finally:
                    copied[log] -= 1

            return run

        files._data_sync = data_sync
        Database.checkpoint_passive = noted(Database.checkpoint_passive)
        Database.checkpoint_finish = noted(Database.checkpoint_finish)

    def _call(self, host: Host, cell: int) -> asyncio.Task[None]:
        stub = host.classes[UNIQUE_KEY].namespace.getByName(f"cell-{cell}")
        choice = self._chance.random()
        if choice < 0.1:
            reply = stub.read()
        elif choice < 0.13:
            reply = stub.alarm_soon(time.time_ns() // 1_000_000 + 1)
        else:
            reply = stub.apply(self._chance.choice(OPERATIONS))
        return asyncio.ensure_future(self._acknowledge(cell, reply))

    async def _acknowledge(self, cell: int, reply: asyncio.Future[int]) -> None:
        try:
            count = await reply
        except DohostError:
            # Of unknown outcome, or of an object that was reset meanwhile: nothing is promised.
            return
        os.write(self._acks, f"{cell} {count}\n".encode())


def main(arguments: list[str]) -> None:
    """Run in DIRECTORY with SEED, with a bug planted if one is named."""
    root, seed = Path(arguments[0]), int(arguments[1])
    (root / "entry.py").write_text(ENTRY)
    # Logs of thousand pages would make a trace of gigabytes; the rule is the same at forty.
    checkpoints.WAL_PAGES_MAX = 40
    if len(arguments) > 2:
        plant(arguments[2])
    asyncio.run(Run(root, seed).run())


if __name__ == "__main__":
    main(sys.argv[1:])
