"""Costs that must not grow with the work: an object among very many, and a very big one, beside a small twin.

    python -m tests.benchmarks.flat [--objects 100000] [--mib 1024] [--data DIRECTORY]

Both twins do the same in turn in one run, and what is printed is the median processor time, over all
threads. Reopening is the one thing that grows, with an object's write-ahead log, which SQLite reads from its
beginning then; checkpoints keep it short.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from dohost.cli.hosting import running_host
from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.runtime.host import Host, HostOptions
from dohost.storage.history import HistoryLimits

PROGRAM = """
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("")


class Big(DurableObject):
    async def put(self, number):
        await self.ctx.storage.put("n", number)

    async def get(self):
        return await self.ctx.storage.get("n")

    async def row(self, number):
        sql = self.ctx.storage.sql
        return sql.exec("SELECT length(x) AS n FROM t WHERE id = ?", number + 1).one()["n"]

    async def change(self, number):
        self.ctx.storage.sql.exec("UPDATE t SET y = ? WHERE id = ?", number, number % 50 + 1)

    async def fill(self, rows):
        sql = self.ctx.storage.sql
        sql.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, y, x BLOB)")
        for _ in range(rows):
            sql.exec("INSERT INTO t (y, x) VALUES (0, randomblob(100000))")
"""
TIMES = 200
AT_ONCE = 64
ROWS_AT_ONCE = 100
COMMITS = 800

Work = Callable[[str, int], Awaitable[object]]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What a piece of work costs the small twin and the big one."""

    label: str
    small_us: float
    big_us: float

    def __str__(self) -> str:
        ratio = self.big_us / self.small_us
        return f"{self.label:<24}{self.small_us:8.1f} µs {self.big_us:8.1f} µs {ratio:6.2f}×"


class Twins:
    """A host, and the cost of work on two of its objects in turn."""

    def __init__(self, host: Host, names: tuple[str, str]) -> None:
        self._host = host
        self._names = names
        self._objects = next(iter(host.classes.values()))

    def stub(self, name: str):
        return self._objects.namespace.getByName(name)

    def evict(self) -> None:
        self._host._evictor.sweep(idle_since_s=float("inf"))

    async def settled(self) -> None:
        while self._host.is_working:
            await asyncio.sleep(0.005)

    async def compare(self, label: str, work: Work, *, is_cold: bool = False) -> Compared:
        """Return what `work` costs each twin."""
        costs: dict[str, list[float]] = {name: [] for name in self._names}
        for number in range(TIMES):
            for name in self._names:
                if is_cold:
                    await self.settled()
                    self.evict()
                started = time.process_time()
                await work(name, number)
                costs[name].append(time.process_time() - started)
        small, big = (median(costs[name]) * 1e6 for name in self._names)
        return Compared(label=label, small_us=small, big_us=big)

    async def works(self) -> list[Compared]:
        """Return the costs of reading and writing, in memory and not."""
        return [
            await self.compare("get", lambda name, _: self.stub(name).get()),
            await self.compare("put", lambda name, number: self.stub(name).put(number)),
            await self.reopening(),
            await self.compare("reopen and put", lambda n, i: self.stub(n).put(i), is_cold=True),
        ]

    async def reopening(self) -> Compared:
        """Return the cost of the first read of an object that is not in memory."""
        return await self.compare("reopen and get", lambda n, _: self.stub(n).get(), is_cold=True)


@asynccontextmanager
async def host_of(root: Path, *, history: bool = True) -> AsyncIterator[Host]:
    """Run the program on the data in `root`."""
    (root / "entry.py").write_text(PROGRAM)
    config = WorkerConfig(
        name="flat",
        main=root / "entry.py",
        config_path=root / "wrangler.toml",
        durable_objects=(DurableObjectBinding(name="BIG", class_name="Big"),),
        classes={"Big": "sqlite"},
    )
    limits = HistoryLimits() if history else HistoryLimits(commits_max=0)
    options = HostOptions(persist=root / "data", evict_after_s=None, history=limits)
    async with running_host(options) as host:
        await host.load((config,))
        yield host


async def among_many(root: Path, objects: int) -> list[Compared]:
    """Return what an object costs alone, and among very many."""
    alone, crowd = root / "alone", root / "crowd"
    for each in (alone, crowd):
        each.mkdir(parents=True)
    async with host_of(crowd) as host:
        await _touch(Twins(host, ("one", "one")), objects)
    found: list[list[Compared]] = []
    for each in (alone, crowd):
        async with host_of(each) as host:
            found.append(await Twins(host, ("one", "one")).works())
    return [
        Compared(label=few.label, small_us=few.big_us, big_us=many.big_us)
        for few, many in zip(*found, strict=True)
    ]


async def _touch(twins: Twins, objects: int) -> None:
    waiting = iter(range(objects))

    async def client() -> None:
        for number in waiting:
            await twins.stub(f"other{number}").put(number)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def big_file(root: Path, mib: int) -> list[Compared]:
    """Return what a big object costs beside a small one."""
    root.mkdir(parents=True)
    async with host_of(root, history=False) as host:
        twins = Twins(host, ("small", "big"))
        for name, rows in (("small", ROWS_AT_ONCE // 2), ("big", mib * 10)):
            for first in range(0, rows, ROWS_AT_ONCE):
                await twins.stub(name).fill(min(ROWS_AT_ONCE, rows - first))
                await twins.settled()
    async with host_of(root) as host:
        twins = Twins(host, ("small", "big"))
        return [
            *await twins.works(),
            await twins.compare("read a row", lambda name, i: twins.stub(name).row(i % 50)),
            await twins.compare("change a row", lambda name, i: twins.stub(name).change(i)),
        ]


async def long_log(root: Path, commits: int) -> list[Compared]:
    """Return what reopening costs with a short log, and with one of so many commits."""
    root.mkdir(parents=True)
    async with host_of(root) as host:
        twins = Twins(host, ("small", "big"))
        await twins.stub("small").put(0)
        for number in range(commits):
            await twins.stub("big").put(number)
        return [await twins.reopening()]


async def run(data: Path | None, *, objects: int, mib: int) -> None:
    """Measure and print everything."""
    with tempfile.TemporaryDirectory(prefix="flat-", dir=data) as name:
        root = Path(name)
        show(f"a file of 5 MiB, and of {mib:,}", await big_file(root / "file", mib))
        show(f"alone, and among {objects:,} objects", await among_many(root / "many", objects))
        show(f"a log of one commit, and of {COMMITS:,}", await long_log(root / "log", COMMITS))


def show(title: str, found: list[Compared]) -> None:
    """Print costs under a title."""
    print(title, *found, sep="\n", flush=True)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="flat", description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--data", type=Path, help="where files are made")
    options = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(options.data, objects=options.objects, mib=options.mib))


if __name__ == "__main__":
    main(sys.argv[1:])
