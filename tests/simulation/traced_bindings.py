"""One run of the bindings' stores, made to be traced: an `acks` line for each call that has returned.

    python -m tests.simulation.traced_bindings DIRECTORY [BUG]

Four kinds of bindings are written to at once, in bursts, by a program that is stopped and started again in
between; a line says `KIND NUMBER`: its caller has been told that this entry is kept. Nothing here knows
what is checked. Some bindings get their first write late, so that their files are made in mid-run.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiosqlite

from dohost.clock import SystemClock, SystemEntropy
from dohost.simulators import r2_blobs
from dohost.simulators.files import SimulatorFile
from dohost.simulators.resources import Resources
from dohost.storage import directories
from dohost.telemetry import Log
from tests.simulators.ungated import UngatedOutlet

KINDS = ("kv", "d1", "queue", "r2")
RUNS = 3
BURSTS = 12
TABLE = "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, value TEXT)"


def value_of(number: int) -> str:
    """Return what is written for an entry; some values are longer than a page."""
    return f"{number} " * (1 + number % 3 * 900)


def open_resources(persist: Path) -> Resources:
    """Return the stores of a directory."""
    return Resources(
        persist,
        outlet=UngatedOutlet(),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        log=Log(lambda event: None),
    )


def writers(resources: Resources) -> dict[str, Callable[[int], Awaitable[object]]]:
    """Return for each kind of binding how an entry is written."""
    kv, bucket = resources.kv_namespace("kv"), resources.r2_bucket("bucket")
    database = resources.d1_database("db")
    queue = resources.queue("jobs", delay_s=0.0, content_type="text")
    insert = database.prepare("INSERT INTO entries VALUES (?, ?)")

    async def d1(number: int) -> None:
        await database.batch([database.prepare(TABLE), insert.bind(number, value_of(number))])

    return {
        "kv": lambda number: kv.put(f"k{number}", value_of(number)),
        "d1": d1,
        "queue": lambda number: queue.send(value_of(number)),
        "r2": lambda number: bucket.put(f"r{number}", value_of(number)),
    }


async def run(root: Path) -> None:
    """Write until all bursts are over."""
    acks = os.open(root / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    chance = random.Random(1)
    number = 0

    async def write(kind: str, entry: int) -> None:
        await written[kind](entry)
        os.write(acks, f"{kind} {entry}\n".encode())

    for begun in range(1, RUNS + 1):
        resources = open_resources(root / "data")
        written = writers(resources)
        for _ in range(BURSTS):
            count = chance.choice((1, 2, 5))
            kinds = chance.choices(KINDS[: 1 + begun], k=count)
            await asyncio.gather(*[write(kind, number + index) for index, kind in enumerate(kinds)])
            number += count
        await resources.close()


def plant(bug: str) -> None:
    """Break a store on purpose; raises `KeyError` for a bug that nobody knows."""

    async def unsynced(self: SimulatorFile) -> aiosqlite.Connection:
        connection = await opened(self)
        await connection.execute("PRAGMA synchronous = OFF")
        return connection

    opened = SimulatorFile._open
    target, name, broken = {
        "no-directory-sync": (directories, "full_sync", lambda descriptor: None),
        "synchronous-off": (SimulatorFile, "_open", unsynced),
        "no-blob-sync": (r2_blobs, "_finish", lambda file, directory: file.close()),
    }[bug]
    setattr(target, name, broken)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        plant(sys.argv[2])
    asyncio.run(run(Path(sys.argv[1])))
