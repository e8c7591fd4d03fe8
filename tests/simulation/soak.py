"""A mixed load for as long as you like, and what it leaves behind: memory, descriptors, lines in the log.

    python -m tests.simulation.soak [--minutes 45] [--warm-up 5] [--leak]

A `dohost dev` that watches its source gets requests, calls between objects, WebSockets that come and go,
alarms, failures and hostile paths, while objects are evicted after half a second and the source is saved again every
few seconds. The set of objects stays the same, so whatever grows is a leak. *Slope* is what a straight line
through the samples after the warm-up rises in a minute. The log is that of the whole run. `--leak` serves a program that keeps a little of each
request, to show that it is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec

from tests.simulation.server_process import CONFIG, free_port

PROGRAM = """
import time
from urllib.parse import urlsplit

from js import WebSocketPair
from workers import DurableObject, Response, WorkerEntrypoint

VERSION = 0
LEAK = None


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        _, name, action = urlsplit(request.url).path.split("/")
        if LEAK is not None:
            LEAK.append(bytearray(6000))
        stub = self.env.COUNTER.getByName(name)
        if action == "socket":
            return await stub.fetch(request)
        return Response(str(await getattr(stub, action)()))


class Counter(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", value)
        return value

    async def read(self):
        return await self.ctx.storage.get("n") or 0

    async def sum(self):
        names = [f"one-{number}" for number in range(3)]
        return sum([await self.env.COUNTER.getByName(name).read() for name in names])

    async def sql(self):
        self.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, at REAL)")
        self.ctx.storage.sql.exec("INSERT OR REPLACE INTO t VALUES (1, ?)", time.time())
        return self.ctx.storage.sql.exec("SELECT count(*) AS n FROM t").one()["n"]

    async def schedule(self):
        await self.ctx.storage.setAlarm(time.time() * 1000 + 700)
        return "set"

    async def alarm(self):
        await self.ctx.storage.put("fired", (await self.ctx.storage.get("fired") or 0) + 1)

    async def fired(self):
        return await self.ctx.storage.get("fired") or 0

    async def fail(self):
        raise ValueError("as asked")

    async def abort(self):
        self.ctx.abort("as asked")

    async def fetch(self, request):
        client, server = WebSocketPair()
        self.ctx.acceptWebSocket(server)
        return Response(None, status=101, web_socket=client)

    async def webSocketMessage(self, ws, message):
        ws.send(message)
"""
OBJECTS = 200
SAMPLE_S = 1.0
RELOAD_EVERY_S = 5.0
MIB = 2**20


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The server at one moment."""

    at_s: float
    rss_bytes: int
    descriptors: int


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """What a soak has seen after its warm-up; `done`: by kind, over the whole of it."""

    minutes: float
    slope_mib_per_min: float
    descriptors_per_min: float
    rss_mib: float
    descriptors: tuple[int, int]
    log_entries: int
    done: dict[str, int]
    wrong: tuple[str, ...]

    def lines(self) -> str:
        """Return the report."""
        least, most = self.descriptors
        return "\n".join(
            (
                f"{self.minutes:.1f} minutes: {self.rss_mib:.1f} MiB, rising "
                f"{self.slope_mib_per_min:+.3f} MiB/min; {least} to {most} descriptors, rising "
                f"{self.descriptors_per_min:+.1f}/min; "
                f"{self.log_entries} entries in the log",
                ", ".join(f"{count} {kind}" for kind, count in sorted(self.done.items())),
                *self.wrong,
            )
        )


def slope(points: list[tuple[float, float]]) -> float:
    """Return how much a minute the line of least squares through points in seconds rises."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points)
    run = sum((x - mean_x) ** 2 for x, _ in points)
    return rise / run * 60


class Load:
    """Clients of every kind, each at its own unhurried pace."""

    def __init__(self, port: int, session: aiohttp.ClientSession, seed: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._session = session
        self._chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def clients(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the clients, each one round of it."""
        return [
            *[self._request] * 6,
            *[self._socket] * 6,
            self._alarm,
            self._failure,
            self._hostile,
        ]

    async def repeat(self, client: Callable[[], Awaitable[None]]) -> None:
        """Let one client do its rounds until it is cancelled."""
        while True:
            try:
                await client()
            except aiohttp.ClientError:
                # A reload closes sockets, and hostile requests lose their connection.
                self.done["connections closed"] += 1
            await asyncio.sleep(self._chance.uniform(0.01, 0.05))

    async def _ask(self, path: str, *, status: int = 200) -> str:
        async with self._session.get(f"{self._url}{path}") as answer:
            text = await answer.text()
            if answer.status != status:
                self.wrong.append(f"{path}: {answer.status} {text[:200]}")
            return text

    def _name(self) -> str:
        return f"one-{self._chance.randrange(OBJECTS)}"

    async def _request(self) -> None:
        action = self._chance.choice(["increment", "read", "sum", "sql"])
        await self._ask(f"/{self._name()}/{action}")
        self.done["requests"] += 1

    async def _socket(self) -> None:
        async with self._session.ws_connect(f"{self._url}/{self._name()}/socket") as socket:
            for number in range(self._chance.randrange(1, 30)):
                await socket.send_str(f"hello {number}")
                answer = await socket.receive(timeout=20)
                if answer.type is not aiohttp.WSMsgType.TEXT:
                    self.done["sockets closed"] += 1
                    return
                assert answer.data == f"hello {number}"
                self.done["messages"] += 1
                # Long enough to be evicted in between, now and then.
                await asyncio.sleep(self._chance.choice([0.0, 0.02, 0.1, 1.7]))

    async def _alarm(self) -> None:
        name = f"alarm-{self._chance.randrange(20)}"
        before = int(await self._ask(f"/{name}/fired"))
        await self._ask(f"/{name}/schedule")
        deadline = time.monotonic() + 20
        while int(await self._ask(f"/{name}/fired")) == before:
            if time.monotonic() > deadline:
                self.wrong.append(f"the alarm of {name} did not fire")
                return
            await asyncio.sleep(0.2)
        self.done["alarms"] += 1

    async def _failure(self) -> None:
        await asyncio.sleep(0.5)
        await self._ask(f"/fails-{self._chance.randrange(5)}/fail", status=500)
        await self._ask(f"/fails-{self._chance.randrange(5)}/abort", status=500)
        self.done["failures"] += 1

    async def _hostile(self) -> None:
        port = int(self._url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(self._chance.randbytes(self._chance.randrange(1, 200)) + b"\r\n\r\n")
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(1):
                    await reader.read()
        finally:
            writer.close()
        self.done["hostile connections"] += 1


class Soak:
    """One server, its load, and what is sampled of it."""

    def __init__(self, root: Path, *, is_leaking: bool) -> None:
        self._root = root
        self._port = free_port()
        self._program = PROGRAM.replace("LEAK = None", "LEAK = []") if is_leaking else PROGRAM
        self._samples: list[Sample] = []

    async def run(self, *, minutes: float, warm_up: float) -> Soaked:
        """Soak for so many minutes after the warm-up."""
        (self._root / "wrangler.toml").write_text(CONFIG)
        self._save(0)
        process = await self._start()
        try:
            async with aiohttp.ClientSession() as session:
                load = Load(self._port, session, seed=1)
                await self._wait_ready(session)
                tasks = [asyncio.create_task(load.repeat(each)) for each in load.clients()]
                tasks.append(asyncio.create_task(self._reload(load)))
                await self._sample(process.pid, warm_up)
                self._samples.clear()
                await self._sample(process.pid, minutes)
                for task in tasks:
                    task.cancel()
                for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                    if not isinstance(outcome, asyncio.CancelledError):
                        load.wrong.append(repr(outcome))
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        return Soaked(
            minutes=minutes,
            slope_mib_per_min=slope([(each.at_s, each.rss_bytes / MIB) for each in self._samples]),
            descriptors_per_min=slope([(each.at_s, each.descriptors) for each in self._samples]),
            rss_mib=self._samples[-1].rss_bytes / MIB,
            descriptors=(
                min(each.descriptors for each in self._samples),
                max(each.descriptors for each in self._samples),
            ),
            log_entries=self._log_entries(),
            done=dict(load.done),
            wrong=tuple(load.wrong[:20]),
        )

    async def _start(self) -> asyncio.subprocess.Process:
        flags = ["--port", str(self._port), "--persist-to", str(self._root / "data")]
        flags += ["--evict-after", "0.5", "--log-level", "warn"]
        with (self._root / "output").open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dohost", "dev", *flags),
                cwd=self._root,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def _wait_ready(self, session: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    await session.get(f"http://127.0.0.1:{self._port}/one-0/read")
                    return
                await asyncio.sleep(0.05)

    async def _reload(self, load: Load) -> None:
        while True:
            await asyncio.sleep(RELOAD_EVERY_S)
            load.done["reloads"] += 1
            self._save(load.done["reloads"])

    def _save(self, version: int) -> None:
        text = self._program.replace("VERSION = 0", f"VERSION = {version}")
        (self._root / "entry.py").write_text(text)

    async def _sample(self, pid: int, minutes: float) -> None:
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            self._samples.append(
                Sample(
                    at_s=time.monotonic(),
                    rss_bytes=pages * resource.getpagesize(),
                    descriptors=len(os.listdir(f"/proc/{pid}/fd")),
                )
            )
            await asyncio.sleep(SAMPLE_S)

    def _log_entries(self) -> int:
        """Count errors and warnings, each of which shows several lines of source."""
        lines = (self._root / "output").read_text().splitlines()
        return sum("[ERROR]" in line or "[WARN" in line for line in lines)


def soak(root: Path, *, minutes: float, warm_up: float, is_leaking: bool = False) -> Soaked:
    """Soak a server in `root` and return what was seen."""
    return asyncio.run(Soak(root, is_leaking=is_leaking).run(minutes=minutes, warm_up=warm_up))


def main() -> int:
    """Soak and print; exit 1 if the memory rose or an answer was wrong."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--warm-up", type=float, default=5.0, metavar="MINUTES")
    parser.add_argument("--leak", action="store_true", help="serve a program that leaks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        found = soak(
            Path(name), minutes=options.minutes, warm_up=options.warm_up, is_leaking=options.leak
        )
    print(found.lines())
    return 1 if found.wrong or found.slope_mib_per_min >= 0.05 else 0


if __name__ == "__main__":
    sys.exit(main())
