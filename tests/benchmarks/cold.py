"""What objects cost that are not in memory: processor time to create, evict and reopen one.

    python -m tests.benchmarks.cold [--objects 300] [--rounds 3] [--data DIRECTORY]

The yardstick of each piece is bare SQLite doing the same to files of its own in the same round: making
a file with one table and committing durably, opening one and reading a row, closing one. The least of
the rounds is printed, over all threads. A file system that was emptied of many files a moment ago finds new
ones slowly (ext4 without a journal does), which falls on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import apsw
import uvloop

from dohost.cli.hosting import running_host
from dohost.config import load
from dohost.runtime.host import Host, HostOptions
from tests.benchmarks.work import counted

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
AT_ONCE = 64

Costs = dict[str, float]


class Bare:
    """Files of SQLite alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: list[apsw.Connection] = []

    def create(self, number: int) -> None:
        connection = self._connect(number)
        connection.pragma("journal_mode", "wal")
        connection.execute("CREATE TABLE t (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        connection.execute("INSERT INTO t VALUES ('count', '1')")

    def reopen(self, number: int) -> None:
        row = self._connect(number).execute("SELECT value FROM t WHERE key = 'count'").get
        assert row == "1", row

    def close(self) -> int:
        for connection in self._open:
            connection.close()
        count = len(self._open)
        self._open.clear()
        return count

    def _connect(self, number: int) -> apsw.Connection:
        connection = apsw.Connection(str(self._directory / f"{number}.sqlite"))
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._open.append(connection)
        return connection


class Cold:
    """One host whose objects come and go."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._counters = next(iter(host.classes.values()))

    async def call(self, method: str, names: Iterable[str], *, answer: int) -> None:
        """Call every object once, several at a time. Raises: AssertionError for a wrong answer."""
        waiting = iter(names)

        async def caller() -> None:
            for name in waiting:
                found = await getattr(self._counters.namespace.getByName(name), method)()
                assert counted(found) == counted(answer), (name, found)

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    def evict(self) -> int:
        """End all instances; return how many."""
        return self._host._evictor.sweep(idle_since_s=float("inf"))


async def microseconds(count: int, work: Callable[[], Awaitable[None] | int | None]) -> float:
    """Return the processor time of `work` for one of `count` objects."""
    started = time.process_time()
    done = work()
    if isinstance(done, Awaitable):
        await done
    elif done is not None:
        assert done == count, f"{done} of {count}"
    return (time.process_time() - started) / count * 1e6


async def measure(directory: Path, objects: int) -> Costs:
    """Return the cost of each piece of work on one of so many new objects, in µs."""
    loaded = load([HERE / "worker" / "wrangler.toml"], cwd=HERE)
    options = HostOptions(persist=directory, evict_after_s=None, open_objects_max=objects * 3)
    names = [f"cold{number}" for number in range(objects)]
    costs: Costs = {}
    async with running_host(options) as host:
        await host.load(loaded.workers)
        cold = Cold(host)

        async def add(name: str, work: Callable[[], Awaitable[None] | int | None]) -> None:
            costs[name] = await microseconds(objects, work)
            # What a call leaves to the threads is the next one's noise.
            while host.is_working:
                await asyncio.sleep(0.01)

        empty = [f"empty{number}" for number in range(objects)]
        await add(
            "call an object that stores nothing", lambda: cold.call("memory", empty, answer=1)
        )
        await add("evict it", cold.evict)
        await add("create an object", lambda: cold.call("increment", names, answer=1))
        await add("write to one that is open", lambda: cold.call("increment", names, answer=2))
        await add("read one that is open", lambda: cold.call("read", names, answer=2))
        await add("evict an object", cold.evict)
        await add("reopen and read", lambda: cold.call("read", names, answer=2))
        cold.evict()
        await add("reopen and write", lambda: cold.call("increment", names, answer=3))
    return costs


def measure_bare(directory: Path, objects: int) -> Costs:
    """Return what the same work costs SQLite alone."""
    bare = Bare(directory)

    def each(work: Callable[[int], None]) -> float:
        started = time.process_time()
        for number in range(objects):
            work(number)
        return (time.process_time() - started) / objects * 1e6

    def close() -> float:
        started = time.process_time()
        return (bare.close(), (time.process_time() - started) / objects * 1e6)[1]

    created, closed = each(bare.create), close()
    reopened = each(bare.reopen)
    bare.close()
    return {"create an object": created, "evict an object": closed, "reopen and read": reopened}


async def rounds(data: Path, *, objects: int, count: int) -> tuple[Costs, Costs]:
    """Return the least costs of so many rounds: of the host, and of SQLite alone."""
    ours: Costs = {}
    bare: Costs = {}
    for _ in range(count):
        with tempfile.TemporaryDirectory(prefix="cold-", dir=data) as name:
            root = Path(name)
            (root / "bare").mkdir()
            found = measure_bare(root / "bare", objects)
            bare = {each: min(cost, bare.get(each, cost)) for each, cost in found.items()}
            found = await measure(root / "host", objects)
            ours = {each: min(cost, ours.get(each, cost)) for each, cost in found.items()}
    return ours, bare


def table(ours: Costs, bare: Costs) -> str:
    """Return a line for each piece of work."""
    lines = []
    for name, cost in ours.items():
        beside = f"{cost / bare[name]:6.2f}× SQLite alone" if name in bare else ""
        lines.append(f"{name:<36}{cost:8.1f} µs {beside}".rstrip())
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="cold", description=__doc__)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="where files are made")
    options = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        work = rounds(options.data, objects=options.objects, count=options.rounds)
        print(table(*runner.run(work)))


if __name__ == "__main__":
    main(sys.argv[1:])
