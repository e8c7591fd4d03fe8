"""Crash cycles of a real server: load, kill -9 (or SIGTERM) at any moment, start again, read, go on.

    python -m tests.simulation.kill_cycles --cycles 2000 [--seed 1]

Clients call counters, registers and lists, and write down when each call began and what came of it. A
crash leaves calls of unknown outcome: they took effect before it or never, which the read of every object
after the restart settles. Each object lives through several crashes; then its history must be linearizable.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import msgspec

from tests.simulation.linearizability import UNKNOWN, Operation, check
from tests.simulation.sequential_models import (
    EMPTY,
    NOTHING_COUNTED,
    UNSET,
    append_list,
    counter,
    register,
)
from tests.simulation.server_process import CONFIG, Connection, Server

PROGRAM = """
from urllib.parse import urlsplit
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        _, name, action, argument = urlsplit(request.url).path.split("/")
        stub = self.env.COUNTER.getByName(name)
        return Response.json(await getattr(stub, action)(int(argument)))


class Counter(DurableObject):
    async def increment(self, _):
        value = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", value)
        await self.ctx.storage.put("twin", value)
        return value

    async def write(self, value):
        before = await self.ctx.storage.get("r")
        await self.ctx.storage.put("r", value)
        return before

    async def append(self, value):
        values = [*(await self.ctx.storage.get("l") or []), value]
        await self.ctx.storage.put("l", values)
        return len(values)

    async def read(self, _):
        storage = self.ctx.storage
        n, twin = await storage.get("n"), await storage.get("twin")
        return [n or 0, twin or 0, await storage.get("r"), await storage.get("l") or []]
"""

PARTS = {
    "increment": (counter, NOTHING_COUNTED),
    "write": (register, UNSET),
    "append": (append_list, EMPTY),
}
CLIENTS = 64
# Objects of each kind that are in use at a time, and the crashes that each lives through.
OBJECTS = 36
CRASHES = 5
SIGTERM_EVERY = 10
LOAD_S = (0.2, 0.6)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of some cycles; `problems` are broken promises."""

    cycles: int
    acknowledged: int
    unknown: int
    histories: int
    acknowledged_per_s: float
    problems: tuple[str, ...]


class KillCycles:
    """One server, its crashes, and what its clients know."""

    def __init__(self, root: Path, seed: int) -> None:
        (root / "wrangler.toml").write_text(CONFIG)
        (root / "entry.py").write_text(PROGRAM)
        self._server = Server(root)
        self._chance = random.Random(seed)
        self._open: defaultdict[str, list[Operation]] = defaultdict(list)
        self._pending: dict[int, tuple[str, Operation]] = {}
        self._problems: list[str] = []
        self._calls = self._acknowledged = self._unknown = self._histories = 0
        self._loaded_s = 0.0
        self.cycles = 0

    async def run(self, cycles: int) -> Result:
        """Make so many cycles; the server has ended when this returns."""
        try:
            for _ in range(cycles):
                await self._cycle()
            self._server.start()
            await self._read_all()
            self._judge()
        finally:
            self._server.end()
        return self.result()

    def result(self) -> Result:
        """Return what is known so far."""
        return Result(
            cycles=self.cycles,
            acknowledged=self._acknowledged,
            unknown=self._unknown,
            histories=self._histories,
            acknowledged_per_s=round(self._acknowledged / max(self._loaded_s, 0.001)),
            problems=tuple(self._problems),
        )

    async def _cycle(self) -> None:
        self._server.start()
        await self._read_all()
        if self.cycles % CRASHES == 0:
            self._judge()
        clients = [asyncio.create_task(self._load()) for _ in range(CLIENTS)]
        began_s = time.monotonic()
        await asyncio.sleep(self._chance.uniform(*LOAD_S))
        is_graceful = self.cycles % SIGTERM_EVERY == SIGTERM_EVERY - 1
        code = self._server.end(signal.SIGTERM if is_graceful else signal.SIGKILL)
        crashed_s = time.monotonic()
        self._loaded_s += crashed_s - began_s
        if is_graceful and code != 0:
            self._problems.append(f"SIGTERM ended the server with {code}")
        await asyncio.gather(*clients)
        self._unknown += len(self._pending)
        for name, operation in self._pending.values():
            self._open[name].append(msgspec.structs.replace(operation, returned=crashed_s))
        self._pending.clear()
        self.cycles += 1

    async def _load(self) -> None:
        """Make calls on one connection until the server is gone."""
        chance = self._chance
        generation = self.cycles // CRASHES
        try:
            async with Connection(self._server.port) as connection:
                while True:
                    action = chance.choice(tuple(PARTS))
                    name = f"{action}-{generation}-{chance.randrange(OBJECTS)}"
                    self._calls += 1
                    await self._call(connection, name, action, self._calls)
        except (OSError, EOFError):
            return

    async def _call(self, connection: Connection, name: str, action: str, number: int) -> None:
        operation = Operation(invoked=time.monotonic(), name=action, argument=number)
        self._pending[number] = (name, operation)
        answer = await connection.ask(f"/{name}/{action}/{number}")
        heard_s = time.monotonic()
        del self._pending[number]
        if answer.status == 200:
            self._acknowledged += 1
            result = msgspec.json.decode(answer.body)
        elif answer.status == 503:
            # A server that stops says so, and may have begun.
            result, self._unknown = UNKNOWN, self._unknown + 1
        else:
            self._problems.append(f"{name} answered {answer.status}: {answer.body[:200]}")
            result = UNKNOWN
        self._open[name].append(msgspec.structs.replace(operation, returned=heard_s, result=result))

    async def _read_all(self) -> None:
        names = tuple(self._open)
        step = -(-len(names) // 8) or 1
        await asyncio.gather(
            *(self._read(names[start : start + step]) for start in range(0, len(names), step))
        )

    async def _read(self, names: tuple[str, ...]) -> None:
        async with Connection(self._server.port) as connection:
            for name in names:
                invoked = time.monotonic()
                n, twin, value, values = msgspec.json.decode(
                    await connection.get(f"/{name}/read/0")
                )
                if n != twin:
                    self._problems.append(f"{name} is torn: {n} and {twin}")
                part = name.partition("-")[0]
                result = {"increment": n, "write": value, "append": tuple(values)}[part]
                self._open[name].append(
                    Operation(
                        invoked=invoked, returned=time.monotonic(), name="read", result=result
                    )
                )

    def _judge(self) -> None:
        """Judge the whole history of every object that has been read after its last crash."""
        for name, history in self._open.items():
            verdict = check(history, *PARTS[name.partition("-")[0]])
            self._histories += 1
            if not verdict.is_linearizable:
                self._problems.append(f"{name} is not linearizable at {verdict.stuck_at}")
        self._open.clear()


async def run_cycles(root: Path, cycles: int, *, seed: int, progress_every: int = 0) -> Result:
    """Make cycles on a server in `root`; say how far it is every so many."""
    run = KillCycles(root, seed)
    for done in range(0, cycles, progress_every or cycles):
        result = await run.run(min(progress_every or cycles, cycles - done))
        if progress_every:
            print(msgspec.json.encode(result).decode(), file=sys.stderr)
    return run.result()


def main(arguments: list[str]) -> int:
    """Make the cycles that are asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        result = asyncio.run(
            run_cycles(Path(directory), given.cycles, seed=given.seed, progress_every=50)
        )
    print(msgspec.json.encode(result).decode())
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
